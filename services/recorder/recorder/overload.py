"""Which recording the worker ends, and why, before it has no memory or no disk left. No input or output.

Without this the kernel would kill any process of the container, and a full disk would end all recordings.
Facts: livekit/egress v1.14, `pkg/stats/monitor.go` (checkMemoryKill), `pkg/errors/errors.go` (ErrOOM),
`pkg/stats/monitor_prom.go` (results).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from recorder.admission import END_SPOOL_BYTES, GIBIBYTE
from recorder.errors import Code, EgressError
from recorder.settings import CpuCost

# The result of an egress that was ended for its memory, in livekit/egress' metrics.
KILLED_OOM = "killed_oom"
# How long the worker waits for an ended recording to free what it took, until it ends another one. A handler
# leaves after at most 30 s of uploads and 10 s of reports; its memory does not grow meanwhile.
_MEMORY_SECONDS = 15.0
_SPOOL_SECONDS = 45.0


@dataclass(frozen=True)
class Figures:
    """What was measured, in bytes.

    Attributes:
        used_memory: of the whole worker.
        free_spool: what recordings may still take.
        memory: by egress.
    """

    used_memory: int
    free_spool: int
    memory: Mapping[str, int]


@dataclass(frozen=True)
class Ended:
    """An egress that is to be ended. `result` is for the metrics; empty: as its process ends."""

    egress_id: str
    error: EgressError
    result: str = ""


class Overload:
    """Chooses recordings to end, one after another. Ask it regularly while something is recorded."""

    def __init__(self, costs: CpuCost) -> None:
        self._max_memory = costs.max_memory * GIBIBYTE
        self._grace = costs.memory_kill_grace_sec
        self._high_since: float | None = None
        self._ended: set[str] = set()
        self._next_at = 0.0

    def next(self, now: float, figures: Figures, spool: Callable[[str], int]) -> Ended | None:
        """The egress to end now; None if there is enough of all, or if one that was ended is not gone yet.

        Args:
            now: seconds on CLOCK_MONOTONIC.
            figures: of all egresses that have a handler.
            spool: measures what an egress takes of the spool.
        """
        self._ended &= figures.memory.keys()
        too_long = self._is_memory_high_too_long(now, figures.used_memory)
        candidates = [each for each in figures.memory if each not in self._ended]
        if not candidates or (self._ended and now < self._next_at):
            return None
        if too_long:
            largest = max(candidates, key=lambda each: figures.memory[each])
            error = _no_memory(figures.used_memory)
            return self._end(Ended(largest, error, KILLED_OOM), now + _MEMORY_SECONDS)
        if figures.free_spool < END_SPOOL_BYTES * len(figures.memory):
            return self._end(Ended(max(candidates, key=spool), _no_space()), now + _SPOOL_SECONDS)
        return None

    def _end(self, chosen: Ended, next_at: float) -> Ended:
        self._ended.add(chosen.egress_id)
        self._next_at, self._high_since = next_at, None
        return chosen

    def _is_memory_high_too_long(self, now: float, used: int) -> bool:
        if not self._max_memory or used <= self._max_memory:
            self._high_since = None
            return False
        if self._high_since is None:
            self._high_since = now
        return now - self._high_since >= self._grace


def _no_memory(used: int) -> EgressError:
    return EgressError(Code.PERMISSION_DENIED, f"OOM: {used / GIBIBYTE:.2f} GB used")


def _no_space() -> EgressError:
    """The error of a recording that finds the disk full."""
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return EgressError(Code.INTERNAL, f"recording ended early: {full}")
