"""What was done during a run, and when: the marks on every plot over time, and their list."""

from __future__ import annotations

from loadtest.report.svg import Moment
from loadtest.result import RunResult

# Clients note an action each for itself: what lies closer than this is one.
_SAME_S = 2.0


def moments(result: RunResult) -> tuple[Moment, ...]:
    """Actions, changes of capacity and steps of a ramp, in order and numbered."""
    found = [(one.at_s, one.action) for client in result.clients for one in client.interruptions]
    found += [
        (change.at_s, f"{change.group}: capacity {_capacity(change.down_kbps, change.up_kbps)}")
        for link in result.links
        for change in link.capacity
        if change.at_s > 0
    ]
    if result.ramp:
        grown = result.ramp.group or "requests per second"
        found += [(step.at_s, f"{grown}: {step.size}") for step in result.ramp.steps]
    merged: list[tuple[float, str]] = []
    last: dict[str, float] = {}
    for at, what in sorted(found):
        if what not in last or at - last[what] > _SAME_S:
            merged.append((at, what))
        last[what] = at
    return tuple(
        Moment(at, str(index), f"{what}, at {at:.0f} s") for index, (at, what) in enumerate(merged, 1)
    )


def _capacity(down_kbps: int | None, up_kbps: int | None) -> str:
    sides = [f"{kbps} kbit/s {way}" for way, kbps in (("down", down_kbps), ("up", up_kbps)) if kbps]
    return ", ".join(sides) or "without a limit"
