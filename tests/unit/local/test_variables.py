"""Whose Pulumi variables a command gets that is run by `run --`."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.variables import for_command

_STATE = Path("/state")
_SHIMS = _STATE / "abc123" / "plugins"
_TOOLS = [_STATE / "abc123" / "bin", Path("/venv/bin")]
_OURS = {
    "PATH": "/state/abc123/plugins:/state/abc123/bin:/venv/bin:/usr/bin",
    "PULUMI_BACKEND_URL": "file:///state/abc123/pulumi",
    "PULUMI_CONFIG_PASSPHRASE_FILE": "/state/abc123/passphrase",
    "PULUMI_SKIP_UPDATE_CHECK": "true",
    "PULUMI_HOME": "/cache/pulumi-home",
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
}
_USER = {"PATH": "/usr/bin", "HOME": "/root"}


def _run(given: dict[str, str]) -> dict[str, str]:
    return for_command(given, _OURS, _STATE, _SHIMS, _TOOLS)


def test_without_a_word_of_the_user_s_the_local_stack_s_are_put_in() -> None:
    assert _run(_USER) == {**_OURS, "HOME": "/root"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PULUMI_CONFIG_PASSPHRASE", ""),
        ("PULUMI_CONFIG_PASSPHRASE_FILE", "/home/me/passphrase"),
        ("PULUMI_HOME", "/home/me/.pulumi"),
        ("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "false"),
        ("PULUMI_STACK", "staging"),
    ],
)
def test_each_that_the_user_gave_wins(name: str, value: str) -> None:
    assert _run({**_USER, name: value}) == {**_OURS, "HOME": "/root", name: value}


@pytest.mark.parametrize(
    "backend", ["s3://mine", "https://api.pulumi.com", "file:///home/me/state", "file://~"]
)
def test_with_a_backend_of_the_user_s_own_nothing_of_ours_is_put_in_but_tools(backend: str) -> None:
    """Its state is neither encrypted by our passphrase nor made by our plugins: both go with `make down`."""
    given = {**_USER, "PULUMI_BACKEND_URL": backend, "PULUMI_CONFIG_PASSPHRASE": "mine"}
    assert _run(given) == {**given, "PATH": "/state/abc123/bin:/venv/bin:/usr/bin"}


def test_an_empty_backend_is_none() -> None:
    assert _run({**_USER, "PULUMI_BACKEND_URL": ""}) == {**_OURS, "HOME": "/root"}


def test_what_an_outer_run_put_in_is_not_the_user_s() -> None:
    """`make test` is a run, and its tests run others."""
    outer = _run(_USER)
    inner = for_command(outer, {**_OURS, "PATH": f"/first:{outer['PATH']}"}, _STATE, _SHIMS, _TOOLS)
    assert inner == {**outer, "PATH": f"/first:{outer['PATH']}"}


def test_nor_what_the_run_of_another_instance_put_in() -> None:
    """A command for one instance must never work on the stack of the other."""
    outer = {
        **_run(_USER),
        "PULUMI_BACKEND_URL": "file:///state/other/pulumi",
        "PULUMI_CONFIG_PASSPHRASE_FILE": "/state/other/passphrase",
    }
    inner = _run(outer)
    assert inner["PULUMI_BACKEND_URL"] == _OURS["PULUMI_BACKEND_URL"]
    assert inner["PULUMI_CONFIG_PASSPHRASE_FILE"] == _OURS["PULUMI_CONFIG_PASSPHRASE_FILE"]


def test_a_backend_of_the_user_s_own_within_a_run_is_free_of_what_the_outer_one_put_in() -> None:
    given = {**_run(_USER), "PULUMI_BACKEND_URL": "s3://mine", "PULUMI_STACK": "staging"}
    assert _run(given) == {
        "HOME": "/root",
        "PATH": "/state/abc123/bin:/venv/bin:/state/abc123/bin:/venv/bin:/usr/bin",
        "PULUMI_BACKEND_URL": "s3://mine",
        "PULUMI_STACK": "staging",
    }


def test_what_the_user_gave_stays_also_where_it_is_the_same_as_ours() -> None:
    given = {
        **_USER,
        "PULUMI_BACKEND_URL": "s3://mine",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    assert _run(given) == {**given, "PATH": "/state/abc123/bin:/venv/bin:/usr/bin"}
