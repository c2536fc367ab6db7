"""What all plots of a report have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from loadtest.report.moments import moments
from loadtest.report.series import Series, clients_of, group_names, seconds_of, series, stretch
from loadtest.report.svg import Axis, Level, Line, Moment, Plot, draw, time_axis
from loadtest.result import RunResult, Second


@dataclass(frozen=True)
class Picture:
    """A plot on the page: its heading, how to read it, and the SVG."""

    title: str
    reading: str
    svg: Markup


@dataclass(frozen=True)
class Grouped:
    """One quantity of every group that has it."""

    group: str
    colour: int
    values: Series


@dataclass(frozen=True)
class Frame:
    """What all plots over time have in common."""

    result: RunResult
    x: Axis
    moments: tuple[Moment, ...]
    width: int

    def by_group(self, value: Callable[[Second], float | None]) -> list[Grouped]:
        found = [
            Grouped(group, colour, series(seconds_of(clients_of(self.result, group)), value, self.width))
            for colour, group in enumerate(group_names(self.result))
        ]
        return [one for one in found if one.values]

    def draw(self, title: str, y: Axis, lines: Sequence[Line], levels: Sequence[Level] = ()) -> Markup:
        return draw(Plot(title, self.x, y, lines, levels, self.moments, measured(self.result)))


def measured(result: RunResult) -> tuple[float, float] | None:
    """From when to when the run was measured; None where it was not, or nobody said."""
    begin, end = result.measured_from_s, result.measured_to_s
    return None if begin is None or end is None else (begin, end)


def frame_of(result: RunResult) -> Frame:
    """The time axis and the moments that all plots over time share.

    The axis begins with the first sample: measuring the links before takes half a minute of nothing.
    """
    times = [second.at_s for client in result.clients for second in client.seconds]
    times += [sample.at_s for sample in result.sfu]
    times += [sample.at_s for sample in result.generator]
    times += [second.at_s for second in result.api.seconds] if result.api else []
    low = max(math.floor(min(times, default=0)) - 1, 0)
    high = max([result.lasted_s, low + 1, *times])
    return Frame(result, time_axis(low, high), moments(result), stretch(high - low))


def thinned(line: Line, width: int) -> Line:
    """Fewer points, as the other plots have: the mean of each stretch."""
    if width == 1:
        return line
    buckets: dict[int, list[float]] = {}
    for at, value in line.points:
        if value is not None:
            buckets.setdefault(int(at // width), []).append(value)
    points = [((index + 0.5) * width, sum(found) / len(found)) for index, found in sorted(buckets.items())]
    return Line(line.label, points, line.colour, dashed=line.dashed)
