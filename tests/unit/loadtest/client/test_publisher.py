"""Which frames of a publisher are due: by its own clock, and only while the server takes its tracks."""

from __future__ import annotations

import asyncio
import time
from typing import cast

from livekit import rtc

from loadtest.client.publisher import Publisher
from loadtest.definition.scenario import Camera, Publish

_FPS = 20
_STARVED_SECONDS = 0.5


class _Participant:
    """The part of a room that a publisher uses: it takes a track when `takes` is set."""

    def __init__(self) -> None:
        self.takes = asyncio.Event()

    async def publish_track(self, _track: rtc.LocalTrack, _options: rtc.TrackPublishOptions) -> None:
        await self.takes.wait()


class _Room:
    def __init__(self) -> None:
        self.local_participant = _Participant()


async def test_frames_are_due_while_the_track_is_taken_whether_or_not_the_process_makes_them() -> None:
    publisher, room = Publisher(Publish(camera=Camera(width=320, height=180, fps=_FPS))), _Room()
    publishing = asyncio.create_task(publisher.run(cast("rtc.Room", room)))
    await asyncio.sleep(2 / _FPS)
    assert (publisher.frames_due, publisher.frames_captured) == (0, 0), "the server has not taken the track"
    room.local_participant.takes.set()
    await asyncio.sleep(2 / _FPS)
    captured, due = publisher.frames_captured, publisher.frames_due
    time.sleep(_STARVED_SECONDS)  # noqa: ASYNC251 - the process gets no processor for this long
    assert publisher.frames_captured == captured > 0
    assert publisher.frames_due - due >= _STARVED_SECONDS * _FPS - 1
    publishing.cancel()
    await asyncio.wait({publishing})
    left = publisher.frames_due
    await asyncio.sleep(2 / _FPS)
    assert publisher.frames_due == left, "it has left the room"
