"""The layers of the tests: their order, their time budgets, and what a run has spent on each.

`make test` must stay within minutes, so every layer has a budget. Budgets are seconds of `make test` on the
reference machine and are scaled by the machine's measured slowness (`tests.support.speed`).
"""

from __future__ import annotations

import io
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.support import json_lines

# How far a layer may exceed its scaled budget before CI fails.
TOLERANCE = 1.3
_WIDTH = 100


class Part(Enum):
    """The parts of `make test`. All but ALONE run at the same time, each in its own pytest session."""

    ISOLATED = "isolated"  # needs no stack; on two workers
    OWN_NAMESPACE = "own-namespace"  # when the stack is up; changes only namespaces of its own
    PLATFORM = "platform"  # uses or changes the deployed platform; one test at a time
    ALONE = "alone"  # measures time or calls; runs last, one test at a time, and nothing runs next to it


@dataclass(frozen=True)
class Layer:
    """One directory of tests.

    Attributes:
        budget: seconds for `make test` on the reference machine, without tests that are marked `long`. It is
            the sum over all processes that run at the same time.
        parts: the parts that its tests may be in: the first one, unless a fixture or a marker says otherwise
            (see `part_of`). Sessions of other parts do not collect this layer.
    """

    name: str
    budget: float
    parts: tuple[Part, ...]


# From fast and narrow to slow and wide: a reader fixes the narrowest failure first.
LAYERS = (
    Layer("unit", 600, (Part.ISOLATED,)),
    # These tests compile. Before the stack is up they would wait for it: only one compilation runs at a time.
    Layer("images", 60, (Part.OWN_NAMESPACE,)),
    Layer("manifests", 135, (Part.ISOLATED, Part.OWN_NAMESPACE)),
    Layer("services", 75, (Part.ISOLATED,)),
    Layer("stack_secrets", 140, (Part.ISOLATED,)),
    # Mostly waits, which do not take longer on a slow machine.
    Layer("token_api", 560, (Part.ISOLATED, Part.ALONE)),
    Layer("recorder", 560, (Part.ISOLATED, Part.ALONE)),
    Layer("network", 90, (Part.ALONE,)),
    Layer("plugins", 130, (Part.OWN_NAMESPACE,)),
    Layer("deployment", 620, (Part.PLATFORM, Part.OWN_NAMESPACE, Part.ALONE)),
    Layer("e2e", 190, (Part.ISOLATED, Part.PLATFORM, Part.ALONE)),
    Layer("load", 250, (Part.ALONE,)),
    Layer("chaos", 95, (Part.ALONE,)),
    Layer("teardown", 40, (Part.ALONE,)),
)
# Seconds of the whole of `make test` with warm caches, the start of the stack included: 18 minutes, and later
# one for the tests of security and one and a half for those of recordings.
WHOLE_BUDGET = 20.5 * 60
_BY_NAME = {layer.name: layer for layer in LAYERS}


@dataclass(frozen=True)
class Spent:
    """What one run has spent on one layer: seconds of set-up, calls and teardown, and the number of tests."""

    layer: str
    seconds: float
    tests: int


def layer_of(nodeid: str) -> Layer:
    """The layer of a test, from its node id "tests/<layer>/...".

    Raises:
        KeyError: the test is in none.
    """
    return _BY_NAME[nodeid.split("/")[1]]


def part_of(nodeid: str, fixtures: Container[str], markers: Container[str]) -> Part:
    """In which part of `make test` a test runs.

    Args:
        fixtures: names of all fixtures that the test uses, directly or not.
        markers: names of its markers, of which `alone` and `own_namespace` matter.

    Raises:
        ValueError: tests of this layer may not be in that part.
    """
    layer = layer_of(nodeid)
    part = layer.parts[0]
    if "alone" in markers:
        part = Part.ALONE
    elif "own_namespace" in markers:
        part = Part.OWN_NAMESPACE
    elif part is Part.ISOLATED and "stack" in fixtures:
        part = Part.PLATFORM
    if part not in layer.parts:
        allowed = ", ".join(part.value for part in layer.parts)
        raise ValueError(
            f"{nodeid}: its fixtures and markers put it into part {part.value}; "
            f"allowed for layer {layer.name}: {allowed}"
        )
    return part


def directories(part: Part) -> list[str]:
    """The directories that a session of this part collects, relative to the checkout."""
    return [f"tests/{layer.name}" for layer in LAYERS if part in layer.parts]


class Ledger:
    """Adds up what a run spends."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._tests: dict[str, set[str]] = {}

    def add(self, nodeid: str, seconds: float) -> None:
        """One phase (set-up, call or teardown) of one test."""
        name = layer_of(nodeid).name
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds
        self._tests.setdefault(name, set()).add(nodeid)

    @property
    def spent(self) -> list[Spent]:
        return [Spent(name, self._seconds[name], len(tests)) for name, tests in self._tests.items()]


def read(file: Path) -> list[Spent]:
    """Read a file of JSON lines; entries of one layer are added up."""
    entries = json_lines.read(file, Spent)
    return [
        Spent(
            layer.name,
            sum(entry.seconds for entry in entries if entry.layer == layer.name),
            sum(entry.tests for entry in entries if entry.layer == layer.name),
        )
        for layer in LAYERS
        if any(entry.layer == layer.name for entry in entries)
    ]


def over_budget(spent: Iterable[Spent], slowness: float) -> list[str]:
    """A sentence for each layer that exceeds its scaled budget by more than the tolerance."""
    return [
        f"layer {one.layer} took {one.seconds:.0f} s; its budget is {budget:.0f} s "
        f"({_BY_NAME[one.layer].budget:.0f} s × {max(1.0, slowness):.2f} for this machine's speed)"
        for one in spent
        if one.seconds > TOLERANCE * (budget := _budget(one.layer, slowness))
    ]


def whole_over_budget(seconds: float, slowness: float) -> list[str]:
    """A sentence if `make test` as a whole exceeds its scaled budget by more than the tolerance."""
    budget = WHOLE_BUDGET * max(1.0, slowness)
    if seconds <= TOLERANCE * budget:
        return []
    return [f"`make test` took {seconds:.0f} s without a cold start; its budget is {budget:.0f} s"]


def _budget(layer: str, slowness: float) -> float:
    return _BY_NAME[layer].budget * max(1.0, slowness)


def table(
    spent: Iterable[Spent],
    slowness: float,
    others: Mapping[str, float] | None = None,
    *,
    with_budgets: bool = True,
) -> str:
    """Seconds, tests and budget of each layer.

    Args:
        others: seconds of further steps that have no budget, by name.
        with_budgets: False for a run with long tests, for which the budgets are not made.
    """
    shown = Table()
    shown.add_column("layer")
    for heading in ("seconds", "tests", "budget"):
        shown.add_column(heading, justify="right")
    for one in spent:
        over = one.seconds > TOLERANCE * _budget(one.layer, slowness)
        budget = f"{_budget(one.layer, slowness):.0f}{' exceeded' if over else ''}" if with_budgets else ""
        shown.add_row(one.layer, f"{one.seconds:.0f}", str(one.tests), budget)
    for name, seconds in (others or {}).items():
        shown.add_row(name, f"{seconds:.0f}", "", "")
    text = io.StringIO()
    Console(file=text, width=_WIDTH).print(shown)
    lines = [f"time per layer; slowness of this machine: {slowness:.2f}", *text.getvalue().splitlines()]
    return "\n".join(line.rstrip() for line in lines) + "\n"
