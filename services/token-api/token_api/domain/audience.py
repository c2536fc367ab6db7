"""How many watched, and for how long: computed from when each was in the room, to the moment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

MAX_POINTS = 500


@dataclass(frozen=True)
class Visit:
    """That `who` was in the room from `start` to `end`."""

    who: str
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Point:
    """That from `at` on there were `viewers`, until the next point."""

    at: datetime
    viewers: int


@dataclass(frozen=True)
class Audience:
    """All there is to tell of who watched. `peak` is exact, also where `curve` is not."""

    unique: int
    peak: int
    watch_seconds: int
    curve: Sequence[Point]


def audience_of(visits: Iterable[Visit]) -> Audience:
    """The audience that `visits` make. Two of one person at once count as one."""
    by_person: dict[str, list[Visit]] = defaultdict(list)
    for visit in visits:
        if visit.end >= visit.start:
            by_person[visit.who].append(visit)
    spans = [span for visits_of_one in by_person.values() for span in _spans(visits_of_one)]
    curve = _curve(spans)
    return Audience(
        unique=len(by_person),
        peak=max((point.viewers for point in curve), default=0),
        watch_seconds=round(sum((end - start).total_seconds() for start, end in spans)),
        curve=thinned(curve),
    )


def _spans(visits: list[Visit]) -> list[tuple[datetime, datetime]]:
    """When one person was there at all. A second device comes before the first one's leaving is told."""
    spans: list[tuple[datetime, datetime]] = []
    for visit in sorted(visits, key=lambda visit: visit.start):
        if spans and visit.start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], visit.end))
        else:
            spans.append((visit.start, visit.end))
    return spans


def _curve(spans: Iterable[tuple[datetime, datetime]]) -> list[Point]:
    steps = [(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans]
    points: list[Point] = []
    viewers = 0
    # Who leaves and who comes in one moment were not there together.
    for at, changes in groupby(sorted(steps), key=lambda step: step[0]):
        viewers += sum(change for _, change in changes)
        if not points or points[-1].viewers != viewers:
            points.append(Point(at, viewers))
    return points


def thinned(curve: Sequence[Point], most: int = MAX_POINTS) -> list[Point]:
    """At most `most` points of `curve`: of as many neighbours as it takes the highest, and the very last."""
    if len(curve) <= most:
        return list(curve)
    size = -(-(len(curve) - 1) // (most - 1))
    groups = [curve[start : start + size] for start in range(0, len(curve) - 1, size)]
    return [
        *(Point(group[0].at, max(point.viewers for point in group)) for group in groups),
        curve[-1],
    ]
