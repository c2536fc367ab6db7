"""How long a client's picture takes to follow when its link loses capacity. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from loadtest.judging.facts import ClientFacts, Window
from loadtest.judging.not_measured import NotMeasured
from loadtest.result import ClientResult, Second

# Pictures flow where the newest is no older than twice what it usually was before the step, and this anyway.
_AGE_FLOOR_MS: Final = 500.0
# Clients count in seconds that are not the link's own: a little more than its capacity may fit in one.
_FITS: Final = 1.1
# What "usual" is made from, before the step.
_BEFORE_S: Final = 10.0
# So many good seconds in a row are no luck.
_GOOD_IN_A_ROW: Final = 2


@dataclass(frozen=True)
class StepDown:
    """The link has `down_kbps` from `at_s` until `until_s`, which is less than it had."""

    at_s: float
    until_s: float
    down_kbps: int


def steps_down(facts: ClientFacts) -> tuple[StepDown, ...]:
    """The losses of capacity within the window, each until the next change or the window's end."""
    current = facts.down.rate_kbps
    steps: list[StepDown] = []
    changes = [change for change in facts.capacity if change.down_kbps is not None]
    ends = [*(change.at_s for change in changes[1:]), facts.window.to_s]
    for change, end in zip(changes, ends, strict=False):
        down_kbps = change.down_kbps
        if down_kbps is None:
            continue
        if change.at_s in facts.window and (current is None or down_kbps < current):
            steps.append(StepDown(change.at_s, min(end, facts.window.to_s), down_kbps))
        current = down_kbps
    return tuple(steps)


def adapt_s(client: ClientResult, facts: ClientFacts) -> float:
    """From a step down until pictures flow again for good, within the new capacity; the slowest step.

    Seconds are what clients tell, so it is as fine as that: a picture that did not suffer adapts in 0 to 1 s.

    Raises:
        NotMeasured: there was no step down, or the picture did not adapt to one.
    """
    steps = steps_down(facts)
    if not steps:
        raise NotMeasured("no link of its group lost capacity in the measured time")
    return max(_adapted_s(client, step) for step in steps)


def _adapted_s(client: ClientResult, step: StepDown) -> float:
    before = Window(step.at_s - _BEFORE_S, step.at_s)
    ages = [s.age_max_ms for s in client.seconds if s.at_s in before and s.age_max_ms is not None]
    limit_ms = max(2 * median(ages), _AGE_FLOOR_MS) if ages else _AGE_FLOOR_MS
    after = [s for s in client.seconds if step.at_s < s.at_s <= step.until_s]
    begin = _first_good(after, limit_ms, step.down_kbps)
    if begin is None:
        raise NotMeasured(
            f"{client.name}'s picture did not adapt to {step.down_kbps} kbit/s "
            f"within the {step.until_s - step.at_s:.0f} s that the link had it"
        )
    return max(0.0, begin - step.at_s)


def _first_good(seconds: Sequence[Second], limit_ms: float, down_kbps: int) -> float | None:
    in_a_row = 0
    for index, second in enumerate(seconds):
        in_a_row = in_a_row + 1 if _is_good(second, limit_ms, down_kbps) else 0
        if in_a_row == _GOOD_IN_A_ROW:
            # It is told when it is over.
            return seconds[index - _GOOD_IN_A_ROW + 1].at_s - 1
    return None


def _is_good(second: Second, limit_ms: float, down_kbps: int) -> bool:
    return (
        second.pictures > 0
        and second.age_max_ms is not None
        and second.age_max_ms <= limit_ms
        and second.received_kbps <= down_kbps * _FITS
    )
