"""Measures what this worker may use and uses: cores and memory of its container or the machine, and disk.

Facts: Linux, `Documentation/admin-guide/cgroup-v2.rst`, proc(5); livekit/protocol, `utils/hwstats`.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# The unit of st_blocks.
_BLOCK = 512
# The mean of a shorter time would count a single key frame.
_LEAST_SECONDS = 1.0
_CPU_REQUEST = "LIVEKIT_CPU_REQUEST"


def available_cpus(cgroup: Path = _CGROUP, environment: Mapping[str, str] = os.environ) -> float:
    """Cores that this worker counts as its own.

    The least of: the cores that it may be scheduled on, its container's limit, and LIVEKIT_CPU_REQUEST.
    Where there is no limit, the variable says what the worker asked for. livekit/egress takes its value as it
    is.
    """
    found = [float(len(os.sched_getaffinity(0)))]
    quota = _quota_v2(cgroup / "cpu.max")
    if quota is None:
        quota = _quota_v1(cgroup / "cpu")
    found += [each for each in (quota, _requested_cpus(environment)) if each is not None]
    return min(found)


def container_memory(cgroup: Path = _CGROUP) -> int | None:
    """Bytes that the container has in memory, without file caches, which the kernel can drop.

    None where the kernel does not say it. A recording that is written and then read for its upload is in the
    active part of the cache. livekit/egress subtracts only the inactive part.
    """
    for current, statistics, prefix in (
        (cgroup / "memory.current", cgroup / "memory.stat", ""),
        (cgroup / "memory/memory.usage_in_bytes", cgroup / "memory/memory.stat", "total_"),
    ):
        try:
            used = int(current.read_text())
            fields = dict(line.split(" ", 1) for line in statistics.read_text().splitlines())
        except (OSError, ValueError):
            continue
        caches = sum(int(fields.get(f"{prefix}{part}_file", 0)) for part in ("inactive", "active"))
        return max(used - caches, 0)
    return None


class Processes:
    """Processor time and memory of processes, by process id.

    Args:
        by_container: whether `memory` is the container's. The sum over processes counts shared memory twice.
    """

    def __init__(self, *, by_container: bool = False) -> None:
        self._by_container = by_container
        self._measured_at = time.monotonic()
        self._seconds: dict[int, float] = {}
        self._cpus: dict[int, float] = {}

    def cpus(self, pids: Collection[int]) -> float:
        """Cores that these processes use. Measures all of them anew if the last time is a second ago.

        A process that was not there at the last time counts as 0.
        """
        now = time.monotonic()
        passed = now - self._measured_at
        if passed >= _LEAST_SECONDS:
            seconds = {pid: used for pid in pids if (used := _cpu_seconds(pid)) is not None}
            self._cpus = {
                pid: max(0.0, used - self._seconds[pid]) / passed
                for pid, used in seconds.items()
                if pid in self._seconds
            }
            self._seconds, self._measured_at = seconds, now
        return sum(self.cpus_of(pid) for pid in pids)

    def cpus_of(self, pid: int) -> float:
        """Cores that a process used when `cpus` measured last."""
        return self._cpus.get(pid, 0.0)

    def memory(self, pids: Collection[int]) -> int:
        """Bytes of memory that count against the worker's limit."""
        measured = container_memory() if self._by_container else None
        return self.resident(pids) if measured is None else measured

    @staticmethod
    def resident(pids: Collection[int]) -> int:
        """Bytes that these processes have in memory."""
        return sum(map(_resident, pids))


def occupied(directory: Path) -> int:
    """Bytes of disk blocks that the files below a directory occupy. Files may disappear meanwhile."""
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(place) / name).stat(follow_symlinks=False).st_blocks * _BLOCK
    return total


def _requested_cpus(environment: Mapping[str, str]) -> float | None:
    """Cores by LIVEKIT_CPU_REQUEST; None without a usable value, as livekit/protocol reads it."""
    try:
        requested = float(environment.get(_CPU_REQUEST, ""))
    except ValueError:
        return None
    return requested if math.isfinite(requested) and requested > 0 else None


def _quota_v2(path: Path) -> float | None:
    try:
        quota, period = path.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _quota_v1(directory: Path) -> float | None:
    try:
        quota = int((directory / "cpu.cfs_quota_us").read_text())
        period = int((directory / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 else None


def _cpu_seconds(pid: int) -> float | None:
    try:
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0
