"""Plots as inline SVG, out of values: no script, no fonts, and no colours: those are the page's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, TypeAlias

from markupsafe import Markup

from loadtest.report.axes import Scale, clock_text, nice_ticks, spread, tick_text, time_ticks

Point: TypeAlias = tuple[float, float | None]
Band: TypeAlias = tuple[float, float, float]

WIDTH: Final = 600
HEIGHT: Final = 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 122, 22, 40
COLOURS: Final = 6
_LABEL_GAP = 14
_LABEL_CHARACTERS = 18
_BAR_ROW = 20
_BAR_LEFT = 120


@dataclass(frozen=True)
class Line:
    """One series.

    Attributes:
        points: in the order of x; None breaks the line.
        colour: of the page's palette, counted round.
        band: (x, low, high), in steps of one width, drawn pale below the line.
        stepped: a value holds until the next one.
        faint: one of many alike.
    """

    label: str
    points: Sequence[Point]
    colour: int = 0
    band: Sequence[Band] = ()
    stepped: bool = False
    dashed: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Level:
    """A horizontal line that values are held against."""

    label: str
    value: float


@dataclass(frozen=True)
class Moment:
    """A vertical line where something was done: `mark` is short, `what` says it in words."""

    at: float
    mark: str
    what: str


@dataclass(frozen=True)
class Axis:
    """One axis: its name with the unit, its ends, and the places that carry a number."""

    label: str
    high: float
    ticks: tuple[float, ...]
    text: Callable[[float], str] = tick_text
    low: float = 0


@dataclass(frozen=True)
class Plot:
    """Lines over an axis. A level that lies above the y axis is left out.

    Attributes:
        shaded: a part of the x axis, from and to, that stands out from the rest.
    """

    title: str
    x: Axis
    y: Axis
    lines: Sequence[Line]
    levels: Sequence[Level] = field(default=())
    moments: Sequence[Moment] = field(default=())
    shaded: tuple[float, float] | None = None


def value_axis(label: str, highest: float) -> Axis:
    """An axis from 0 to a round number above `highest`."""
    ticks = nice_ticks(highest)
    return Axis(label, ticks[-1], ticks)


def time_axis(low: float, high: float) -> Axis:
    """Seconds since the start of the run, written as a clock where there are many."""
    unit = "s" if high <= 120 else "min:s" if high < 3600 else "h:min:s"
    return Axis(
        f"time since the start, {unit}", high, time_ticks(low, high), lambda at: clock_text(at, high), low
    )


def draw(plot: Plot) -> Markup:
    """The plot as one `<svg>` element."""
    x = Scale(plot.x.low, plot.x.high, _LEFT, WIDTH - _RIGHT)
    y = Scale(0, plot.y.high, HEIGHT - _BOTTOM, _TOP)
    parts = [_shade(plot.shaded, x)] if plot.shaded else []
    parts.append(_grid(plot, x, y))
    parts += [_moment(moment, x) for moment in plot.moments if plot.x.low <= moment.at <= plot.x.high]
    parts += [_band(line, x, y) for line in plot.lines if line.band]
    parts += [_level(level, y) for level in plot.levels if level.value <= plot.y.high]
    parts += [_line(line, x, y) for line in plot.lines]
    parts.append(_end_labels(plot, y))
    return _svg(plot.title, HEIGHT, parts)


def _svg(title: str, height: float, parts: Sequence[Markup]) -> Markup:
    opening = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, height, title)
    return Markup("\n").join([opening, *parts, Markup("</svg>")])


def _text(x: float, y: float, text: str, css: str, anchor: str = "start") -> Markup:
    return Markup('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>').format(x, y, css, anchor, text)


def _rule(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(x1, y1, x2, y2, css)


def _grid(plot: Plot, x: Scale, y: Scale) -> Markup:
    parts = []
    for tick in plot.y.ticks:
        parts.append(_rule(_LEFT, y(tick), WIDTH - _RIGHT, y(tick), "grid" if tick else "axis"))
        parts.append(_text(_LEFT - 7, y(tick) + 4, plot.y.text(tick), "tick", "end"))
    for tick in plot.x.ticks:
        parts.append(_rule(x(tick), HEIGHT - _BOTTOM, x(tick), HEIGHT - _BOTTOM + 4, "axis"))
        parts.append(_text(x(tick), HEIGHT - _BOTTOM + 17, plot.x.text(tick), "tick", "middle"))
    parts.append(_text((x.start + x.end) / 2, HEIGHT - 5, plot.x.label, "name", "middle"))
    parts.append(
        Markup('<text transform="translate(13 {}) rotate(-90)" class="name" text-anchor="middle">{}</text>')
        .format((y.start + y.end) / 2, plot.y.label)
    )  # fmt: skip
    return Markup("").join(parts)


def _shade(shaded: tuple[float, float], x: Scale) -> Markup:
    begin, end = x(shaded[0]), x(shaded[1])
    return Markup('<rect class="shaded" x="{}" y="{}" width="{}" height="{}"/>').format(
        begin, _TOP, round(end - begin, 1), HEIGHT - _BOTTOM - _TOP
    )


def _moment(moment: Moment, x: Scale) -> Markup:
    at = x(moment.at)
    return Markup('<g class="moment">{}{}<title>{}</title></g>').format(
        _rule(at, _TOP - 4, at, HEIGHT - _BOTTOM, "moment"),
        _text(at, _TOP - 8, moment.mark, "mark", "middle"),
        moment.what,
    )


def _level(level: Level, y: Scale) -> Markup:
    at = y(level.value)
    # Below the line where there is no room above it.
    text_at = at - 5 if at - 5 > _TOP + 8 else at + 14
    return Markup("").join(
        [_rule(_LEFT, at, WIDTH - _RIGHT, at, "level"), _text(_LEFT + 6, text_at, level.label, "level")]
    )


def _band(line: Line, x: Scale, y: Scale) -> Markup:
    return Markup("").join(_band_part(line, part, x, y) for part in unbroken(line.band))


def _band_part(line: Line, part: Sequence[Band], x: Scale, y: Scale) -> Markup:
    upper = [f"{x(at)},{y(high)}" for at, _, high in part]
    lower = [f"{x(at)},{y(low)}" for at, low, _ in reversed(part)]
    return Markup('<polygon class="band c{}" points="{}"/>').format(
        line.colour % COLOURS, " ".join(upper + lower)
    )


def unbroken(band: Sequence[Band]) -> list[list[Band]]:
    """The band in parts without a gap: where there is nothing, nothing is drawn."""
    usual = min((after[0] - before[0] for before, after in pairwise(band)), default=0)
    parts: list[list[Band]] = []
    for one in band:
        if not parts or one[0] - parts[-1][-1][0] > usual * 1.5:
            parts.append([])
        parts[-1].append(one)
    return parts


def _line(line: Line, x: Scale, y: Scale) -> Markup:
    css = f"line c{line.colour % COLOURS}" + " dashed" * line.dashed + " faint" * line.faint
    return Markup('<path class="{}" d="{}"><title>{}</title></path>').format(
        css, path(line, x, y), line.label or "one of them"
    )


def path(line: Line, x: Scale, y: Scale) -> str:
    """The line as SVG path commands: a new start after each gap; a lonely point becomes a dot."""
    steps: list[str] = []
    drawing = False
    for index, (at, value) in enumerate(line.points):
        if value is None:
            drawing = False
            continue
        if not drawing:
            alone = index + 1 >= len(line.points) or line.points[index + 1][1] is None
            steps.append(f"M{x(at)},{y(value)}" + ("h0.1" if alone else ""))
        else:
            steps.append(f"H{x(at)}V{y(value)}" if line.stepped else f"L{x(at)},{y(value)}")
        drawing = True
    return "".join(steps)


def _end_labels(plot: Plot, y: Scale) -> Markup:
    """Each line's name beside its last value, moved apart where they would overlap."""
    named = [line for line in plot.lines if line.label and last_value(line.points) is not None]
    wanted = [y(last_value(line.points) or 0) + 4 for line in named]
    places = spread(wanted, _LABEL_GAP, _TOP + 4, HEIGHT - _BOTTOM + 4)
    return Markup("").join(
        _text(WIDTH - _RIGHT + 7, round(at, 1), shortened(line.label), f"label c{line.colour % COLOURS}")
        for line, at in zip(named, places, strict=True)
    )


def last_value(points: Sequence[Point]) -> float | None:
    """The last one that is there."""
    return next((value for _, value in reversed(points) if value is not None), None)


def shortened(text: str, most: int = _LABEL_CHARACTERS) -> str:
    """`text`, or its beginning and an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart: the lengths of its parts, side by side; None for one that is missing."""

    label: str
    parts: tuple[float | None, ...]
    note: str = ""


def draw_bars(title: str, x_label: str, names: Sequence[str], bars: Sequence[Bar]) -> Markup:
    """Horizontal stacked bars with a legend above; `names` are those of the parts."""
    top = 28
    bottom = top + _BAR_ROW * len(bars)
    axis = value_axis(x_label, max((sum(part or 0 for part in bar.parts) for bar in bars), default=0))
    x = Scale(0, axis.high, _BAR_LEFT, WIDTH - 70)
    parts: list[Markup] = []
    at = float(_BAR_LEFT)
    for colour, name in enumerate(names):
        parts.append(Markup('<rect class="bar c{}" x="{}" y="4" width="10" height="10"/>').format(colour, at))
        parts.append(_text(at + 14, 13, name, "tick"))
        at += 32 + 6.8 * len(name)
    for tick in axis.ticks:
        parts.append(_rule(x(tick), top - 4, x(tick), bottom, "grid" if tick else "axis"))
        parts.append(_text(x(tick), bottom + 14, axis.text(tick), "tick", "middle"))
    for row, bar in enumerate(bars):
        parts.append(_bar(bar, names, top + row * _BAR_ROW, x))
    parts.append(_text((x.start + x.end) / 2, bottom + 31, x_label, "name", "middle"))
    return _svg(title, bottom + 38, parts)


def _bar(bar: Bar, names: Sequence[str], top: float, x: Scale) -> Markup:
    parts = [_text(_BAR_LEFT - 8, top + 13, shortened(bar.label), "tick", "end")]
    so_far = 0.0
    for colour, (name, length) in enumerate(zip(names, bar.parts, strict=True)):
        if length is None:
            continue
        width = round(x(so_far + length) - x(so_far), 1)
        parts.append(
            Markup('<rect class="bar c{}" x="{}" y="{}" width="{}" height="14"><title>{}</title></rect>')
            .format(colour, x(so_far), top + 2, width, f"{bar.label}: {name} {length:.0f} ms")
        )  # fmt: skip
        so_far += length
    parts.append(_text(x(so_far) + 5, top + 13, bar.note, "tick"))
    return Markup("").join(parts)
