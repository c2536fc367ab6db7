"""Which part of a scenario each pod runs. Pure functions.

A room is never split: the age of a picture is read from one kernel's CLOCK_MONOTONIC, so a room's
publishers and viewers are in one pod.
"""

from __future__ import annotations

from loadtest.definition.scenario import PROFILE_OF_THE_RUN, ActionKind, ApiLoad, Group, Scenario
from loadtest.run.problems import CouldNotRun

# Pods have no privileges to make links with.
_IDEAL = "ideal"
_ALLOWED = f"inside a cluster only {_IDEAL} is allowed, for pods have no privileges to make links"
_NEEDS_PRIVILEGES = {ActionKind.BLOCK_UDP, ActionKind.BLOCK_ALL_BUT_TURN, ActionKind.CAPACITY}


def refuse_what_pods_cannot(scenario: Scenario, profile: str, pods: int) -> None:
    """Say at once what a run inside a cluster cannot do.

    Raises:
        CouldNotRun: a profile that needs a link, a search for the limit, an action that pods cannot do, or
            fewer rooms than pods.
    """
    if PROFILE_OF_THE_RUN in {group.profile for group in scenario.groups} and profile != _IDEAL:
        raise CouldNotRun(f"--profile: given {profile}; {_ALLOWED}")
    for group in scenario.groups:
        if group.profile not in (PROFILE_OF_THE_RUN, _IDEAL):
            raise CouldNotRun(
                f"{group.name}.profile: given {group.profile}; {_ALLOWED} "
                f"(`--set {group.name}.profile={_IDEAL}`)"
            )
    if scenario.ramp is not None:
        raise CouldNotRun(
            f"{scenario.name} searches for the limit: each step depends on the one before, over all clients, "
            "and pods run apart. Run it without --in-cluster, or try one size after the other"
        )
    if scenario.recording is not None:
        raise CouldNotRun(
            f"{scenario.name} records: pods cannot read the bucket. Run it without --in-cluster"
        )
    for action in scenario.actions:
        if action.kind in _NEEDS_PRIVILEGES:
            raise CouldNotRun(f"{scenario.name}: pods have no privileges for the action {action.kind.value}")
        if action.kind is ActionKind.KILL_NODE:
            raise CouldNotRun(
                f"{scenario.name}: pods may not do {action.kind.value}; run it without --in-cluster"
            )
    if scenario.groups and scenario.rooms < pods:
        raise CouldNotRun(
            f"--in-cluster: given {pods}, allowed are 1 to {scenario.rooms}: {scenario.name} has "
            f"{_rooms(scenario.rooms)}, and a room's clients are all in one pod; `--set rooms={pods}` "
            "makes more of them"
        )


def share(scenario: Scenario, pods: int, index: int) -> Scenario:
    """What pod `index` of `pods` runs: the rooms `index`, `index + pods`, … with all that is in them.

    Thresholds on the whole run stay behind, and those on a group that has nobody here.
    """
    groups = tuple(_group(group, scenario.rooms, pods, index) for group in scenario.groups)
    here = {group.name for group in groups if group.count}
    anywhere = {group.name for group in scenario.groups if group.count}
    return scenario.model_copy(
        update={
            "rooms": len(range(index, scenario.rooms, pods)) or 1,
            "groups": groups,
            "api": _api(scenario.api, pods),
            "thresholds": tuple(
                threshold
                for threshold in scenario.thresholds
                if threshold.group and (threshold.group in here or threshold.group not in anywhere)
            ),
        }
    )


def clients(scenario: Scenario, pods: int, index: int) -> dict[str, str]:
    """A pod's clients: their names within the pod, to their names in the whole run.

    Those are the names that one generator alone would have given them.
    """
    own = range(index, scenario.rooms, pods)
    return {
        f"{group.name}-{local + 1}": f"{group.name}-{_number(local, own, scenario.rooms)}"
        for group in share(scenario, pods, index).groups
        for local in range(group.count)
    }


def _number(local: int, own: range, rooms: int) -> int:
    """The `local`-th client sits in one of the pod's rooms, after so many others of its group."""
    room, before = own[local % len(own)], local // len(own)
    return room + before * rooms + 1


def _group(group: Group, rooms: int, pods: int, index: int) -> Group:
    count = sum(len(range(room, group.count, rooms)) for room in range(index, rooms, pods))
    arrival = group.arrival
    if arrival.per_s is not None and group.count:
        # All together they come as fast as the whole group should.
        arrival = arrival.model_copy(update={"per_s": arrival.per_s * count / group.count or None})
    return group.model_copy(update={"count": count, "arrival": arrival})


def _api(api: ApiLoad | None, pods: int) -> ApiLoad | None:
    return None if api is None else api.model_copy(update={"per_s": api.per_s / pods})


def _rooms(count: int) -> str:
    return "one room" if count == 1 else f"{count} rooms"
