"""What is known of a run while it goes on, from its events. It writes nothing: live.py and plain.py do."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from loadtest.net.calibration import Calibration
from loadtest.report.words import one_line
from loadtest.result import ApiSecond, GeneratorSample, Second, SfuSample
from loadtest.run.observer import (
    ActionTaken,
    ApiSecondOver,
    Calibrated,
    ClientEnded,
    ClientSecond,
    PhaseStarted,
    RunEvent,
    RunStarted,
    Sampled,
)

# A client that has not been heard of for so long is not counted as being in.
_SILENT_S: Final = 5.0
_REMEMBERED: Final = 4


@dataclass
class GroupProgress:
    """One group: how many clients it is to have, and the last second of each."""

    name: str
    total: int
    latest: dict[str, tuple[float, Second]] = field(default_factory=dict)
    lost_packets: int = 0

    def present(self, now: float) -> list[Second]:
        """The last second of each client that is in."""
        return [second for heard, second in self.latest.values() if now - heard <= _SILENT_S]


@dataclass(frozen=True)
class GroupFigures:
    """A group in this moment. Of several clients: the fewest pictures, the worst latency and age; means of
    bitrates; the lowest and highest picture. None where no client says anything.
    """

    name: str
    present: int
    total: int
    pictures: int | None
    latency_p50_ms: float | None
    latency_max_ms: float | None
    age_max_ms: float | None
    heights: tuple[int, int] | None
    received_kbps: float
    sent_kbps: float
    lost_packets: int


@dataclass
class Progress:
    """The whole run; `take` is given each event with the time at which it came, in seconds."""

    title: str = ""
    profile: str = ""
    target: str = ""
    phase: PhaseStarted | None = None
    phase_since: float = 0.0
    groups: dict[str, GroupProgress] = field(default_factory=dict)
    calibrations: dict[str, Calibration] = field(default_factory=dict)
    actions: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    ended: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    ended_count: int = 0
    sfu: dict[str, SfuSample] = field(default_factory=dict)
    generator: GeneratorSample | None = None
    api: ApiSecond | None = None
    api_errors: int = 0

    def take(self, event: RunEvent, now: float) -> None:
        """Note what the event says."""
        match event:
            case RunStarted():
                self.title = event.scenario.title
                self.profile, self.target = event.profile, event.target
                for group in event.scenario.groups:
                    self.groups[group.name] = GroupProgress(group.name, group.count)
            case PhaseStarted():
                self.phase, self.phase_since = event, now
            case Calibrated():
                self.calibrations[event.calibration.profile] = event.calibration
            case ClientSecond():
                group_progress = self._group(event.group)
                group_progress.latest[event.client] = (now, event.second)
                group_progress.lost_packets += event.second.lost_packets
            case ApiSecondOver():
                self.api = event.second
                self.api_errors += event.second.errors
            case ClientEnded():
                self._group(event.group).latest.pop(event.client, None)
                self.ended.append(one_line(f"{event.client}: {event.reason}"))
                self.ended_count += 1
            case ActionTaken():
                self.actions.append(one_line(f"{event.at_s:.0f} s: {event.what}"))
            case Sampled():
                self.sfu.update({sample.node: sample for sample in event.sfu})
                self.generator = event.generator

    def _group(self, name: str) -> GroupProgress:
        return self.groups.setdefault(name, GroupProgress(name, 0))

    def elapsed(self, now: float) -> float:
        """Seconds since the phase began."""
        return now - self.phase_since

    def figures(self, now: float) -> list[GroupFigures]:
        """Every group as it is now."""
        return [_figures(group, now) for group in self.groups.values()]


def _figures(group: GroupProgress, now: float) -> GroupFigures:
    seconds = group.present(now)
    # Who only sends gets no pictures, and is not asked for any.
    watching = [second for second in seconds if second.height or second.age_max_ms is not None]
    p50 = [second.latency_p50_ms for second in watching if second.latency_p50_ms is not None]
    most = [second.latency_max_ms for second in watching if second.latency_max_ms is not None]
    ages = [second.age_max_ms for second in watching if second.age_max_ms is not None]
    heights = [second.height for second in watching if second.height]
    return GroupFigures(
        name=group.name,
        present=len(seconds),
        # A ramp has more of them than the scenario said.
        total=max(group.total, len(seconds)),
        pictures=min((second.pictures for second in watching), default=None),
        latency_p50_ms=median(p50) if p50 else None,
        latency_max_ms=max(most, default=None),
        age_max_ms=max(ages, default=None),
        heights=(min(heights), max(heights)) if heights else None,
        received_kbps=sum(second.received_kbps for second in seconds) / max(len(seconds), 1),
        sent_kbps=sum(second.sent_kbps for second in seconds) / max(len(seconds), 1),
        lost_packets=group.lost_packets,
    )


def api(progress: Progress) -> str:
    """The API's last second in one line; empty where there is none."""
    second = progress.api
    if second is None:
        return ""
    latency = (
        f", latency p50 {second.latency_p50_ms:.0f} max {second.latency_max_ms:.0f} ms"
        if second.latency_p50_ms is not None and second.latency_max_ms is not None
        else ""
    )
    return f"API {second.answers} answers/s{latency}, {progress.api_errors} errors so far"


def machines(progress: Progress) -> str:
    """SFU nodes and this machine in one line; empty before the first sample."""
    parts = [f"SFU {node} {sample.cpu_cores:.2f} cores" for node, sample in progress.sfu.items()]
    if progress.generator is not None:
        parts.append(f"this machine {progress.generator.cpu_ratio:.0%} busy")
    return " · ".join(parts)
