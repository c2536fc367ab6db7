"""Looking at the SFU nodes and at this machine, again and again, and making rates of what they count."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from time import monotonic
from typing import Final

import httpx

from loadtest.result import GeneratorSample, SfuSample
from loadtest.targets.sfu_metrics import NodeLoad, read_load

# The server adds to the RTP counters of each track about every 5 s. Over two of these periods a steady stream
# shows its rate to within a tenth or two; over less, it looks like bursts.
RTP_SPAN_S: Final = 10.0
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_MIB: Final = 2**20


@dataclass(frozen=True)
class TimedLoad:
    """What a node told, and when by CLOCK_MONOTONIC, in seconds."""

    read_s: float
    load: NodeLoad


@dataclass(frozen=True)
class ProcessorTimes:
    """Of /proc/stat, over all processors, in ticks.

    Attributes:
        busy: all but idle and waiting for I/O.
        stolen: the part of it that this machine's host gave to others: to our load, that is busy too.
        total: everything. What guests used is in the host's user time already.
    """

    busy: int
    stolen: int
    total: int


class SfuSampler:
    """Rates of each SFU node, from one look to the next."""

    def __init__(
        self, nodes: Sequence[IPv4Address], read: Callable[[IPv4Address], NodeLoad] = read_load
    ) -> None:
        self._nodes = nodes
        self._read = read
        self._seen: dict[IPv4Address, deque[TimedLoad]] = {node: deque() for node in nodes}

    def sample(self, at_s: float) -> tuple[tuple[SfuSample, ...], tuple[str, ...]]:
        """One sample for each node that was seen before and answers now, and why there is none of others.

        Args:
            at_s: the run's time, for the samples.
        """
        samples: list[SfuSample] = []
        problems: list[str] = []
        for node in self._nodes:
            try:
                now = TimedLoad(monotonic(), self._read(node))
            except (httpx.HTTPError, ValueError) as error:
                problems.append(f"the metrics of SFU node {node} could not be read: {error}")
                self._seen[node].clear()
                continue
            seen = self._seen[node]
            keep_recent(seen, now)
            if len(seen) > 1:
                samples.append(sfu_sample(str(node), at_s, tuple(seen)))
        return tuple(samples), tuple(problems)


def keep_recent(seen: deque[TimedLoad], now: TimedLoad) -> None:
    """Add `now`, and drop what a rate over `RTP_SPAN_S` does not need, or another process counted."""
    if seen and seen[-1].load.started_s != now.load.started_s:
        seen.clear()
    seen.append(now)
    while len(seen) > 2 and now.read_s - seen[1].read_s >= RTP_SPAN_S:
        seen.popleft()


def sfu_sample(node: str, at_s: float, seen: Sequence[TimedLoad]) -> SfuSample:
    """The newest interval's processor use, and RTP rates over `RTP_SPAN_S`, as far as that was seen.

    Args:
        seen: at least two, the newest last.
    """
    oldest, before, now = seen[0], seen[-2], seen[-1]
    span, interval = now.read_s - oldest.read_s, now.read_s - before.read_s
    return SfuSample(
        at_s=at_s,
        node=node,
        cpu_cores=max(0.0, now.load.cpu_s - before.load.cpu_s) / interval,
        memory_mib=now.load.memory_bytes / _MIB,
        packets_in=(now.load.packets_in - oldest.load.packets_in) / span,
        packets_out=(now.load.packets_out - oldest.load.packets_out) / span,
        bytes_in=(now.load.bytes_in - oldest.load.bytes_in) / span,
        bytes_out=(now.load.bytes_out - oldest.load.bytes_out) / span,
        rtp_span_s=span,
    )


class GeneratorSampler:
    """How busy this machine is, and how much of that is our own processes."""

    def __init__(self) -> None:
        self._times: ProcessorTimes | None = None
        self._own: dict[int, int] = {}
        self._looked_s = 0.0

    def sample(self, at_s: float, own_processes: Iterable[int]) -> GeneratorSample | None:
        """What happened since the last look; None at the first.

        Args:
            own_processes: ids, as `own_processes` gives them.
        """
        looked_s, times = monotonic(), parse_processor_times(Path("/proc/stat").read_text())
        own = {pid: ticks for pid in own_processes if (ticks := _ticks_of(pid)) is not None}
        earlier, earlier_own, interval = self._times, self._own, looked_s - self._looked_s
        self._times, self._own, self._looked_s = times, own, looked_s
        if earlier is None or times.total <= earlier.total:
            return None
        # A process that was not there at the last look has used all that it has since then.
        used = sum(ticks - earlier_own.get(pid, 0) for pid, ticks in own.items())
        passed = times.total - earlier.total
        return GeneratorSample(
            at_s=at_s,
            cpu_ratio=min(1.0, (times.busy - earlier.busy) / passed),
            own_cores=max(0, used) / _TICKS_PER_S / interval,
            stolen_ratio=max(0.0, (times.stolen - earlier.stolen) / passed),
        )


def own_processes() -> set[int]:
    """This process, and all that it has started, and that those have: clients, emulators, generators."""
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    parents = {pid: int(fields[1]) for pid in pids if (fields := _fields_of(pid)) is not None}
    return family(os.getpid(), parents)


def family(of: int, parents: Mapping[int, int]) -> set[int]:
    """A process and all that descend from it. Pure.

    Args:
        parents: of each process, by its id.
    """
    found = {of}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def parse_processor_times(stat: str) -> ProcessorTimes:
    """The first line of /proc/stat, which is over all processors."""
    user, nice, system, idle, iowait, irq, softirq, steal = (
        int(word) for word in stat.split(maxsplit=9)[1:9]
    )
    busy = user + nice + system + irq + softirq + steal
    return ProcessorTimes(busy=busy, stolen=steal, total=busy + idle + iowait)


def parse_process(stat: str) -> list[str]:
    """The fields of /proc/<pid>/stat from the third on: the process's state, its parent's id, …"""
    # The second field is the program's name in brackets, and may hold blanks and brackets itself.
    return stat.rpartition(")")[2].split()


def _ticks_of(pid: int) -> int | None:
    """User and system time without that of children, in ticks; None where the process has ended."""
    fields = _fields_of(pid)
    return None if fields is None else int(fields[11]) + int(fields[12])


def _fields_of(pid: int) -> list[str] | None:
    try:
        return parse_process(Path(f"/proc/{pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
