"""Takes the tracks of a room apart: when each picture was captured, which tones were heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import numpy as np
from livekit import rtc

from loadtest.client.hearing import HeardTrack
from loadtest.client.protocol import FirstAudio, FirstVideo
from loadtest.client.samples import AudioSecond, VideoSecond, VideoSource, now_ms
from loadtest.client.seeing import SeenTrack
from loadtest.marker.audio import SAMPLE_RATE

_SOURCES: Final[dict[int, VideoSource]] = {rtc.TrackSource.SOURCE_SCREENSHARE: "screen"}


class Subscriber:
    """One client's incoming media, in one room after another.

    A publisher's camera is one track for all that time, whatever the room, connection or subscription
    that it comes by: its pictures are numbered through.
    """

    def __init__(self, tell: Callable[[FirstVideo | FirstAudio], None]) -> None:
        self._tell = tell
        self._started_ms = 0.0
        self._seen: dict[tuple[str, VideoSource], SeenTrack] = {}
        self._heard: dict[str, HeardTrack] = {}
        self._told: set[object] = set()
        self._arrived: asyncio.Queue[tuple[rtc.Track, str, VideoSource]] = asyncio.Queue()
        self._watching: dict[str, asyncio.Task[None]] = {}

    def attach(self, room: rtc.Room) -> None:
        """Take what this room has. To be called before it is joined: the first tracks may come with the
        join's answer."""
        self._started_ms = now_ms()
        self._told.clear()
        self._arrived = asyncio.Queue()

        def subscribed(
            track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
        ) -> None:
            source = _SOURCES.get(publication.source, "camera")
            self._arrived.put_nowait((track, participant.identity, source))

        def unsubscribed(track: rtc.Track, *_: object) -> None:
            # A stream of the SDK does not end with its track.
            if task := self._watching.pop(track.sid, None):
                task.cancel()

        room.on("track_subscribed", subscribed)
        room.on("track_unsubscribed", unsubscribed)

    async def run(self) -> None:
        """Take in every track of the room, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                track, publisher, source = await self._arrived.get()
                work = (
                    self._watch(track, publisher, source)
                    if track.kind == rtc.TrackKind.KIND_VIDEO
                    else self._listen(track, publisher)
                )
                self._replace(track.sid, tasks, work)

    def take_second(self) -> tuple[tuple[VideoSecond, ...], tuple[AudioSecond, ...]]:
        """What has come since the last call, per track."""
        return (
            tuple(track.take_second() for track in self._seen.values()),
            tuple(track.take_second() for track in self._heard.values()),
        )

    def _replace(self, sid: str, tasks: asyncio.TaskGroup, work: Coroutine[Any, Any, None]) -> None:
        if before := self._watching.pop(sid, None):
            before.cancel()
        self._watching[sid] = tasks.create_task(work)

    async def _watch(self, track: rtc.Track, publisher: str, source: VideoSource) -> None:
        seen = self._seen.setdefault((publisher, source), SeenTrack(publisher, source))
        # One slot: a frame that waited in a queue would count the wait as the network's latency.
        stream = rtc.VideoStream(track, capacity=1, format=rtc.VideoBufferType.I420)
        try:
            async for event in stream:
                received_ms = now_ms()
                frame = event.frame
                pixels = np.frombuffer(frame.data, dtype=np.uint8, count=frame.width * frame.height)
                luma = pixels.reshape(frame.height, frame.width)
                stamped_us = event.metadata.user_timestamp if event.metadata else 0
                if seen.take(luma, received_ms, stamped_us or None) and self._is_first((publisher, source)):
                    since_ms = received_ms - self._started_ms
                    self._tell(
                        FirstVideo(
                            publisher=publisher, source=source, at_ms=received_ms, since_start_ms=since_ms
                        )
                    )
        finally:
            await stream.aclose()

    async def _listen(self, track: rtc.Track, publisher: str) -> None:
        heard = self._heard.setdefault(publisher, HeardTrack(publisher))
        heard.restart()
        stream = rtc.AudioStream(track, sample_rate=SAMPLE_RATE, num_channels=1)
        try:
            async for event in stream:
                received_ms = now_ms()
                samples = np.frombuffer(event.frame.data, dtype=np.int16)
                if heard.take(samples, received_ms) and self._is_first(publisher):
                    since_ms = received_ms - self._started_ms
                    self._tell(FirstAudio(publisher=publisher, at_ms=received_ms, since_start_ms=since_ms))
        finally:
            await stream.aclose()

    def _is_first(self, track: object) -> bool:
        """Whether nothing of this track was told in this session."""
        is_first = track not in self._told
        self._told.add(track)
        return is_first
