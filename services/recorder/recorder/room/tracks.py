"""Takes decoded frames and samples out of the SDK and gives them to the recording."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import structlog
from livekit import rtc

from recorder.media.pictures import VideoTrack, frame_of
from recorder.media.sounds import CHANNELS, SAMPLE_RATE, AudioTrack

_DEGREES: dict[Any, int] = {
    rtc.VideoRotation.VIDEO_ROTATION_0: 0,
    rtc.VideoRotation.VIDEO_ROTATION_90: 90,
    rtc.VideoRotation.VIDEO_ROTATION_180: 180,
    rtc.VideoRotation.VIDEO_ROTATION_270: 270,
}

# How many frames of the SDK wait for this program at most; then the oldest one is left out. Pictures that
# waited together get the same time, so more of them would not be shown.
_MOST_PICTURES = 8
# Five seconds: what an `AudioTrack` keeps. A frame has 10 ms.
_MOST_SOUNDS = 500

log = structlog.get_logger()


class Pumps:
    """One task per subscribed track."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def show(self, sid: str, track: rtc.Track, to: VideoTrack) -> None:
        """Give the frames of a video track to `to`."""
        self._start(sid, _show(track, to))

    def hear(self, sid: str, track: rtc.Track, to: AudioTrack) -> None:
        """Give the samples of an audio track to `to`."""
        self._start(sid, _hear(track, to))

    def stop(self, sid: str) -> bool:
        """End the task of a track; whether there was one. A stream of the SDK does not end with its track."""
        task = self._tasks.pop(sid, None)
        if task is not None:
            task.cancel()
        return task is not None

    def stop_all(self) -> None:
        """End all tasks."""
        for sid in list(self._tasks):
            self.stop(sid)

    def _start(self, sid: str, work: Coroutine[Any, Any, None]) -> None:
        self.stop(sid)
        task = self._tasks[sid] = asyncio.create_task(work)
        task.add_done_callback(_logged(sid))


def _logged(sid: str) -> Callable[[asyncio.Task[None]], None]:
    def done(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("track_failed", track_id=sid, error=repr(error))

    return done


async def _show(track: rtc.Track, to: VideoTrack) -> None:
    stream = rtc.VideoStream(track, capacity=_MOST_PICTURES, format=rtc.VideoBufferType.I420)
    try:
        async for event in stream:
            at = time.monotonic()
            frame = event.frame
            to.push(frame_of(frame.data, frame.width, frame.height), _DEGREES[event.rotation], at)
    finally:
        await stream.aclose()


async def _hear(track: rtc.Track, to: AudioTrack) -> None:
    stream = rtc.AudioStream(track, capacity=_MOST_SOUNDS, sample_rate=SAMPLE_RATE, num_channels=CHANNELS)
    try:
        async for event in stream:
            at = time.monotonic()
            to.push(np.frombuffer(event.frame.data, dtype=np.int16).reshape(-1, CHANNELS), at)
    finally:
        await stream.aclose()
