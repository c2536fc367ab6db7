"""The pictures of one track as arrays, and how old the newest one was at any moment."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from loadtest.client.recording import Recording
from loadtest.client.samples import FrameSample, VideoSource
from loadtest.figures.spans import Span

Times: TypeAlias = npt.NDArray[np.float64]
TrackKey: TypeAlias = tuple[str, VideoSource]

TICK_MS: Final = 1000 / 15  # ages are looked at this often, whatever a publisher's frame rate

_AVERAGED_GAPS: Final = 30  # W3C webrtc-stats, freezeCount: the average of the last 30 pictures
_FREEZE_FACTOR: Final = 3
_FREEZE_MORE_MS: Final = 150
LEAST_FREEZE_MS: Final = TICK_MS + _FREEZE_MORE_MS  # at 15 pictures a second


def pictures_of(recording: Recording) -> dict[TrackKey, list[FrameSample]]:
    """Each track's pictures in the order in which they came; tracks without any too."""
    found: dict[TrackKey, list[FrameSample]] = {}
    for second in recording.measured:
        for track in second.video:
            found.setdefault((track.publisher, track.source), []).extend(track.frames)
    return found


def within(frames: Sequence[FrameSample], span: Span) -> list[FrameSample]:
    """Those that came in this span."""
    return [frame for frame in frames if span.has(frame.received_ms)]


def ages(frames: Sequence[FrameSample], span: Span, looked_at: Span) -> tuple[Times, Times]:
    """The age of the newest picture at every tick, from the span's first picture to the span's end.

    Args:
        frames: those that came in the span.
        looked_at: ticks are counted from its start, and only those in it are given.

    Returns:
        The ticks, and the ages in ms at them.
    """
    if not frames:
        return np.empty(0), np.empty(0)
    common = Span(max(span.from_ms, frames[0].received_ms), span.to_ms).overlap(looked_at)
    if common is None:
        return np.empty(0), np.empty(0)
    first = np.ceil((common.from_ms - looked_at.from_ms) / TICK_MS)
    last = np.floor((common.to_ms - looked_at.from_ms) / TICK_MS)
    ticks = looked_at.from_ms + np.arange(first, last + 1) * TICK_MS
    received = np.array([frame.received_ms for frame in frames])
    newest = np.maximum.accumulate([frame.captured_ms for frame in frames])
    return ticks, ticks - newest[np.searchsorted(received, ticks, side="right") - 1]


def gaps(frames: Sequence[FrameSample], until_ms: float) -> list[Span]:
    """The times between pictures, the last one open: from the last picture until then."""
    moments = [frame.received_ms for frame in frames] + [until_ms]
    return [Span(earlier, later) for earlier, later in pairwise(moments)]


def freezes(frames: Sequence[FrameSample], span: Span) -> list[Span]:
    """The gaps of max(3 × the average, the average + 150 ms) or more, the open one at the end among them.

    The average is that of the up to 30 gaps before. A span without a picture is one freeze; the time
    before its first picture is none, but a part of joining.
    """
    if not frames:
        return [span]
    found = []
    lengths: list[float] = []
    for gap in gaps(frames, span.to_ms):
        average = float(np.mean(lengths[-_AVERAGED_GAPS:])) if lengths else TICK_MS
        if gap.length_ms >= max(_FREEZE_FACTOR * average, average + _FREEZE_MORE_MS):
            found.append(gap)
        lengths.append(gap.length_ms)
    return found
