"""What is said before a run that cannot be, or whose figures would be of different things."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from loadtest.definition.profile import builtin_profiles
from loadtest.definition.scenario_file import builtin_scenarios
from loadtest.run.needs import refuse_what_is_missing
from loadtest.run.problems import CouldNotRun
from loadtest.targets.target import target_of_url

PROFILES = builtin_profiles()
SECRET = SecretStr("a-secret-of-the-tests-own-0123456789")


def refuse(scenario: str, *, viewers: str = "wifi") -> None:
    profiles = {"creator": PROFILES["wifi"], "viewers": PROFILES[viewers]}
    with target_of_url("wss://sfu.example.com", key="key", secret=SECRET) as target:
        refuse_what_is_missing(builtin_scenarios()[scenario], profiles, target)


def test_a_ramp_wants_links_that_stay_as_they_are() -> None:
    refuse("find-the-limit")
    with pytest.raises(CouldNotRun, match=r"find-the-limit ramps, .* viewers have profile rmcat-step"):
        refuse("find-the-limit", viewers="rmcat-step")


def test_without_a_ramp_links_may_change() -> None:
    refuse("livestream", viewers="rmcat-step")


@pytest.mark.parametrize(
    ("scenario", "told"),
    [
        ("node-kill", "kills the room's SFU"),
        ("fallback", "leaves nothing open but TURN"),
        ("token-storm", "loads the token API"),
        ("recording", "the bucket of wss://sfu.example.com, or a key of it, is not known"),
    ],
)
def test_what_a_foreign_server_has_not(scenario: str, told: str) -> None:
    with pytest.raises(CouldNotRun, match=told):
        refuse(scenario)


def test_a_capacity_that_no_link_has_cannot_change() -> None:
    refuse("capacity-drop")
    with pytest.raises(CouldNotRun, match="has no link to change"):
        refuse("capacity-drop", viewers="ideal")
