"""Where things lie in a plot: scales, ticks, their numbers, and labels. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# What people count in: ticks lie at these multiples of a power of ten.
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Scale:
    """Maps values from `low` to `high` on pixels from `start` to `end`; what lies outside is clipped."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        width = self.high - self.low
        share = (inside - self.low) / width if width else 0
        return round(self.start + share * (self.end - self.start), 1)


def nice_ticks(high: float, about: int = 5) -> tuple[float, ...]:
    """Round numbers from 0 to the first that is not below `high`, about so many."""
    if high <= 0:
        return (0, 1)
    raw = high / about
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in _STEPS if factor * magnitude >= raw * 0.999999)
    count = math.ceil(high / step - 1e-9)
    return tuple(round(step * index, 10) for index in range(count + 1))


def time_ticks(low: float, high: float, about: int = 8) -> tuple[float, ...]:
    """The same for seconds from `low` to `high`: multiples of what a clock shows."""
    steps = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
    step = next((step for step in steps if (high - low) / step <= about), steps[-1])
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(float(step * index) for index in range(first, last + 1))


def tick_text(value: float) -> str:
    """A tick's number, short: `1500`, `25 k`, `0.5`."""
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1000:g} k" if value >= 10_000 else f"{value:g}"


def clock_text(seconds: float, high: float) -> str:
    """A time on an axis that ends at `high`: `45` up to two minutes, else `1:30`, `1:02:00`."""
    if high <= 120:
        return f"{seconds:g}"
    whole = round(seconds)
    minutes = f"{whole // 60 % 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{minutes.rjust(5, '0')}" if high >= 3600 else minutes


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near the wanted ones, at least `gap` apart, and within `low` and `high` if they fit."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = [0.0] * len(wanted)
    floor = low
    for index in order:
        placed[index] = max(wanted[index], floor)
        floor = placed[index] + gap
    ceiling = high
    for index in reversed(order):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed
