"""What an emulator is told of a group, and what a group refuses; the rest is in tests/network."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from common.processes import Process
from common.waiting import wait_until
from loadtest.definition.profile import Step, load_profile
from loadtest.net.bridge import ClientName
from loadtest.net.link import LinkDied, LinkGroup, emulator_config
from loadtest.run.clock import RunClock
from loadtest.run.linking import link_result
from tests.support.speed import scaled

NAMES = [ClientName(Process(7, 8), IPv4Address(f"10.99.0.{last}")) for last in (130, 131)]


def test_each_client_has_a_lane_per_direction_by_the_device_where_its_packets_come_in() -> None:
    profile = load_profile("4g")
    lanes = emulator_config(NAMES, profile, 5).lanes
    # What goes down comes in from the bridge.
    assert [(lane.device, lane.direction) for lane in lanes] == [
        ("up0a630082", profile.down),
        ("dn0a630082", profile.up),
        ("up0a630083", profile.down),
        ("dn0a630083", profile.up),
    ]


def test_no_two_lanes_have_the_same_luck_and_the_seed_decides_it() -> None:
    def seeds(seed: int) -> list[str]:
        return [lane.seed for lane in emulator_config(NAMES, load_profile("4g"), seed).lanes]

    assert seeds(5) == seeds(5)
    assert len({*seeds(5), *seeds(6)}) == 8


def test_an_ideal_link_has_no_capacity_to_change() -> None:
    group = LinkGroup(load_profile("ideal"), [], None, None, None)
    with pytest.raises(ValueError, match="`ideal`, which has no link to change"):
        group.set_capacity(down_kbps=100)
    group.assert_alive()
    assert group.statistics().lost_down == 0


def test_a_step_that_the_kernel_refuses_is_a_fault_of_the_groups_result() -> None:
    """On the ideal profile there is no link to change, so its step fails."""
    profile = load_profile("ideal").model_copy(update={"steps": (Step(at_s=0.01, down_kbps=300),)})
    group = LinkGroup(profile, [], None, None, None)
    assert group.fault == ""
    group.start_clock()
    wait_until(lambda: group.fault, timeout=scaled(10), describe="the step to fail", interval=0.01)
    sound = LinkGroup(profile, [], None, None, None)
    found = link_result("viewers", profile, [sound, group], None, RunClock())
    assert found.fault.startswith("a step of profile ideal failed: the profile is `ideal`")
    with pytest.raises(LinkDied, match="a step of profile ideal failed"):
        group.assert_alive()
    group.close()


def test_a_clock_starts_once() -> None:
    group = LinkGroup(load_profile("ideal"), [], None, None, None)
    group.start_clock()
    with pytest.raises(RuntimeError, match="started before"):
        group.start_clock()
    group.close()
