"""A search for the limit: it grows while nothing breaks, and stops at the first break or the largest size."""

from __future__ import annotations

import pytest

from loadtest.definition.scenario import Ramp
from loadtest.result import RampStep
from loadtest.run.ramping import next_size, ramp_result

RAMP = Ramp(group="viewers", start=2, step=3, most=7, hold_s=5)


def steps(*sizes: int, broke_last: bool = False) -> list[RampStep]:
    last = len(sizes) - 1
    return [
        RampStep(size=size, at_s=0, lasted_s=5, broke=("x",) if broke_last and i == last else ())
        for i, size in enumerate(sizes)
    ]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (steps(), 2),
        (steps(2), 5),
        (steps(2, 5), 7),  # and not 8
        (steps(2, 5, 7), None),
        (steps(2, broke_last=True), None),
        (steps(2, 5, broke_last=True), None),
    ],
)
def test_the_next_size(before: list[RampStep], expected: int | None) -> None:
    assert next_size(RAMP, before) == expected


@pytest.mark.parametrize(
    ("before", "held"),
    [(steps(2, 5, broke_last=True), 2), (steps(2, broke_last=True), 0), (steps(2, 5, 7), 7), (steps(), 0)],
)
def test_what_held(before: list[RampStep], held: int) -> None:
    assert ramp_result(RAMP, before).held == held
