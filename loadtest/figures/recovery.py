"""How long media was away after something was done to it."""

from __future__ import annotations

from loadtest.client.recording import Recording
from loadtest.figures.pictures import LEAST_FREEZE_MS, gaps, pictures_of
from loadtest.result import NoSamples


def recovery(recording: Recording, at_ms: float, until_ms: float) -> float | None:
    """From the last good picture before the gap that an action caused to the first after it, in ms.

    That gap is the longest one which ends after the action and begins before `until_ms`, be it no longer
    than any other: then the action did no harm. Over several tracks, the worst.

    Args:
        at_ms: when the action was taken.
        until_ms: when the next one was, or the end of the measured time.

    Returns:
        None where the longest gap is the one at the end, and a freeze: no picture has come since.

    Raises:
        NoSamples: no picture came before the action; there was nothing to interrupt.
    """
    worst = 0.0
    tracks = [
        frames for frames in pictures_of(recording).values() if frames and frames[0].received_ms < at_ms
    ]
    if not tracks:
        raise NoSamples("no picture came before the action")
    for frames in tracks:
        seen = [frame for frame in frames if frame.received_ms <= until_ms]
        after = [gap for gap in gaps(seen, until_ms) if gap.to_ms > at_ms]
        *closed, at_end = (gap.length_ms for gap in after)
        longest = max(closed, default=0.0)
        if at_end > max(longest, LEAST_FREEZE_MS):
            return None
        worst = max(worst, longest)
    return worst
