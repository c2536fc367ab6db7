"""Shares of a scenario: every client once, in the room that it would have had, and what pods cannot do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.definition.profile import load_profile
from loadtest.definition.scenario import (
    Action,
    ActionKind,
    ApiLoad,
    Arrival,
    Camera,
    Group,
    Metric,
    Publish,
    Ramp,
    RunMetric,
    Scenario,
    Threshold,
)
from loadtest.job.shares import clients, refuse_what_pods_cannot, share
from loadtest.run.plan import plan_group, room_names
from loadtest.run.problems import CouldNotRun


def scenario(*, rooms: int = 4, creators: int = 4, viewers: int = 8, **more: Any) -> Scenario:
    groups = (
        Group(name="creator", count=creators, publish=Publish(camera=Camera())),
        Group(name="viewers", count=viewers, subscribe=True),
    )
    given = {"groups": groups, "thresholds": (), "duration_s": 10, **more}
    return Scenario(name="sample", title="a sample", rooms=rooms, **given)


def planned(of: Scenario, run_id: str) -> dict[str, str]:
    """Each client's room, as the engine gives it."""
    rooms, profile = room_names(run_id, of.rooms), load_profile("ideal")
    return {client.name: client.room for group in of.groups for client in plan_group(group, profile, rooms)}


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 30), st.integers(0, 30))
def test_each_client_is_in_one_pod_and_has_the_room_mates_that_it_would_have_had(
    rooms: int, pods: int, creators: int, viewers: int
) -> None:
    pods = min(pods, rooms)
    whole = scenario(rooms=rooms, creators=creators, viewers=viewers)
    shared: dict[str, str] = {}
    for index in range(pods):
        names = clients(whole, pods, index)
        own = planned(share(whole, pods, index), f"p{index}")
        assert own.keys() == names.keys()
        shared |= {names[local]: room for local, room in own.items()}
    together = planned(whole, "all")
    assert shared.keys() == together.keys()
    pairs = {(together[name], shared[name]) for name in together}
    assert len(pairs) == len(set(together.values())) == len(set(shared.values()))


def test_a_group_arrives_together_as_fast_as_it_should() -> None:
    group = Group(name="viewers", count=9, subscribe=True, arrival=Arrival(after_s=2, per_s=3))
    shares = [share(scenario(rooms=3, groups=(group,)), 2, index).groups[0] for index in (0, 1)]
    assert [each.count for each in shares] == [6, 3]
    assert [each.arrival.per_s for each in shares] == [pytest.approx(2), pytest.approx(1)]
    assert [each.arrival.after_s for each in shares] == [2, 2]


def test_requests_to_the_api_are_shared_too() -> None:
    whole = scenario(api=ApiLoad(per_s=100, duration_s=10))
    rates = [load.per_s for index in range(4) if (load := share(whole, 4, index).api) is not None]
    assert rates == [25] * 4


def test_a_pod_judges_the_clients_that_it_has_and_not_the_whole_run() -> None:
    joins = Threshold(metric=Metric.JOIN_MS, group="viewers", max=5000)
    pictures = Threshold(metric=Metric.PICTURES, group="late", min=1)
    api = Threshold(metric=RunMetric.API_P99_MS, max=100)
    whole = scenario(
        rooms=2,
        groups=(
            Group(name="viewers", count=1, subscribe=True),
            Group(name="late", count=0, subscribe=True),
        ),
        thresholds=(joins, pictures, api),
    )
    # Nobody of `late` is anywhere: that has to be told, so each pod says so.
    assert share(whole, 2, 0).thresholds == (joins, pictures)
    assert share(whole, 2, 1).thresholds == (pictures,)


@pytest.mark.parametrize(
    ("changed", "profile", "pods", "sentence"),
    [
        ({}, "4g", 2, "--profile: given 4g; inside a cluster only ideal is allowed"),
        ({"rooms": 1}, "ideal", 2, "given 2, allowed are 1 to 1: sample has one room"),
        ({"rooms": 3}, "ideal", 4, "given 4, allowed are 1 to 3.*`--set rooms=4`"),
        ({"ramp": Ramp(group="viewers", start=1, step=1, most=3, hold_s=5)}, "ideal", 2, "searches for the"),
        (
            {"actions": (Action(at_s=1, kind=ActionKind.BLOCK_UDP, group="viewers"),)},
            "ideal",
            2,
            "no privileges for the action block-udp",
        ),
        (
            {"actions": (Action(at_s=1, kind=ActionKind.KILL_NODE, group="viewers"),)},
            "ideal",
            2,
            "may not do kill-node",
        ),
        (
            {"groups": (Group(name="v", count=1, profile="wifi"),)},
            "ideal",
            1,
            r"v\.profile: given wifi.*--set v\.profile=ideal",
        ),
    ],
)
def test_what_pods_cannot_do_is_refused_in_a_sentence(
    changed: dict[str, Any], profile: str, pods: int, sentence: str
) -> None:
    with pytest.raises(CouldNotRun, match=sentence):
        refuse_what_pods_cannot(scenario(**changed), profile, pods)


def test_what_they_can_is_not() -> None:
    action = Action(at_s=1, kind=ActionKind.RECONNECT_FULL, group="viewers")
    refuse_what_pods_cannot(scenario(actions=(action,)), "ideal", 4)
    refuse_what_pods_cannot(scenario(groups=(), api=ApiLoad(per_s=9, duration_s=9)), "ideal", 4)
