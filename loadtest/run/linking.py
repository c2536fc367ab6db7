"""What a group's links turned out to be, from their statistics. Pure, but for asking them."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.definition.profile import NetworkProfile
from loadtest.net.calibration import Calibration
from loadtest.net.link import LinkGroup
from loadtest.result import CapacityChange, LinkResult
from loadtest.run.clock import RunClock


def capacity_changes(group: str, links: Sequence[LinkGroup], clock: RunClock) -> tuple[CapacityChange, ...]:
    """The changes of a group's capacity; a ramp's later links change as its first ones do."""
    changes = links[0].changes if links else ()
    return tuple(
        CapacityChange(
            at_s=clock.at_s(change.at_ns / 1e6),
            group=group,
            down_kbps=change.down_kbps,
            up_kbps=change.up_kbps,
        )
        for change in changes
    )


def link_result(
    group: str,
    profile: NetworkProfile,
    links: Sequence[LinkGroup],
    calibration: Calibration | None,
    clock: RunClock,
) -> LinkResult:
    """One result for all links of a group: sums, the latest emulator's lateness, and the first fault."""
    found = [each.statistics() for each in links]
    emulators = [each.emulator for each in found if each.emulator is not None]
    backend = found[0].backend if found else None
    return LinkResult(
        group=group,
        profile=profile,
        backend=backend.value if backend else "none",
        calibration=calibration,
        fault=next((each.fault for each in links if each.fault), ""),
        lateness_p50_ms=max((each.lateness_p50_ms for each in emulators), default=None),
        lateness_p99_ms=max((each.lateness_p99_ms for each in emulators), default=None),
        dropped_by_loss=sum(each.lost_down + each.lost_up for each in found),
        dropped_by_queue=sum(each.overflowed_down + each.overflowed_up for each in found),
        capacity=capacity_changes(group, links, clock),
    )
