"""`make up` after all processes of a stack were killed, as happens when a session or a container ends.

Namespaces, mounts and cgroups are left behind. The test uses a second stack of this checkout, because killing
the session's own stack would break the other tests.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from common.commands import Completed
from common.waiting import wait_until
from local.cluster import cgroups, network
from local.cluster.cluster import KUBEADM_DONE, Cluster
from local.paths import Instance, instance_id, state_root
from tests.running import run_local

pytestmark = pytest.mark.long

_UP_SECONDS = 1500.0


@dataclass(frozen=True)
class _Second:
    """A second stack of this checkout, controlled by `local`'s commands."""

    instance: Instance

    def local(self, *words: str, timeout: float, check: bool = True) -> Completed:
        return run_local(*words, timeout=timeout, check=check, env={"LKP_INSTANCE": self.instance.id})

    def parts(self) -> list[dict[str, object]]:
        printed = self.local("status", "--json", timeout=120, check=False).stdout
        return list(json.loads(printed)["parts"])

    @property
    def cluster(self) -> Cluster:
        cluster = Cluster.recorded(self.instance)
        assert cluster is not None
        return cluster

    def kill(self) -> None:
        """Kill all processes of the nodes and of the doors at once."""
        cgroup = self.cluster.topology.cgroup
        for pid in cgroups.processes(cgroup):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not cgroups.processes(cgroup), timeout=30, describe="all processes to end")
        assert {node.spec.netns for node in self.cluster.nodes} <= network.network_namespaces()


@pytest.fixture(scope="module")
def second() -> Iterator[_Second]:
    # The name is always the same, so this session repairs and removes what a killed session left behind.
    name = f"h{instance_id()[:5]}"
    stack = _Second(Instance(name, state_root() / name))
    try:
        stack.local("up", timeout=_UP_SECONDS)
        yield stack
    finally:
        stack.local("down", timeout=300)


@pytest.mark.timeout(3600)
def test_up_returns_when_everything_is_healthy_again(second: _Second) -> None:
    before = {part["name"] for part in second.parts() if part["kind"] != "container"}
    second.kill()
    down = second.local("status", timeout=120, check=False)
    assert down.returncode == 1, down.stdout

    second.local("up", timeout=_UP_SECONDS)
    # Check without a wait, because `up` has already waited.
    after = second.parts()
    assert [part for part in after if not part["healthy"]] == []
    assert {part["name"] for part in after if part["kind"] != "container"} == before


@pytest.mark.timeout(3600)
def test_up_goes_on_after_kubeadm_was_interrupted(second: _Second) -> None:
    """An interrupted `kubeadm join` leaves a kubelet that runs, and files that look finished."""
    node = second.cluster.nodes[1]
    first_process = node.pid()
    node.run(["rm", KUBEADM_DONE], timeout=10)

    second.local("up", timeout=_UP_SECONDS)
    assert [part for part in second.parts() if not part["healthy"]] == []
    assert node.pid() != first_process
