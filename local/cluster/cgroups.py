"""One cgroup per node, in every hierarchy, for cgroup v1 and v2.

Two kubelets that share a cgroup root kill each other's pods as orphans; each gets a root of its
own. What a node runs beside pods (containerd, the kubelet) is in its leaf `init`, because cgroup
v2 allows no process in a cgroup whose children have controllers.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from common.waiting import wait_until

_ROOT = Path("/sys/fs/cgroup")
_INIT = "init"


def hierarchies() -> list[Path]:
    """Mount points: one on cgroup v2, one per controller on v1.

    On v1 named hierarchies and a mounted v2 one without controllers count too: container runtimes
    leave cgroups in them all.

    Raises:
        RuntimeError: no usable cgroup file system is mounted.
    """
    if is_v2():
        return [_ROOT]
    found = [path.parent for path in sorted(_ROOT.glob("*/cgroup.procs")) if not path.parent.is_symlink()]
    if not found:
        raise RuntimeError(f"no cgroup hierarchy is mounted below {_ROOT}: mount cgroup v1 or v2 there")
    return found


def is_v2() -> bool:
    return (_ROOT / "cgroup.controllers").exists()


def create(cgroup: str, node: str) -> list[Path]:
    """Make the node's cgroup; gives the `cgroup.procs` files that its first process writes itself to."""
    joined = []
    for hierarchy in hierarchies():
        parent = hierarchy
        for part in (cgroup, node, _INIT):
            if is_v2():
                _enable_controllers(parent)
            child = parent / part
            child.mkdir(exist_ok=True)
            _inherit_cpuset(parent, child)
            parent = child
        joined.append(parent / "cgroup.procs")
    return joined


def _enable_controllers(parent: Path) -> None:
    controllers = (parent / "cgroup.controllers").read_text().split()
    (parent / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def _inherit_cpuset(parent: Path, child: Path) -> None:
    """On v1 a new cpuset is empty, and an empty one lets no process in."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (child / name).exists() and not (child / name).read_text().strip():
            with contextlib.suppress(OSError):
                (child / name).write_text((parent / name).read_text())


def processes(cgroup: str) -> set[int]:
    """Ids of all processes anywhere below a cgroup of ours, such as "cluster/node"."""
    return {
        int(line)
        for hierarchy in hierarchies()
        for procs in (hierarchy / cgroup).rglob("cgroup.procs")
        for line in _read(procs).split()
    }


def _read(path: Path) -> str:
    """A pod's cgroup may go away between being listed and being read."""
    try:
        return path.read_text()
    except (FileNotFoundError, OSError):
        return ""


def end_processes(cgroup: str) -> None:
    """End whatever runs below a cgroup of ours: only what a node started can be there.

    Raises:
        NeverHappened: a process is still there after 30 s.
    """

    def all_gone() -> bool:
        left = processes(cgroup)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_until(all_gone, timeout=30, describe=f"the processes in cgroup {cgroup} to end", interval=0.1)


def remove(cgroup: str) -> None:
    """Remove the cluster's cgroups, deepest first.

    Raises:
        NeverHappened: one is still busy after 20 s.
    """
    for hierarchy in hierarchies():
        top = hierarchy / cgroup
        if not top.exists():
            continue

        def gone(top: Path = top) -> bool:
            for directory, _, _ in os.walk(top, topdown=False):
                Path(directory).rmdir()
            return True

        wait_until(gone, timeout=20, describe=f"{top} to be removed", tolerate=(OSError,))


def cpu_seconds(cgroup: str) -> dict[str, float]:
    """Seconds of processor time that each cgroup below one of ours has used so far, by relative path.

    A cgroup's time includes the time of its descendants; "." is the whole.

    Raises:
        RuntimeError: no hierarchy counts processor time.
    """
    for hierarchy in hierarchies():
        name, per_second = ("cpu.stat", 1e6) if is_v2() else ("cpuacct.usage", 1e9)
        top = hierarchy / cgroup
        if (top / name).exists():
            return {
                str(path.parent.relative_to(top)): int(content.split()[1 if is_v2() else 0]) / per_second
                for path in top.rglob(name)
                if (content := _read(path))
            }
    raise RuntimeError(f"no cgroup hierarchy counts the processor time of {cgroup}")
