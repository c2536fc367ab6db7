"""Who is in a run: each client's name, room, profile, and when it comes. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from loadtest.definition.profile import NetworkProfile
from loadtest.definition.scenario import PROFILE_OF_THE_RUN, Arrival, Group, Scenario


@dataclass(frozen=True)
class PlannedClient:
    """One client before it runs.

    Attributes:
        number: within its group, from 1.
        due_s: when it asks to join, in seconds since the first client may.
    """

    name: str
    number: int
    group: Group
    room: str
    profile: NetworkProfile
    due_s: float


def room_names(run_id: str, count: int) -> tuple[str, ...]:
    """The run's rooms. Whoever finds one knows by its name that a load test made it."""
    return tuple(f"load_{run_id}_{number}" for number in range(1, count + 1))


def hello_room(run_id: str) -> str:
    """A room for asking the server what it is: no client is to find its own made already."""
    return f"load_{run_id}_0"


def due_times(arrival: Arrival, count: int) -> tuple[float, ...]:
    """When each of `count` clients is due, in seconds: at once, or evenly spread at the arrival's rate."""
    gap = 1 / arrival.per_s if arrival.per_s else 0.0
    return tuple(arrival.after_s + gap * index for index in range(count))


def plan_group(
    group: Group, profile: NetworkProfile, rooms: Sequence[str], *, first: int = 1
) -> tuple[PlannedClient, ...]:
    """The clients of a group, spread over the rooms round robin.

    Args:
        first: number of the first; a ramp adds clients after those that are there.
    """
    return tuple(
        PlannedClient(
            name=f"{group.name}-{first + index}",
            number=first + index,
            group=group,
            room=rooms[(first - 1 + index) % len(rooms)],
            profile=profile,
            due_s=due,
        )
        for index, due in enumerate(due_times(group.arrival, group.count))
    )


def profiles_of(
    groups: Iterable[Group], of_the_run: NetworkProfile, load: Callable[[str], NetworkProfile]
) -> dict[str, NetworkProfile]:
    """The profile of each group, by the group's name.

    Args:
        load: `load_profile`.

    Raises:
        UnusableProfile: a group names one that is not there.
    """
    return {
        group.name: of_the_run if group.profile == PROFILE_OF_THE_RUN else load(group.profile)
        for group in groups
    }


def starting_groups(scenario: Scenario) -> tuple[Group, ...]:
    """The groups as they begin: one that ramps has its first size."""
    ramp = scenario.ramp
    if ramp is None:
        return scenario.groups
    return tuple(
        group.model_copy(update={"count": ramp.start}) if group.name == ramp.group else group
        for group in scenario.groups
    )
