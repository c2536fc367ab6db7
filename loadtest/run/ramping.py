"""How a search for the limit goes on from what its steps have shown. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.definition.scenario import Ramp
from loadtest.result import Check, RampResult, RampStep


def next_size(ramp: Ramp, steps: Sequence[RampStep]) -> int | None:
    """The size to try next; None where the search is over.

    It is over when a step missed a threshold, or the largest size has been tried. The last step may be
    smaller than the others, so that `most` itself is tried.
    """
    if not steps:
        return ramp.start
    last = steps[-1]
    if last.broke or last.size >= ramp.most:
        return None
    return min(last.size + ramp.step, ramp.most)


def ramp_result(ramp: Ramp, steps: Sequence[RampStep]) -> RampResult:
    """What the search found; `held` is 0 where even the first size missed a threshold."""
    held = max((step.size for step in steps if not step.broke), default=0)
    return RampResult(group=ramp.group, held=held, steps=tuple(steps))


def broken(checks: Sequence[Check]) -> tuple[str, ...]:
    """What a step missed, in words with the value that missed it."""
    return tuple(_in_words(check) for check in checks if not check.passed)


def _in_words(check: Check) -> str:
    of = f" ({check.worst})" if check.worst else ""
    return f"{check.threshold}: {check.reason or check.value}{of}"
