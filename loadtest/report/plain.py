"""The log of a run that goes on, for CI: a line for each thing worth one, and the groups now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, TextIO

from loadtest.net.calibration import Calibration
from loadtest.report.progress import GroupFigures, Progress, api, machines
from loadtest.report.tables import QUANTITIES, calibration_lines
from loadtest.report.words import one_line
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

_SUMMARY_EVERY_S: Final = 5.0


class PlainLog:
    """An observer that writes lines, each with the seconds since it was made.

    A stream that cannot be written to any more (a closed pipe) ends the log, not the run.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream: TextIO | None = stream
        self._clock = clock
        self._started = clock()
        self._next_summary = self._started + _SUMMARY_EVERY_S
        self._progress = Progress()
        self._lock = threading.Lock()

    def __call__(self, event: RunEvent) -> None:
        with self._lock:
            now = self._clock()
            self._progress.take(event, now)
            lines = event_lines(event)
            if isinstance(event, ClientSecond | ApiSecondOver | Sampled) and now >= self._next_summary:
                self._next_summary = now + _SUMMARY_EVERY_S
                lines = summary_lines(self._progress, now)
            self._write(lines, now)

    def close(self) -> None:
        """Nothing is written any more. The stream stays open: it is its owner's."""
        with self._lock:
            self._stream = None

    def _write(self, lines: list[str], now: float) -> None:
        if self._stream is None or not lines:
            return
        try:
            for line in lines:
                self._stream.write(f"{now - self._started:7.1f} s  {line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None


def event_lines(event: RunEvent) -> list[str]:
    """What an event by itself is worth: nothing, for those that come each second."""
    match event:
        case RunStarted():
            groups = ", ".join(f"{group.count} {group.name}" for group in event.scenario.groups)
            return [
                f"{event.scenario.name} on {event.profile}, against {event.target}: {groups}".rstrip(": ")
            ]
        case PhaseStarted():
            return [event.name + (f", {event.seconds:.0f} s" if event.seconds else "")]
        case Calibrated():
            return calibration_text(event.calibration)
        case ClientEnded():
            return [one_line(f"CLIENT ENDED EARLY: {event.client}: {event.reason}")]
        case ActionTaken():
            return [one_line(f"action at {event.at_s:.0f} s: {event.what}")]
        case ClientSecond() | ApiSecondOver() | Sampled():
            return []


def calibration_text(calibration: Calibration) -> list[str]:
    """Requested against achieved, a line per direction."""
    lines = []
    for line in calibration_lines([calibration]):
        cells = [
            f"{name} {cell.text}{'' if cell.ok else ' (NOT WHAT IT CLAIMS)'}"
            for name, cell in zip(QUANTITIES.values(), line.cells, strict=True)
            if cell is not None
        ]
        lines.append(f"calibrated {line.where}: {'; '.join(cells)}")
    return lines


def summary_lines(progress: Progress, now: float) -> list[str]:
    """The groups in this moment, and the machines."""
    said = [*(_group_text(group) for group in progress.figures(now)), api(progress), machines(progress)]
    return [line for line in said if line]


def _group_text(group: GroupFigures) -> str:
    parts = [f"{group.name} {group.present}/{group.total} in"]
    if group.pictures is not None:
        parts.append(f"{group.pictures} pictures/s at least")
    if group.latency_p50_ms is not None and group.latency_max_ms is not None:
        parts.append(f"latency p50 {group.latency_p50_ms:.0f} max {group.latency_max_ms:.0f} ms")
    if group.age_max_ms is not None:
        parts.append(f"age max {group.age_max_ms:.0f} ms")
    if group.heights is not None:
        parts.append("height " + "–".join(map(str, dict.fromkeys(group.heights))))
    if group.received_kbps >= 1:
        parts.append(f"in {group.received_kbps:.0f} kbit/s")
    if group.sent_kbps >= 1:
        parts.append(f"out {group.sent_kbps:.0f} kbit/s")
    if group.lost_packets:
        parts.append(f"{group.lost_packets} packets lost")
    return ", ".join(parts)
