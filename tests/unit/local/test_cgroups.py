"""cgroup v1 and v2, on a directory in which making a directory does what the kernel does in a real one."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.waiting import NeverHappened, wait_until
from local.cluster import cgroups

_CLUSTER = "livekit-platform-abc123"
_V1 = ["cpu,cpuacct", "cpuset", "memory", "pids", "systemd", "unified"]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cgroup file system's mount point: empty, so of neither version yet."""
    mounted = tmp_path / "cgroup"
    mounted.mkdir()
    monkeypatch.setattr(cgroups, "_ROOT", mounted)
    return mounted


def _kernel(monkeypatch: pytest.MonkeyPatch, root: Path, files_of: Callable[[Path], dict[str, str]]) -> None:
    """New directories below `root` have files in them at once."""
    make = Path.mkdir

    def mkdir(path: Path, *words: Any, **options: Any) -> None:
        new = not path.exists()
        make(path, *words, **options)
        if new and path.is_relative_to(root):
            for name, content in files_of(path).items():
                (path / name).write_text(content)

    monkeypatch.setattr(Path, "mkdir", mkdir)


@pytest.fixture
def v2(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A child has the controllers that its parent has turned on for its children."""
    (root / "cgroup.controllers").write_text("cpuset cpu memory pids\n")
    (root / "cgroup.subtree_control").write_text("")

    def files_of(path: Path) -> dict[str, str]:
        on = (path.parent / "cgroup.subtree_control").read_text().replace("+", "")
        return {"cgroup.controllers": f"{on}\n", "cgroup.subtree_control": "", "cgroup.procs": ""}

    _kernel(monkeypatch, root, files_of)
    return root


@pytest.fixture
def v1(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One hierarchy per controller, a named one and a v2 one without, a link, and a plain directory."""
    for name in _V1:
        (root / name).mkdir()
        (root / name / "cgroup.procs").write_text("1\n")
    (root / "cpuset" / "cpuset.cpus").write_text("0-1\n")
    (root / "cpuset" / "cpuset.mems").write_text("0\n")
    (root / "cpu").symlink_to("cpu,cpuacct")
    (root / "not-mounted").mkdir()

    def files_of(path: Path) -> dict[str, str]:
        cpuset = {"cpuset.cpus": "\n", "cpuset.mems": "\n"}
        return {"cgroup.procs": "", **(cpuset if path.is_relative_to(root / "cpuset") else {})}

    _kernel(monkeypatch, root, files_of)
    return root


def test_v2_has_one_hierarchy(v2: Path) -> None:
    assert cgroups.is_v2()
    assert cgroups.hierarchies() == [v2]


def test_v1_has_one_hierarchy_per_mount_and_none_twice(v1: Path) -> None:
    assert not cgroups.is_v2()
    assert [path.name for path in cgroups.hierarchies()] == _V1


def test_without_a_cgroup_file_system_it_says_where_to_mount_one(root: Path) -> None:
    with pytest.raises(RuntimeError, match=f"no cgroup hierarchy is mounted below {root}: mount"):
        cgroups.hierarchies()


def test_on_v2_pods_of_a_node_get_every_controller_and_its_own_processes_a_leaf(v2: Path) -> None:
    assert cgroups.create(_CLUSTER, "node1") == [v2 / _CLUSTER / "node1" / "init" / "cgroup.procs"]
    node = v2 / _CLUSTER / "node1"
    for parent in (v2, v2 / _CLUSTER, node):
        assert (parent / "cgroup.subtree_control").read_text() == "+cpuset +cpu +memory +pids"
    # What has processes may have no controllers turned on for children: "no internal processes".
    assert (node / "init" / "cgroup.subtree_control").read_text() == ""


def test_on_v1_a_node_joins_every_hierarchy_and_a_cpuset_that_lets_it_in(v1: Path) -> None:
    joined = cgroups.create(_CLUSTER, "node1")
    assert joined == [v1 / name / _CLUSTER / "node1" / "init" / "cgroup.procs" for name in _V1]
    for part in ("", "node1", "node1/init"):
        assert (v1 / "cpuset" / _CLUSTER / part / "cpuset.cpus").read_text() == "0-1\n"
        assert (v1 / "cpuset" / _CLUSTER / part / "cpuset.mems").read_text() == "0\n"


def test_a_cpuset_that_somebody_has_narrowed_stays(v1: Path) -> None:
    cgroups.create(_CLUSTER, "node1")
    (v1 / "cpuset" / _CLUSTER / "cpuset.cpus").write_text("1\n")
    cgroups.create(_CLUSTER, "node2")
    assert (v1 / "cpuset" / _CLUSTER / "cpuset.cpus").read_text() == "1\n"
    assert (v1 / "cpuset" / _CLUSTER / "node2" / "cpuset.cpus").read_text() == "1\n"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_making_a_nodes_cgroup_again_gives_the_same(version: str, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(version)
    assert cgroups.create(_CLUSTER, "node1") == cgroups.create(_CLUSTER, "node1")


def test_processes_are_those_anywhere_below_and_nobody_elses(v1: Path) -> None:
    for node in ("node1", "node2"):
        cgroups.create(_CLUSTER, node)
    pod = v1 / "memory" / _CLUSTER / "node1" / "kubepods" / "pod1"
    pod.mkdir(parents=True)
    (pod / "cgroup.procs").write_text("30\n31\n")
    (v1 / "pids" / _CLUSTER / "node1" / "init" / "cgroup.procs").write_text("10\n30\n")
    (v1 / "pids" / _CLUSTER / "node2" / "init" / "cgroup.procs").write_text("20\n")
    (v1 / "pids" / "cgroup.procs").write_text("1\n")
    assert cgroups.processes(f"{_CLUSTER}/node1") == {10, 30, 31}
    assert cgroups.processes(_CLUSTER) == {10, 20, 30, 31}
    assert cgroups.processes("livekit-platform-other0") == set()


def test_what_runs_in_a_cgroup_is_ended(v2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process is real; one had ended between being listed and being killed."""
    (procs,) = cgroups.create(_CLUSTER, "node1")
    ended = subprocess.Popen(["true"])
    ended.wait()
    kill = os.kill

    def and_leave(pid: int, number: int) -> None:
        """As the kernel, which takes a dead process out of its cgroup."""
        procs.write_text("".join(f"{line}\n" for line in procs.read_text().split() if line != str(pid)))
        kill(pid, number)

    monkeypatch.setattr(os, "kill", and_leave)
    with subprocess.Popen(["sleep", "600"]) as running:
        procs.write_text(f"{running.pid}\n{ended.pid}\n")
        cgroups.end_processes(f"{_CLUSTER}/node1")
        assert running.wait(timeout=10) == -signal.SIGKILL
    assert cgroups.processes(_CLUSTER) == set()


def test_removing_takes_the_whole_tree_in_every_hierarchy_and_nothing_else(v1: Path) -> None:
    # Real control files vanish with their directory; a plain file would not.
    for hierarchy in cgroups.hierarchies():
        os.makedirs(hierarchy / _CLUSTER / "node1" / "init")  # noqa: PTH103 - not by the fixture's mkdir
    os.makedirs(v1 / "memory" / "somebody" / "elses")  # noqa: PTH103
    cgroups.remove(_CLUSTER)
    assert [path for path in cgroups.hierarchies() if (path / _CLUSTER).exists()] == []
    assert (v1 / "memory" / "somebody" / "elses").exists()
    cgroups.remove(_CLUSTER)


def test_a_cgroup_that_stays_busy_is_named(v2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.makedirs(v2 / _CLUSTER / "node1")  # noqa: PTH103
    (v2 / _CLUSTER / "node1" / "busy").write_text("")

    def shortly(probe: Callable[[], object], *, timeout: float, **options: Any) -> object:
        assert timeout == 20
        return wait_until(probe, timeout=0.05, interval=0.01, **options)

    monkeypatch.setattr(cgroups, "wait_until", shortly)
    with pytest.raises(NeverHappened, match=f"{_CLUSTER} to be removed; last seen: OSError"):
        cgroups.remove(_CLUSTER)


def test_processor_time_is_read_from_either_version(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(hierarchy: Path, file: str, values: dict[str, str]) -> None:
        for path, content in values.items():
            directory = hierarchy / _CLUSTER / path
            directory.mkdir(parents=True, exist_ok=True)
            (directory / file).write_text(content)

    first = root / "cpuacct"
    write(first, "cpuacct.usage", {".": "3500000000\n", "node1": "2000000000\n", "node1/init": "0\n"})
    (first / "cgroup.procs").write_text("")
    expected = {".": 3.5, "node1": 2.0, "node1/init": 0.0}
    assert cgroups.cpu_seconds(_CLUSTER) == expected

    second = tmp_path / "unified"
    write(second, "cpu.stat", {".": "usage_usec 3500000\nuser_usec 1\n", "node1": "usage_usec 2000000\n"})
    (second / "cgroup.controllers").write_text("cpu\n")
    monkeypatch.setattr(cgroups, "_ROOT", second)
    assert cgroups.cpu_seconds(_CLUSTER) == {".": 3.5, "node1": 2.0}
    with pytest.raises(RuntimeError, match="no cgroup hierarchy counts the processor time of other"):
        cgroups.cpu_seconds("other")
