"""How each audio track came through, in the window that is judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from loadtest.client.hearing import LEAST_GAP_MS
from loadtest.client.protocol import Measured
from loadtest.client.recording import Recording
from loadtest.client.samples import AudioSecond
from loadtest.figures.spans import Span, Window, judged
from loadtest.marker.audio import WINDOW_MS
from loadtest.result import AudioResult, Freeze

# Windows are noted when they reach the client; a stop that is shorter may be this process's own.
_OPEN_GAP_MS: Final = 300.0


def audio_results(
    recording: Recording, window: Window, expected: Mapping[str, tuple[Span, ...] | None] | None = None
) -> tuple[AudioResult, ...]:
    """The figures of each expected publisher's sound, and of any other that the client was subscribed to.

    The tone changes five times a second, mostly within a window of 20 ms, which then has no one tone:
    sound that came whole has a `marked_ratio` of 0.85 to 1.

    Args:
        expected: publishers, each with the time of its presence, as in `Expected.present`.
    """
    heard: dict[str, list[tuple[Measured, AudioSecond]]] = {}
    for second in recording.measured:
        for track in second.audio:
            heard.setdefault(track.publisher, []).append((second, track))
    wanted = {**dict.fromkeys(heard), **(expected or {})}
    return tuple(
        _result(publisher, heard.get(publisher, []), judged(recording, window, present), window)
        for publisher, present in wanted.items()
    )


def _result(
    publisher: str, heard: Sequence[tuple[Measured, AudioSecond]], spans: Sequence[Span], window: Window
) -> AudioResult:
    looked_at = [common for span in spans if (common := span.overlap(window))]
    time_ms = sum(span.length_ms for span in looked_at)
    shares = [(_share(second, looked_at), track) for second, track in heard]
    marked_ms = sum(share * track.marked * WINDOW_MS for share, track in shares)
    gaps = [
        common
        for span in spans
        for gap in _gaps([track for _, track in heard], span)
        if (common := gap.overlap(window))
    ]
    return AudioResult(
        publisher=publisher,
        marked_ratio=min(1.0, marked_ms / time_ms) if time_ms else 0.0,
        steps_in_order=round(sum(share * track.steps_in_order for share, track in shares)),
        steps_out_of_order=round(sum(share * track.steps_out_of_order for share, track in shares)),
        gaps=tuple(Freeze(at_s=window.at_s(gap.from_ms), lasted_ms=gap.length_ms) for gap in gaps),
    )


def _share(second: Measured, spans: Sequence[Span]) -> float:
    """How much of a second lies in the spans."""
    whole = Span(second.from_ms, second.to_ms)
    if whole.length_ms <= 0:
        return 0.0
    return sum(common.length_ms for span in spans if (common := whole.overlap(span))) / whole.length_ms


def _gaps(seconds: Sequence[AudioSecond], span: Span) -> list[Span]:
    """Times without tones in a span, the one at its end among them; a span without any is one gap."""
    marked = [
        second.last_marked_ms
        for second in seconds
        if second.last_marked_ms is not None and span.has(second.last_marked_ms)
    ]
    if not marked:
        return [span]
    closed = [
        Span(gap.from_ms, gap.to_ms)
        for second in seconds
        for gap in second.gaps
        # One that reaches out of the span is the time in which nobody was there.
        if span.has(gap.from_ms) and span.has(gap.to_ms) and gap.to_ms - gap.from_ms >= LEAST_GAP_MS
    ]
    at_end = Span(marked[-1], span.to_ms)
    return closed + ([at_end] if at_end.length_ms >= _OPEN_GAP_MS else [])
