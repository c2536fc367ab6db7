"""What a scenario needs beyond a LiveKit server, said before anything is started. Pure functions."""

from __future__ import annotations

from loadtest.definition.profile import NetworkProfile
from loadtest.definition.scenario import PROFILE_OF_THE_RUN, ActionKind, Scenario
from loadtest.run.actions import NEEDS_LINKS
from loadtest.run.problems import CouldNotRun
from loadtest.targets.target import Target

_IDEAL = "ideal"


def needs_of(scenario: Scenario) -> str:
    """The same for people: `root, for links; our own stack, whose SFU is killed`."""
    needs = []
    kinds = {action.kind for action in scenario.actions}
    if kinds & NEEDS_LINKS or any(g.profile not in (PROFILE_OF_THE_RUN, _IDEAL) for g in scenario.groups):
        needs.append("root, for links")
    elif scenario.groups:
        needs.append(f"root, unless on {_IDEAL} by --url")
    if ActionKind.KILL_NODE in kinds:
        needs.append("a stack of ours, for its SFU is killed")
    if ActionKind.BLOCK_ALL_BUT_TURN in kinds:
        needs.append("known TURN servers")
    if scenario.api is not None:
        needs.append("a token API")
    if scenario.recording is not None:
        needs.append("a stack of ours with egress, whose bucket is read")
    return "; ".join(needs)


def refuse_what_is_missing(scenario: Scenario, profiles: dict[str, NetworkProfile], target: Target) -> None:
    """Say at once what this target has not.

    Raises:
        CouldNotRun: with the need, and what to do about it.
    """
    for group, profile in profiles.items():
        if scenario.ramp is not None and profile.steps:
            raise CouldNotRun(
                f"{scenario.name} ramps, and the links of {group} have profile {profile.name}, whose "
                "capacity changes with time: sizes would be measured on different links; "
                "give a profile without steps"
            )
    kinds = {action.kind for action in scenario.actions}
    if ActionKind.KILL_NODE in kinds and target.cluster is None:
        raise CouldNotRun(
            f"{scenario.name} kills the room's SFU, and the pods of {target.description} are out of reach; "
            "run it against a stack of this project"
        )
    if ActionKind.BLOCK_ALL_BUT_TURN in kinds and not target.turn:
        raise CouldNotRun(
            f"{scenario.name} leaves nothing open but TURN, and the TURN servers of {target.description} "
            "are not known; run it against a stack of this project"
        )
    if scenario.api is not None and target.token_endpoint is None:
        raise CouldNotRun(
            f"{scenario.name} loads the token API, and {target.description} has none; "
            "run it against a stack of this project"
        )
    if scenario.recording is not None and target.bucket is None:
        raise CouldNotRun(
            f"{scenario.name} records, and the bucket of {target.description}, or a key of it, is not known; "
            "run it against a stack of this project. For an external object store, give a key that may get "
            "and delete in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_REGION, else us-east-1)"
        )
    for action in scenario.actions:
        if action.kind is ActionKind.CAPACITY and profiles[action.group].is_ideal:
            raise CouldNotRun(
                f"{scenario.name} changes the capacity of {action.group}, and profile "
                f"{profiles[action.group].name} has no link to change; give another profile"
            )
