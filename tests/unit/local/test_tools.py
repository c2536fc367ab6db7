"""Which programs of the machine's own are taken, and which of ours are built instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from local.paths import Instance
from local.toolchain import go_tools, tools
from local.toolchain.go_tools import GoTool
from local.toolchain.tools import TOOLS, Tool
from local.toolchain.versions import fits

_ALL = [tool for tool in vars(go_tools).values() if isinstance(tool, GoTool)]


@pytest.mark.parametrize(
    ("printed", "wanted", "taken"),
    [
        ("v3.250.0", "v3.250.0", True),
        ("v3.250.1", "v3.250.0", True),
        ("v3.251.0", "v3.250.9", True),
        # As numbers, not as text.
        ("v3.100.0", "v3.99.0", True),
        ("v3.9.0", "v3.22.0", False),
        ("v3.249.9", "v3.250.0", False),
        ("v4.0.0", "v3.22.0", False),
        ("v2.99.0", "v3.22.0", False),
        # As each tool prints it.
        ("v3.22.0+gabc1234\n", "v3.22.0", True),
        ("Client Version: v1.36.0\nKustomize Version: v5.7.1\n", "v1.35.4", True),
        ("Client Version: v1.34.0\nKustomize Version: v5.7.1\n", "v1.35.4", False),
        ("livekit-server version 1.13.5\n", "v1.13.5", True),
        ("livekit-server version 1.13.4\n", "v1.13.5", False),
        ("", "v1.0.0", False),
        ("dev", "v1.0.0", False),
        ("v3.250", "v3.250.0", False),
        # A program that is all ours is never the machine's.
        ("v0.0.0", "v0", False),
    ],
)
def test_a_version_fits_with_the_same_major_and_no_older(printed: str, wanted: str, taken: bool) -> None:
    assert fits(printed, wanted) is taken


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory on PATH, so that no tool of the real machine's is found."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    return directory


def _install(directory: Path, name: str, script: str) -> Path:
    program = directory / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


_HELM = Tool("helm", ("version", "--short"), go_tools.HELM)


def test_a_fitting_program_is_taken_and_asked_for_its_version_its_own_way(machine: Path) -> None:
    script = f'[ "$*" = "version --short" ] && echo {go_tools.HELM.version}'
    assert _HELM.on_path() is None
    program = _install(machine, "helm", script)
    assert _HELM.on_path() == program


@pytest.mark.parametrize("script", ["echo v2.0.0", "echo v3.22.0; exit 1", "true"])
def test_an_old_or_broken_one_is_not(script: str, machine: Path) -> None:
    _install(machine, "helm", script)
    assert _HELM.on_path() is None


def test_the_directory_has_every_tool_under_its_name(machine: Path, instance: Instance) -> None:
    own = _install(machine, "helm", f"echo {go_tools.HELM.version}")
    for _ in range(2):
        linked = tools.link(instance)
        assert {entry.name: entry.readlink() for entry in linked.iterdir()} == {
            tool.name: own if tool.name == "helm" else tool.build.path for tool in TOOLS
        }


def test_links_of_our_own_are_not_taken_for_the_machine_s(
    machine: Path, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests run `up` with them on PATH: a link to itself would be the end of the tool."""
    monkeypatch.setattr(tools, "state_root", lambda: instance.root.parent)
    directory = tools.link(instance)
    (directory / "helm").unlink()
    _install(directory, "helm", f"echo {go_tools.HELM.version}")
    monkeypatch.setenv("PATH", f"{directory}:{machine}")
    assert _HELM.on_path() is None
    tools.link(instance)
    assert (directory / "helm").readlink() == _HELM.build.path


@pytest.mark.parametrize("tool", _ALL, ids=lambda tool: tool.name)
def test_every_tool_has_a_pinned_version(tool: GoTool) -> None:
    if tool.module:
        assert tool.version.startswith("v")
        for stamp in tool.stamps:
            assert f"-X {stamp}={tool.version}" in tool.ldflags
    else:
        assert tool.version == "v0"
    assert tool.version in str(tool.path)
    assert tool.key in str(tool.path)


def test_no_two_tools_share_a_directory() -> None:
    assert len({tool.path for tool in _ALL}) == len(_ALL) >= 9


def test_a_module_that_is_not_required_is_named() -> None:
    with pytest.raises(ValueError, match=r"go/go\.mod does not require example\.org/nothing"):
        _ = GoTool("pause", "./pause", "example.org/nothing").version
