"""What a run comes to: its verdict, from all that was found. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from loadtest.result import Check, Verdict


def verdict(*, problem: str, invalid: Iterable[str], checks: Iterable[Check]) -> Verdict:
    """What weighs more comes first: no run, then one that proves nothing, then a missed threshold."""
    if problem:
        return Verdict.COULD_NOT_RUN
    if any(invalid):
        return Verdict.INVALID
    return Verdict.PASSED if all(check.passed for check in checks) else Verdict.FAILED
