"""Telling a process apart from a later one that was given the same id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process of this machine. A bare id may belong to another one later; its start time does not.

    Attributes:
        pid: process id.
        started: clock ticks after boot, field 22 of /proc/<pid>/stat.
    """

    pid: int
    started: int

    @property
    def runs(self) -> bool:
        return process_of(self.pid) == self


def process_of(pid: int) -> Process | None:
    """The process that has this id now; None where there is none, or only one that nobody has waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets, and may hold blanks and brackets itself.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else Process(pid, int(fields[19]))
