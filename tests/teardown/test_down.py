"""`down` leaves nothing: no process, namespace, link, mount, cgroup, firewall rule or file.

Runs last. Where this session started the stack, that stack is taken down for real; where one ran
before, it stays up, and a small cluster of the test's own is started and taken down instead.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.commands import run
from local.cluster import cgroups, network
from local.cluster.cluster import Cluster
from local.cluster.doors import open_doors, recorded_doors
from local.cluster.topology import Topology
from local.paths import Instance, state_root
from tests import running
from tests.running import RunningStack


@dataclass(frozen=True)
class Traces:
    """What of a cluster can be seen on the machine, by kind."""

    processes: frozenset[int]
    namespaces: frozenset[str]
    links: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    files: frozenset[str]


def traces(topology: Topology, instance: Instance) -> Traces:
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return Traces(
        processes=frozenset(cgroups.processes(topology.cgroup)),
        namespaces=frozenset(n for n in network.network_namespaces() if n.startswith(f"lkp-{instance.id}-")),
        links=frozenset({topology.host_link} & network.host_links()),
        mounts=frozenset(line for line in mounts if instance.id in line),
        cgroups=frozenset(str(h) for h in cgroups.hierarchies() if (h / topology.cgroup).exists()),
        files=frozenset({str(instance.root)} if instance.root.exists() else {}),
    )


def firewall() -> str:
    """The host's own rules; nodes have theirs in namespaces that go with them."""
    return run(["nft", "list", "ruleset"], timeout=20).stdout


NOTHING = Traces(frozenset(), frozenset(), frozenset(), frozenset(), frozenset(), frozenset())


@pytest.fixture
def condemned(stack: RunningStack) -> Iterator[Cluster]:
    """The cluster to take down: this session's, or a small one without Kubernetes."""
    if stack.started_here:
        cluster = Cluster.recorded(Instance.current())
        assert cluster is not None, "this session started a stack, and its record is gone"
        yield cluster
        return
    name = f"t{os.getpid() % 100000:05d}"
    cluster = Cluster.plan(Instance(name, state_root() / name), node_count=2)
    try:
        cluster.start_nodes()
        nobody = f"{cluster.topology.control_plane.address}:9"
        open_doors(cluster.instance, cluster.topology, https=nobody, http=nobody)
        yield cluster
    finally:
        if cluster.instance.root.exists():
            cluster.remove()


def test_down_leaves_nothing(condemned: Cluster, stack: RunningStack) -> None:
    before = firewall()
    seen = traces(condemned.topology, condemned.instance)
    doors = recorded_doors(condemned.instance)
    # The probe must be able to see what it says is gone.
    assert all([seen.processes, seen.namespaces, seen.links, seen.cgroups, seen.files]), seen
    assert {door.process.pid for door in doors} <= seen.processes
    assert doors, "no door was open, and nothing is shown of how they end"

    if stack.started_here:
        running.down()
    else:
        condemned.remove()

    assert traces(condemned.topology, condemned.instance) == NOTHING
    assert firewall() == before
