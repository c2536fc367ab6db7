"""Who is in a run: names, rooms, profiles and times, from the scenario alone."""

from __future__ import annotations

import pytest

from loadtest.definition.profile import NetworkProfile
from loadtest.definition.scenario import Arrival, Camera, Group, Publish, Ramp, Scenario
from loadtest.run.plan import due_times, plan_group, profiles_of, room_names, starting_groups

IDEAL = NetworkProfile(name="ideal", title="nothing")
SLOW = NetworkProfile(name="slow", title="slow")
CREATOR = Group(name="creator", count=2, profile="slow", publish=Publish(camera=Camera()))
VIEWERS = Group(name="viewers", count=5, subscribe=True, arrival=Arrival(after_s=2, per_s=4))


@pytest.mark.parametrize(
    ("arrival", "count", "expected"),
    [
        (Arrival(), 3, (0, 0, 0)),
        (Arrival(after_s=1.5), 2, (1.5, 1.5)),
        (Arrival(after_s=2, per_s=4), 3, (2, 2.25, 2.5)),
        (Arrival(), 0, ()),
    ],
)
def test_due_times_do_not_depend_on_one_another(
    arrival: Arrival, count: int, expected: tuple[float, ...]
) -> None:
    assert due_times(arrival, count) == expected


def test_the_first_clients_of_all_groups_share_the_first_room() -> None:
    rooms = room_names("abc", 2)
    creators = plan_group(CREATOR, SLOW, rooms)
    viewers = plan_group(VIEWERS, IDEAL, rooms)
    assert rooms == ("load_abc_1", "load_abc_2")
    assert [(client.name, client.room) for client in creators] == [
        ("creator-1", "load_abc_1"),
        ("creator-2", "load_abc_2"),
    ]
    assert [client.room for client in viewers] == [rooms[0], rooms[1], rooms[0], rooms[1], rooms[0]]


def test_clients_that_a_ramp_adds_go_on_counting() -> None:
    rooms = room_names("abc", 2)
    added = plan_group(VIEWERS.model_copy(update={"count": 2}), IDEAL, rooms, first=4)
    assert [(client.name, client.room) for client in added] == [
        ("viewers-4", rooms[1]),
        ("viewers-5", rooms[0]),
    ]


def test_groups_have_their_own_profile_or_the_one_of_the_run() -> None:
    assert profiles_of([CREATOR, VIEWERS], IDEAL, {"slow": SLOW}.__getitem__) == {
        "creator": SLOW,
        "viewers": IDEAL,
    }


def test_a_group_that_ramps_begins_with_its_first_size() -> None:
    scenario = Scenario(
        name="x",
        title="x",
        duration_s=1,
        groups=(CREATOR, VIEWERS),
        ramp=Ramp(group="viewers", start=1, step=1, most=3, hold_s=1),
        thresholds=(),
    )
    assert [group.count for group in starting_groups(scenario)] == [2, 1]
