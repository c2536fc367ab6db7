"""Participants by LiveKit's own SDK, in a real room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from livekit import rtc

from common.waiting import wait_until
from tests.support.speed import scaled

_CONNECT_SECONDS = 20.0
# A server that allows a track answers within milliseconds.
_REFUSAL_SECONDS = 5.0


class Client:
    """One participant. `refreshed` is the last token that the server sent it to come back by."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.room = rtc.Room()
        self.left = asyncio.Event()
        self.reason: int | None = None
        self.refreshed: str | None = None
        self.data: list[rtc.DataPacket] = []
        self.room.on("disconnected", self._disconnected)
        self.room.on("token_refreshed", self._refreshed)
        self.room.on("data_received", self.data.append)

    def _disconnected(self, reason: int) -> None:
        self.reason = reason
        self.left.set()

    def _refreshed(self) -> None:
        # The SDK keeps it to itself, to come back by.
        self.refreshed = self.room._token

    async def join(self, token: str) -> None:
        """Come in. Raises rtc.ConnectError where the server refuses."""
        self.left.clear()
        async with asyncio.timeout(scaled(_CONNECT_SECONDS)):
            await self.room.connect(self._url, token, rtc.RoomOptions(auto_subscribe=False))

    async def publish_microphone(self) -> rtc.LocalTrackPublication:
        """Publish a silent microphone."""
        track = rtc.LocalAudioTrack.create_audio_track("microphone", rtc.AudioSource(48000, 1))
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        async with asyncio.timeout(scaled(_CONNECT_SECONDS)):
            return await self.room.local_participant.publish_track(track, options)

    async def publish_screen(self) -> rtc.LocalTrackPublication:
        """Publish a black screen. Raises PublishTrackError or TimeoutError where the server refuses."""
        track = rtc.LocalVideoTrack.create_video_track("screen", rtc.VideoSource(320, 180))
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_SCREENSHARE)
        async with asyncio.timeout(scaled(_REFUSAL_SECONDS)):
            return await self.room.local_participant.publish_track(track, options)

    async def put_out(self, *, within: float) -> float:
        """Wait until the server removes it; returns the seconds. `within`: on the reference machine."""
        begun = time.monotonic()
        async with asyncio.timeout(scaled(within)):
            await self.left.wait()
        return time.monotonic() - begun


@asynccontextmanager
async def client(url: str, token: str) -> AsyncIterator[Client]:
    """A participant that is in for the block, unless it is put out."""
    made = Client(url)
    await made.join(token)
    try:
        yield made
    finally:
        await made.room.disconnect()


async def eventually(probe: Callable[[], object], describe: str, *, within: float = 20) -> None:
    """`wait_until` for a test whose clients receive events meanwhile. `within`: on the reference machine."""
    await asyncio.to_thread(wait_until, probe, timeout=scaled(within), describe=describe, interval=0.1)


async def comes_back_for_a_moment(
    url: str, token: str, is_out: Callable[[], object], *, within: float = 3.0
) -> None:
    """Have somebody come back by a token that LiveKit lets in, and see that they are put out again.

    Args:
        is_out: whether the service has them as gone; asked where they were put out too soon to notice it.
        within: seconds, from LiveKit's event or the watch to the way out.
    """
    again = Client(url)
    try:
        await again.join(token)
        await again.put_out(within=within)
    except rtc.ConnectError:
        # Put out before the SDK had come in all the way.
        await eventually(is_out, "them to be out", within=within)
    finally:
        await again.room.disconnect()
