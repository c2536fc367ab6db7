"""The graph of `make up`, on a machine with nothing in its cache."""

from __future__ import annotations

import pytest

from local import machine, up
from local.cluster import network
from local.images import source
from local.paths import Instance
from local.steps import Plan, Resource, Step
from local.toolchain.tools import Tool


@pytest.fixture
def cold(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> dict[str, Step]:
    """The steps by name, on a machine without a reachable registry and without tools on PATH."""
    monkeypatch.setattr(network, "networks_in_use", list)
    monkeypatch.setattr(source.ImageSource.__init__, "__defaults__", (lambda _host: False,))
    monkeypatch.setattr(Tool, "on_path", lambda _: None)
    monkeypatch.setattr(machine, "missing_packages", lambda: ["mmdebstrap"])
    steps = up._planned(instance, None)
    Plan(steps)  # raises if names do not match
    return {step.name: step for step in steps}


def _before(steps: dict[str, Step], name: str) -> set[str]:
    """All steps that run before a step, directly or indirectly."""
    needs = set(steps[name].needs)
    return needs.union(*(_before(steps, need) for need in needs)) if needs else set()


def test_everything_is_done_before_the_last_step(cold: dict[str, Step]) -> None:
    *_, last = cold
    assert last == "wait until everything is healthy"
    assert _before(cold, last) == set(cold) - {last}


def test_only_programs_are_compiled_and_all_else_can_run_beside_it(cold: dict[str, Step]) -> None:
    compiled = {name for name, step in cold.items() if step.resource is Resource.COMPILER}
    assert compiled == {name for name in cold if name.startswith("build ") and " image " not in name}
    assert len(compiled) > 5
    beside = [
        name
        for name in cold
        # Pulumi itself must be built before it can download a provider.
        if name.startswith(("make root file system", "download")) and "pulumi-resource-kubernetes" not in name
    ]
    assert beside
    assert all(not _before(cold, name) & compiled for name in beside)


def test_nodes_start_with_their_own_file_system_and_without_waiting_for_other_programs(
    cold: dict[str, Step],
) -> None:
    before = _before(cold, "start nodes")
    assert {"install mmdebstrap", "make root file system node"} <= before
    assert [name.split()[1] for name in before if name.startswith("build ")] == ["kubernetes"]


def test_a_second_run_builds_nothing_that_is_there(
    instance: Instance, cold: dict[str, Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source.ImageSource, "is_stored", lambda *_: True)
    monkeypatch.setattr("local.toolchain.go_tools.GoTool.built", True)
    monkeypatch.setattr(machine, "missing_packages", list)
    again = {step.name for step in up._planned(instance, None)}
    assert not [name for name in again if name.startswith(("build", "download", "install m"))]
    assert "pulumi up" in again
