"""When each client has arrived: what media it waits for, and until when. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from loadtest.run.plan import PlannedClient


@dataclass(frozen=True)
class Wanted:
    """The media that a client is there to take in.

    Attributes:
        by_s: when it has missed them, in seconds since the first client might join.
    """

    video: bool
    audio: bool
    by_s: float


def wanted_media(client: PlannedClient, others: Iterable[PlannedClient], first_media_s: float) -> Wanted:
    """What its room has for it: a client is only told to wait for what somebody publishes.

    Its time begins when it is due, and when whom it is to see is due.

    Args:
        others: everyone in the run; itself among them is left out.
    """
    publishers = [
        other
        for other in others
        if other.room == client.room
        and other.name != client.name
        and other.group.publish is not None
        and client.group.subscribe
    ]
    published = [other.group.publish for other in publishers if other.group.publish is not None]
    return Wanted(
        video=any(publish.camera or publish.screen for publish in published),
        audio=any(publish.microphone for publish in published),
        by_s=max([client.due_s, *(other.due_s for other in publishers)]) + first_media_s,
    )
