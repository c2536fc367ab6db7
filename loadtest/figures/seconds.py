"""A client second by second: what plots over time are drawn from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from loadtest.client.protocol import Measured
from loadtest.client.recording import Recording
from loadtest.client.samples import TransportSecond
from loadtest.figures.pictures import Times, TrackKey, ages, pictures_of, within
from loadtest.figures.spans import Span, presence
from loadtest.result import Second


def seconds(recording: Recording, run_start_ms: float) -> tuple[Second, ...]:
    """One for each second that the client told; a frozen or dead one told none.

    A picture belongs to the second in which it was told.
    """
    measured = recording.measured
    if not measured:
        return ()
    whole = Span(measured[0].from_ms, measured[-1].to_ms)
    looked: list[tuple[Times, Times]] = []
    for frames in pictures_of(recording).values():
        for span in presence(recording, whole.to_ms):
            looked.append(ages(within(frames, span), span, whole))
    return tuple(
        second_of(one, run_start_ms, _oldest(looked, Span(one.from_ms, one.to_ms))) for one in measured
    )


class LiveAges:
    """How old the newest picture of a client's tracks became, second by second, as they are told.

    It carries the newest picture of each track from one second to the next: a stall has no pictures of its
    own.
    """

    def __init__(self) -> None:
        self._newest: dict[TrackKey, float] = {}

    def oldest(self, measured: Measured) -> float | None:
        """The oldest in this second, which follows the one before; None while no track had a picture."""
        before, self._newest = self._newest, {}
        found: list[float] = []
        for track in measured.video:
            key = (track.publisher, track.source)
            newest = before.get(key)
            for frame in track.frames:
                if newest is not None:
                    found.append(frame.received_ms - newest)
                newest = frame.captured_ms if newest is None else max(newest, frame.captured_ms)
            if newest is not None:
                found.append(measured.to_ms - newest)
                self._newest[key] = newest
        return max(found, default=None)


def second_of(measured: Measured, run_start_ms: float, age_max_ms: float | None = None) -> Second:
    """One second by itself.

    Args:
        age_max_ms: the oldest that the newest picture of any track was; the second itself does not know it.
    """
    frames = [frame for track in measured.video for frame in track.frames]
    latencies = [frame.latency_ms for frame in frames]
    transport = measured.transport or TransportSecond()
    passed_ms = max(measured.to_ms - measured.from_ms, 1.0)
    return Second(
        at_s=(measured.to_ms - run_start_ms) / 1000,
        pictures=len(frames),
        latency_p50_ms=float(np.median(latencies)) if latencies else None,
        latency_max_ms=max(latencies, default=None),
        age_max_ms=age_max_ms,
        height=_height(measured),
        received_kbps=transport.received_bytes * 8 / passed_ms,
        sent_kbps=transport.sent_bytes * 8 / passed_ms,
        lost_packets=max(0, transport.packets_lost),
        jitter_ms=transport.jitter_ms,
        round_trip_ms=transport.round_trip_ms,
    )


def _height(measured: Measured) -> int:
    """Of the last picture, and rather a camera's than a screen's."""
    tracks = sorted(measured.video, key=lambda track: track.source == "camera")
    return next((track.frames[-1].height for track in reversed(tracks) if track.frames), 0)


def _oldest(looked: Iterable[tuple[Times, Times]], span: Span) -> float | None:
    found = [
        float(values[(ticks >= span.from_ms) & (ticks <= span.to_ms)].max(initial=-np.inf))
        for ticks, values in looked
    ]
    oldest = max(found, default=-np.inf)
    return float(oldest) if np.isfinite(oldest) else None
