"""How many watched, and for how long: counted when somebody comes or goes, so that reading is never slow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

MAX_POINTS = 500
MILLISECOND = timedelta(milliseconds=1)
# Up to this age of a session (2^9 s) the curve has a place for each second. With each doubling of the age,
# twice as much time shares a place. So a day has about 2,400 places.
_EXACT_BITS = 9


@dataclass(frozen=True)
class Stay:
    """That somebody was in the room from `start` to `end`; None: they still are. `counts`: as a viewer."""

    start: datetime
    end: datetime | None
    counts: bool


# That from an age of the session on, in seconds, there were so many viewers, until the next one.
Count = tuple[int, int]


@dataclass(frozen=True)
class Audience:
    """All there is to tell of who watched a session.

    Attributes:
        unique: persons.
        peak: the most who were there at once.
        watch_seconds: the time of all of them together.
        curve: every change of their number, as exactly as it is kept, at most MAX_POINTS of them.
    """

    unique: int
    peak: int
    watch_seconds: int
    curve: Sequence[Count]


def steps_of(stays: Sequence[Stay]) -> Counter[datetime]:
    """When the number of viewers changes, and by how much, by one person's stays in order of their starts.

    A second device of a person replaces the first: a stay ends when the next one begins, at the latest.
    """
    steps: Counter[datetime] = Counter()
    for number, stay in enumerate(stays):
        if not stay.counts:
            continue
        following = [later.start for later in stays[number + 1 : number + 2]]
        ends = [end for end in (stay.end, *following) if end is not None]
        steps[stay.start] += 1
        if ends:
            steps[max(stay.start, min(ends))] -= 1
    return steps


def change(before: Sequence[Stay], after: Sequence[Stay]) -> dict[datetime, int]:
    """What must be added to the steps of `before` to have those of `after`."""
    steps = steps_of(after)
    steps.subtract(steps_of(before))
    return {at: by for at, by in steps.items() if by}


def place_of(age: timedelta) -> int:
    """The place in the curve for a change at this age of the session: its age in seconds, rounded down."""
    seconds = max(0, int(age.total_seconds()))
    shift = max(0, seconds.bit_length() - _EXACT_BITS)
    return seconds >> shift << shift


def curve_of(steps: Mapping[int, int], end: int | None) -> list[Count]:
    """How many viewers there were, by the steps at each place.

    Args:
        end: the age of the session at its end, in seconds; None while it is open.
    """
    places = sorted(steps)
    curve: list[Count] = []
    before = None
    for place, viewers in zip(places, accumulate([steps[place] for place in places]), strict=True):
        if viewers != before:
            curve.append((place, viewers))
        before = viewers
    if end is not None and before:
        curve.append((end, 0))
    return curve


def peak_of(curve: Iterable[Count]) -> int:
    """The most viewers in a curve."""
    return max((viewers for _, viewers in curve), default=0)


def thinned(curve: Sequence[Count], most: int = MAX_POINTS) -> list[Count]:
    """At most `most` points of `curve`: of as many neighbours as it takes the highest, and the very last."""
    if len(curve) <= most:
        return list(curve)
    size = -(-(len(curve) - 1) // (most - 1))
    groups = (curve[start : min(start + size, len(curve) - 1)] for start in range(0, len(curve) - 1, size))
    return [*((group[0][0], peak_of(group)) for group in groups), curve[-1]]
