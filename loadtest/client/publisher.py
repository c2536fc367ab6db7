"""Publishes marked video and marked audio, paced by an absolute clock."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import numpy.typing as npt
from livekit import rtc

from loadtest.client.pace import ticks
from loadtest.client.protocol import Publish
from loadtest.marker.audio import SAMPLE_RATE, tone_samples
from loadtest.marker.video import FRAME_MODULUS, TIME_MODULUS, Stamp, paint

_AUDIO_FRAME_SECONDS = 0.02
# The source's own queue is latency; two frames ride out a late wake-up on a busy machine.
_AUDIO_QUEUE_MS = 100


class Publisher:
    """One client's outgoing media. `run` goes on until it is cancelled."""

    def __init__(self, wanted: Publish) -> None:
        self._wanted = wanted
        self.frames_captured = 0

    async def run(self, room: rtc.Room) -> None:
        """Publish both tracks and feed them.

        Raises:
            Exception: the SDK's own, where a track cannot be published.
        """
        video = rtc.VideoSource(self._wanted.width, self._wanted.height)
        audio = rtc.AudioSource(SAMPLE_RATE, 1, queue_size_ms=_AUDIO_QUEUE_MS)
        await room.local_participant.publish_track(
            rtc.LocalVideoTrack.create_video_track("marked-video", video),
            rtc.TrackPublishOptions(
                source=rtc.TrackSource.SOURCE_CAMERA,
                simulcast=self._wanted.simulcast,
                video_codec=rtc.VideoCodec.VP8,
            ),
        )
        await room.local_participant.publish_track(
            rtc.LocalAudioTrack.create_audio_track("marked-audio", audio),
            # Discontinuous transmission may take steady tones for background noise.
            rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False),
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._feed_video(video))
            tasks.create_task(self._feed_audio(audio))

    async def _feed_video(self, source: rtc.VideoSource) -> None:
        width, height = self._wanted.width, self._wanted.height
        scenery = _scenery(width, height)
        picture = np.full(width * height * 3 // 2, 128, dtype=np.uint8)  # I420; grey chroma
        luma = picture[: width * height].reshape(height, width)
        async for tick in ticks(1 / self._wanted.fps):
            luma[:] = scenery[:, tick % width : tick % width + width]
            now_ms = time.monotonic_ns() // 1_000_000
            paint(luma, Stamp(now_ms % TIME_MODULUS, self.frames_captured % FRAME_MODULUS))
            source.capture_frame(rtc.VideoFrame(width, height, rtc.VideoBufferType.I420, bytearray(picture)))
            self.frames_captured += 1

    async def _feed_audio(self, source: rtc.AudioSource) -> None:
        count = int(SAMPLE_RATE * _AUDIO_FRAME_SECONDS)
        position = 0
        async for _ in ticks(_AUDIO_FRAME_SECONDS):
            samples = bytearray(tone_samples(position, count))
            await source.capture_frame(rtc.AudioFrame(samples, SAMPLE_RATE, 1, count))
            position += count


def _scenery(width: int, height: int) -> npt.NDArray[np.uint8]:
    """Luma twice as wide as the picture, to pan over: stripes and a slope, so that encoders have work."""
    across = np.arange(2 * width) % width
    down = np.arange(height)[:, np.newaxis]
    waves = 40 * np.sin(2 * np.pi * 8 * across / width) + 30 * np.sin(2 * np.pi * 3 * down / height)
    scenery: npt.NDArray[np.uint8] = (118 + waves).astype(np.uint8)
    return scenery
