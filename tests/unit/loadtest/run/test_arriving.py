"""What media a client waits for, and until when."""

from __future__ import annotations

import pytest

from loadtest.definition.profile import NetworkProfile
from loadtest.definition.scenario import Camera, Group, Publish
from loadtest.run.arriving import Wanted, wanted_media
from loadtest.run.joining import is_over
from loadtest.run.plan import PlannedClient

IDEAL = NetworkProfile(name="ideal", title="nothing")
CREATOR = Group(name="creator", count=1, publish=Publish(camera=Camera(), microphone=True))
SPEAKER = Group(name="speaker", count=1, publish=Publish(microphone=True), subscribe=True)
PRESENTER = Group(name="presenter", count=1, publish=Publish(screen=Camera()))
VIEWER = Group(name="viewer", count=1, subscribe=True)


def client(group: Group, *, due_s: float = 0, room: str = "a", number: int = 1) -> PlannedClient:
    return PlannedClient(f"{group.name}-{number}", number, group, room, IDEAL, due_s)


@pytest.mark.parametrize(
    ("me", "others", "expected"),
    [
        (client(VIEWER), [client(CREATOR)], Wanted(video=True, audio=True, by_s=30)),
        (client(VIEWER), [client(PRESENTER)], Wanted(video=True, audio=False, by_s=30)),
        (client(VIEWER), [client(SPEAKER)], Wanted(video=False, audio=True, by_s=30)),
        # Nobody there, another room, itself, and who does not watch: nothing to wait for.
        (client(VIEWER), [], Wanted(video=False, audio=False, by_s=30)),
        (client(VIEWER), [client(CREATOR, room="b")], Wanted(video=False, audio=False, by_s=30)),
        (client(SPEAKER), [client(SPEAKER)], Wanted(video=False, audio=False, by_s=30)),
        (client(CREATOR), [client(SPEAKER)], Wanted(video=False, audio=False, by_s=30)),
        # Its time begins when both are due.
        (client(VIEWER, due_s=4), [client(CREATOR)], Wanted(video=True, audio=True, by_s=34)),
        (client(VIEWER), [client(CREATOR, due_s=9)], Wanted(video=True, audio=True, by_s=39)),
    ],
)
def test_what_a_client_waits_for(me: PlannedClient, others: list[PlannedClient], expected: Wanted) -> None:
    assert wanted_media(me, [me, *others], first_media_s=30) == expected


@pytest.mark.parametrize(
    ("joined_s", "stay_s", "now_s", "expected"),
    [
        (10.0, 6.0, 15.9, False),
        (10.0, 6.0, 16.0, True),
        (10.0, None, 1000.0, False),
        (None, 6.0, 1000.0, False),  # it is not in its room: nothing to leave
    ],
)
def test_when_a_stay_is_over(
    joined_s: float | None, stay_s: float | None, now_s: float, *, expected: bool
) -> None:
    assert is_over(joined_s, stay_s, now_s) is expected
