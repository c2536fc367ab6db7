"""Takes the tracks of a room apart: when each picture was captured, which tones were heard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np
from livekit import rtc

from loadtest.client.pace import ticks
from loadtest.client.protocol import (
    AudioReceived,
    FirstAudio,
    FirstVideo,
    FrameSample,
    Subscribe,
    VideoReceived,
)
from loadtest.marker.audio import SAMPLE_RATE, ToneListener
from loadtest.marker.video import FRAME_MODULUS, elapsed_ms, read


class Subscriber:
    """One client's incoming media.

    Make it before the room is joined: the first tracks may come together with the join.
    """

    def __init__(
        self, wanted: Subscribe, room: rtc.Room, tell: Callable[[FirstVideo | FirstAudio], None]
    ) -> None:
        self._wanted = wanted
        self._tell = tell
        self._started_ms = now_ms()
        self._video: list[_VideoTrack] = []
        self._audio: list[_AudioTrack] = []
        self._arrived: asyncio.Queue[tuple[rtc.Track, str]] = asyncio.Queue()

        def subscribed(
            track: rtc.Track, _publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
        ) -> None:
            self._arrived.put_nowait((track, participant.identity))

        room.on("track_subscribed", subscribed)

    async def run(self) -> None:
        """Take in every track of the room, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                track, publisher = await self._arrived.get()
                if track.kind == rtc.TrackKind.KIND_VIDEO:
                    video = _VideoTrack(publisher)
                    self._video.append(video)
                    tasks.create_task(self._watch(track, video))
                    tasks.create_task(video.note_ages(1 / self._wanted.fps))
                else:
                    audio = _AudioTrack(publisher)
                    self._audio.append(audio)
                    tasks.create_task(self._listen(track, audio))

    def received(self) -> tuple[tuple[VideoReceived, ...], tuple[AudioReceived, ...]]:
        """What has come so far, per track."""
        return (
            tuple(video.received() for video in self._video),
            tuple(
                AudioReceived(publisher=audio.publisher, tally=audio.listener.tally) for audio in self._audio
            ),
        )

    async def _watch(self, track: rtc.Track, video: _VideoTrack) -> None:
        # One slot: a frame that waited in a queue would count the wait as the network's latency.
        stream = rtc.VideoStream(track, capacity=1, format=rtc.VideoBufferType.I420)
        try:
            async for event in stream:
                first = not video.frames
                video.take(event.frame)
                if first and video.frames:
                    self._tell(FirstVideo(publisher=video.publisher, since_start_ms=self._since_start()))
        finally:
            await stream.aclose()

    async def _listen(self, track: rtc.Track, audio: _AudioTrack) -> None:
        stream = rtc.AudioStream(track, sample_rate=SAMPLE_RATE, num_channels=1)
        try:
            async for event in stream:
                first = audio.listener.tally.steps_in_order == 0
                audio.listener.hear(np.frombuffer(event.frame.data, dtype=np.int16))
                if first and audio.listener.tally.steps_in_order:
                    self._tell(FirstAudio(publisher=audio.publisher, since_start_ms=self._since_start()))
        finally:
            await stream.aclose()

    def _since_start(self) -> float:
        return now_ms() - self._started_ms


class _AudioTrack:
    def __init__(self, publisher: str) -> None:
        self.publisher = publisher
        self.listener = ToneListener()


class _VideoTrack:
    def __init__(self, publisher: str) -> None:
        self.publisher = publisher
        self.frames: list[FrameSample] = []
        self._unreadable = 0
        self._ages_ms: list[float] = []

    def take(self, frame: rtc.VideoFrame) -> None:
        received_ms = now_ms()
        size = frame.width * frame.height
        luma = np.frombuffer(frame.data, dtype=np.uint8, count=size).reshape(frame.height, frame.width)
        stamp = read(luma)
        if stamp is None:
            self._unreadable += 1
            return
        last = self.frames[-1].frame if self.frames else stamp.frame
        # The counter's low 16 bits came; frames come in order, so the rest follows from the last one.
        number = last + (stamp.frame - last) % FRAME_MODULUS
        self.frames.append(
            FrameSample(
                received_ms=received_ms,
                latency_ms=elapsed_ms(stamp.time_ms, received_ms),
                frame=number,
                width=frame.width,
                height=frame.height,
            )
        )

    async def note_ages(self, period: float) -> None:
        """At every tick, note how old the newest frame is."""
        async for _ in ticks(period):
            if self.frames:
                newest = self.frames[-1]
                self._ages_ms.append(now_ms() - newest.received_ms + newest.latency_ms)

    def received(self) -> VideoReceived:
        return VideoReceived(
            publisher=self.publisher,
            frames=tuple(self.frames),
            unreadable=self._unreadable,
            ages_ms=tuple(self._ages_ms),
        )


def now_ms() -> float:
    """CLOCK_MONOTONIC, which all processes of one machine share, in ms."""
    return time.monotonic_ns() / 1e6
