"""Which target a command line means, and what is said where it means none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loadtest.run.problems import CouldNotRun
from loadtest.run.targeting import TargetOptions, open_target, read_outputs, target_options

NOTHING: dict[str, Any] = {"outputs": "", "url": "", "api_key": "", "api_secret": "", "ca": ""}


def options(environment: Mapping[str, str], **given: str) -> TargetOptions:
    return target_options(**{**NOTHING, **given}, environment=environment)


def test_without_options_it_is_this_checkouts_stack() -> None:
    assert options({}) == TargetOptions()


def test_variables_of_livekits_own_tools_complete_a_url() -> None:
    found = options(
        {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "hidden", "LIVEKIT_URL": "ws://other"},
        url="ws://192.0.2.1",
    )
    assert (found.url, found.api_key) == ("ws://192.0.2.1", "key")
    assert found.api_secret.get_secret_value() == "hidden"
    assert "hidden" not in repr(found)


def test_variables_alone_never_change_the_target() -> None:
    environment = {"LIVEKIT_URL": "ws://192.0.2.1", "LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "hidden"}
    assert options(environment) == TargetOptions()
    assert options(environment, outputs="file") == TargetOptions(outputs="file")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"url": "ws://a", "outputs": "b"}, "--outputs b and --url ws://a are given"),
        ({"api_key": "a"}, "--api-key is given without --url"),
        ({"api_secret": "a"}, "--api-secret is given without --url"),
        ({"ca": "a"}, "--ca is given without --url"),
    ],
)
def test_contradictions_are_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(CouldNotRun, match=message):
        options({}, **given)


def test_outputs_that_are_none_are_named_without_showing_them(tmp_path: Path) -> None:
    file = tmp_path / "outputs.json"
    file.write_text(json.dumps({"livekit_api_secret": "hidden", "namespace": 5}))
    with pytest.raises(CouldNotRun, match=r"missing or wrong: .*signal_url") as caught:
        read_outputs(str(file))
    assert "hidden" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(CouldNotRun, match=r"--outputs .*nowhere.json: No such file"),
        open_target(TargetOptions(outputs=str(tmp_path / "nowhere.json"))),
    ):
        pytest.fail("there is no target")
