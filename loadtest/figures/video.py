"""How each video track came through, in the window that is judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.client.recording import Recording
from loadtest.client.samples import FrameSample, VideoSource
from loadtest.figures.pictures import ages, freezes, pictures_of, within
from loadtest.figures.spans import Span, Window, judged
from loadtest.result import (
    ClockComparison,
    Distribution,
    Freeze,
    LayerChange,
    VideoResult,
    distribution,
)


@dataclass(frozen=True)
class Expected:
    """A track that the client should have seen.

    Attributes:
        present: when its publisher was in the room (`presence` of the publisher's own recording: a
            dead one stays present, one that left as told does not); None: always.
    """

    publisher: str
    source: VideoSource = "camera"
    present: tuple[Span, ...] | None = None


def video_results(
    recording: Recording, window: Window, expected: Sequence[Expected] = ()
) -> tuple[VideoResult, ...]:
    """The figures of each expected track, and of each other one that the client was subscribed to.

    One that gave nothing is there too, with no pictures and frozen all the time.
    """
    pictures = pictures_of(recording)
    wanted = {(track.publisher, track.source): track for track in expected}
    wanted |= {key: Expected(*key) for key in pictures if key not in wanted}
    return tuple(_result(recording, window, track, pictures.get(key, [])) for key, track in wanted.items())


def _result(
    recording: Recording, window: Window, track: Expected, frames: Sequence[FrameSample]
) -> VideoResult:
    spans = judged(recording, window, track.present)
    by_span = [(span, within(frames, span)) for span in spans]
    judged_by_span = [within(found, window) for _, found in by_span]
    came = [frame for found in judged_by_span for frame in found]
    age_samples = np.concatenate([np.empty(0), *(ages(found, span, window)[1] for span, found in by_span)])
    return VideoResult(
        publisher=track.publisher,
        source=track.source,
        latency_ms=_distribution([frame.latency_ms for frame in came]),
        age_ms=_distribution(age_samples.tolist()),
        delivered=sum(len(_numbers(found)) for found in judged_by_span),
        sent=sum(max(numbers) - min(numbers) + 1 for found in judged_by_span if (numbers := _numbers(found))),
        unreadable=_unreadable(recording, window, track),
        freezes=tuple(
            Freeze(at_s=window.at_s(common.from_ms), lasted_ms=common.length_ms)
            for span, found in by_span
            for freeze in freezes(found, span)
            if (common := freeze.overlap(window))
        ),
        layers=tuple(_layers(came, window)),
        second_clock=_second_clock(came),
    )


def _numbers(frames: Iterable[FrameSample]) -> set[int]:
    return {frame.frame for frame in frames}


def _distribution(samples: Sequence[float]) -> Distribution | None:
    return distribution(samples) if samples else None


def _unreadable(recording: Recording, window: Window, track: Expected) -> int:
    """To the second: in the seconds that ended in the window."""
    return sum(
        seen.unreadable
        for second in recording.measured
        if window.has(second.to_ms)
        for seen in second.video
        if (seen.publisher, seen.source) == (track.publisher, track.source)
    )


def _layers(frames: Sequence[FrameSample], window: Window) -> Iterable[LayerChange]:
    size: tuple[int, int] | None = None
    for frame in frames:
        if (frame.width, frame.height) != size:
            size = frame.width, frame.height
            yield LayerChange(at_s=window.at_s(frame.received_ms), width=frame.width, height=frame.height)


def _second_clock(frames: Sequence[FrameSample]) -> ClockComparison | None:
    differences = [
        frame.latency_ms - frame.metadata_latency_ms
        for frame in frames
        if frame.metadata_latency_ms is not None
    ]
    if not differences:
        return None
    return ClockComparison(
        count=len(differences),
        median_difference_ms=float(np.median(differences)),
        p95_absolute_difference_ms=float(np.percentile(np.abs(differences), 95)),
    )
