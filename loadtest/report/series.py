"""From the seconds of many clients to the lines of a plot. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol, TypeVar

from loadtest.report.svg import Point
from loadtest.result import ClientResult, RunResult, Second

# More of them than this lie closer together than pixels do.
_MOST_POINTS = 240


@dataclass(frozen=True)
class Series:
    """One quantity of one group over time.

    Attributes:
        middle: the median over the clients (and over the seconds that one point stands for).
        band: (time, lowest, highest) of the same.
    """

    middle: tuple[Point, ...]
    lowest: tuple[Point, ...]
    band: tuple[tuple[float, float, float], ...]

    @property
    def highest_value(self) -> float:
        return max((high for _, _, high in self.band), default=0)

    def __bool__(self) -> bool:
        return bool(self.band)


def stretch(length_s: float) -> int:
    """How many seconds one point stands for in a plot of so many."""
    return max(1, math.ceil(length_s / _MOST_POINTS))


class Timed(Protocol):
    """Something of one second."""

    @property
    def at_s(self) -> float: ...


One = TypeVar("One", bound=Timed)


def series(seconds: Iterable[One], value: Callable[[One], float | None], width: int) -> Series:
    """`value` of all `seconds`, which may be of many clients, in stretches of `width` seconds."""
    found: dict[int, list[float]] = {}
    for second in seconds:
        one = value(second)
        if one is not None:
            found.setdefault(math.floor(second.at_s / width), []).append(one)
    if not found:
        return Series((), (), ())
    middle: list[Point] = []
    lowest: list[Point] = []
    band: list[tuple[float, float, float]] = []
    for index in range(min(found), max(found) + 1):
        at, values = (index + 0.5) * width, found.get(index)
        middle.append((at, median(values) if values else None))
        lowest.append((at, min(values) if values else None))
        if values:
            band.append((at, min(values), max(values)))
    return Series(tuple(middle), tuple(lowest), tuple(band))


def group_names(result: RunResult) -> tuple[str, ...]:
    """The scenario's groups that had clients, in its order; then any that only the clients name."""
    present = dict.fromkeys(client.group for client in result.clients)
    declared = [group.name for group in result.scenario.groups if group.name in present]
    return tuple(dict.fromkeys([*declared, *present]))


def clients_of(result: RunResult, group: str) -> tuple[ClientResult, ...]:
    """The clients of one group."""
    return tuple(client for client in result.clients if client.group == group)


def seconds_of(clients: Sequence[ClientResult]) -> Iterable[Second]:
    """All their seconds, one client after the other."""
    return (second for client in clients for second in client.seconds)
