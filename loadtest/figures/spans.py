"""Which time counts: the window that is judged, and when a client was in its room.

Times are CLOCK_MONOTONIC in ms, as clients tell them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from loadtest.client.protocol import Joined, Left
from loadtest.client.recording import Recording

# A client that lives tells each second when it is over, and may be this late on a busy machine.
_TELLING_MS: Final = 1500.0


@dataclass(frozen=True)
class Span:
    """From a moment until another."""

    from_ms: float
    to_ms: float

    @property
    def length_ms(self) -> float:
        return self.to_ms - self.from_ms

    def has(self, at_ms: float) -> bool:
        return self.from_ms <= at_ms <= self.to_ms

    def overlap(self, other: Span) -> Span | None:
        """What both have in common; None where that is nothing."""
        span = Span(max(self.from_ms, other.from_ms), min(self.to_ms, other.to_ms))
        return span if span.length_ms > 0 else None


@dataclass(frozen=True)
class Window(Span):
    """The time that is judged.

    Attributes:
        run_start_ms: what `at_s` in results counts from.
    """

    run_start_ms: float

    def at_s(self, at_ms: float) -> float:
        return (at_ms - self.run_start_ms) / 1000


def presence(recording: Recording, until_ms: float) -> tuple[Span, ...]:
    """When the client was in its room: from joining to leaving as told, or to `until_ms`.

    A client that was thrown out, froze or died is counted as present: what it misses is missing.
    """
    spans: list[Span] = []
    since_ms: float | None = None
    for event in recording.events:
        if isinstance(event, Joined) and since_ms is None:
            since_ms = event.at_ms
        elif isinstance(event, Left) and since_ms is not None:
            spans.append(Span(since_ms, event.at_ms))
            since_ms = None
    if since_ms is not None:
        spans.append(Span(since_ms, max(since_ms, until_ms)))
    return tuple(spans)


def judged(recording: Recording, window: Window, present: Sequence[Span] | None = None) -> tuple[Span, ...]:
    """The spans in which the client was there, and so was whoever it watches.

    They begin before the window where they did, since what a track gave then matters in it. They end with
    it, or, for a client that lives and has yet to tell the last second, with what it has told.

    Args:
        present: when the other was there; None: always.
    """
    told = recording.measured
    last_ms = told[-1].to_ms if told else window.to_ms
    until_ms = last_ms if 0 < window.to_ms - last_ms < _TELLING_MS else window.to_ms
    limit = Span(float("-inf"), until_ms)
    mine = _cut(presence(recording, until_ms), [limit])
    return mine if present is None else _cut(mine, present)


def _cut(spans: Iterable[Span], others: Sequence[Span]) -> tuple[Span, ...]:
    return tuple(common for span in spans for other in others if (common := span.overlap(other)))
