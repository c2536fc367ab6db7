"""Where and with what a run was made, for its report: no host name, no path, no secret."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path

from common.commands import CommandFailed, run
from loadtest.result import Environment

_CHECKOUT = Path(__file__).parents[2]
_SECONDS = 10.0


def environment(*, server: str, target: str) -> Environment:
    """This machine and its software.

    Args:
        server: what the LiveKit server said that it is.
        target: what is measured, in words.
    """
    return Environment(
        machine=processor_model(Path("/proc/cpuinfo").read_text()),
        kernel=platform.release(),
        processors=len(os.sched_getaffinity(0)),
        memory_gib=memory_gib(Path("/proc/meminfo").read_text()),
        python=platform.python_version(),
        sdk=f"livekit {metadata.version('livekit')}",
        server=server,
        commit=_commit(),
        target=target,
    )


def processor_model(cpuinfo: str) -> str:
    """The model of the first processor in /proc/cpuinfo; the architecture where it names none, as on ARM."""
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def memory_gib(meminfo: str) -> float:
    """All of the machine's memory by /proc/meminfo; 0 where that does not say."""
    found = re.search(r"^MemTotal:\s+(\d+) kB$", meminfo, re.MULTILINE)
    return round(int(found[1]) / 2**20, 1) if found else 0.0


def _commit() -> str:
    """The commit of this checkout, `+changes` where files differ from it; `unknown` outside of one."""
    try:
        commit = run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=_CHECKOUT, timeout=_SECONDS
        ).stdout.strip()
        changes = run(["git", "status", "--porcelain"], cwd=_CHECKOUT, timeout=_SECONDS).stdout.strip()
    except CommandFailed:
        return "unknown"
    return f"{commit}+changes" if changes else commit
