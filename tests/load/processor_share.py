"""Processes that get only a share of one processor, by a cgroup (v1 or v2)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.waiting import wait_until
from tests.support.speed import scaled

_ROOT = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000
# Of a second, for real-time threads, which the quota is not for: a client's native library has some.
_REALTIME_US = 10_000
_IS_V2 = (_ROOT / "cgroup.controllers").exists()


class ProcessorShare:
    """A cgroup; it is empty at first. `processor_share` makes one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def hold(self, pids: list[int], cores: float) -> None:
        """From now on these processes together get at most this many processors."""
        self._set(round(cores * _PERIOD_US))
        for pid in pids:
            (self._directory / "cgroup.procs").write_text(str(pid))

    def lift(self) -> None:
        """End the limit."""
        self._set(None)

    def _set(self, quota_us: int | None) -> None:
        if _IS_V2:
            (self._directory / "cpu.max").write_text(f"{quota_us or 'max'} {_PERIOD_US}")
            return
        (self._directory / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (self._directory / "cpu.cfs_quota_us").write_text(str(quota_us or -1))


@contextmanager
def processor_share() -> Iterator[ProcessorShare]:
    """A cgroup that exists during the block. Its processes must end before the block ends."""
    if _IS_V2:
        (_ROOT / "cgroup.subtree_control").write_text("+cpu")
    directory = (_ROOT if _IS_V2 else _ROOT / "cpu") / f"lktest-share-{os.getpid()}"
    directory.mkdir()
    try:
        realtime = directory / "cpu.rt_runtime_us"
        if realtime.exists():  # without a share of their own, such threads cannot come in
            realtime.write_text(str(_REALTIME_US))
        yield ProcessorShare(directory)
    finally:
        # The kernel takes a moment to see that a process that was waited for has left.
        wait_until(
            lambda: not (directory / "cgroup.procs").read_text(),
            timeout=scaled(10),
            describe=f"the processes in {directory} to end",
            interval=0.05,
        )
        directory.rmdir()
