"""What `make loadtest-all` runs: each built-in scenario on the profiles that it says most about."""

from __future__ import annotations

from typing import Final

from loadtest.definition.scenario import PROFILE_OF_THE_RUN, Scenario

_MOBILE: Final = ("ideal", "wifi", "4g", "3g", "3g-slow", "wifi-congested")
_FAST: Final = ("wifi", "4g")
_ONE: Final = ("wifi",)

# A scenario that is not here runs on wifi, so that a new one is never left out.
_PROFILES: Final[dict[str, tuple[str, ...]]] = {
    "livestream": _MOBILE,
    "meeting": _FAST,
    "audio-room": ("wifi", "3g"),
    "join-storm": ("wifi", "4g"),
    "churn": ("wifi",),
    "screen-share": _FAST,
}


def profiles_for(scenario: Scenario) -> tuple[str, ...]:
    """The profiles to run it on; one, `ideal`, where no group takes the run's."""
    if all(group.profile != PROFILE_OF_THE_RUN for group in scenario.groups):
        return ("ideal",)
    return _PROFILES.get(scenario.name, _ONE)
