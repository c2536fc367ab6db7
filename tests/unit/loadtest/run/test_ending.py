"""What a run comes to: what weighs more comes first."""

from __future__ import annotations

import pytest

from loadtest.result import Check, Verdict
from loadtest.run.ending import verdict

HELD = Check(threshold="a", passed=True, value=1, limit=2)
MISSED = Check(threshold="b", passed=False, value=3, limit=2)


@pytest.mark.parametrize(
    ("problem", "invalid", "checks", "expected"),
    [
        ("", [], [HELD], Verdict.PASSED),
        ("", [], [], Verdict.PASSED),
        ("", [], [HELD, MISSED], Verdict.FAILED),
        ("", ["the link lied"], [HELD], Verdict.INVALID),
        ("", ["the link lied"], [MISSED], Verdict.INVALID),
        ("no stack", ["the link lied"], [MISSED], Verdict.COULD_NOT_RUN),
    ],
)
def test_the_verdict(problem: str, invalid: list[str], checks: list[Check], expected: Verdict) -> None:
    assert verdict(problem=problem, invalid=invalid, checks=checks) is expected
