"""Publishes marked video and marked audio, paced by an absolute clock."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import numpy as np
from livekit import rtc

from loadtest.client.bitrates import makes_simulcast, usual_kbps
from loadtest.client.pace import ticks
from loadtest.client.picture import Scenery, Text
from loadtest.client.samples import VideoSource
from loadtest.definition.scenario import Camera, Publish
from loadtest.marker.audio import SAMPLE_RATE, tone_samples
from loadtest.marker.video import FRAME_MODULUS, TIME_MODULUS, Stamp, paint

_AUDIO_FRAME_SECONDS = 0.02
# A process that gets the processor when it wakes is late by a millisecond or two.
_LATE_SECONDS: Final = 0.03
# The source's own queue is latency; two frames ride out a late wake-up on a busy machine.
_AUDIO_QUEUE_MS = 100

_CODECS: Final = {"vp8": rtc.VideoCodec.VP8, "h264": rtc.VideoCodec.H264}
_SOURCES: Final = {"camera": rtc.TrackSource.SOURCE_CAMERA, "screen": rtc.TrackSource.SOURCE_SCREENSHARE}


class Publisher:
    """One client's outgoing media, in one room after another. Pictures are numbered through."""

    def __init__(self, wanted: Publish) -> None:
        wanted_video: tuple[tuple[VideoSource, Camera | None], ...] = (
            ("camera", wanted.camera),
            ("screen", wanted.screen),
        )
        self._video = [_VideoFeed(source, camera) for source, camera in wanted_video if camera]
        self._microphone = wanted.microphone

    @property
    def frames_due(self) -> int:
        """Frames that were due so far, by this process's clock, while the server took its tracks."""
        return sum(feed.due for feed in self._video)

    @property
    def frames_captured(self) -> int:
        """Frames handed to the encoders so far."""
        return sum(feed.captured for feed in self._video)

    @property
    def frames_late(self) -> int:
        """Those of them that were handed over 30 ms after they were due, or later."""
        return sum(feed.late for feed in self._video)

    async def run(self, room: rtc.Room) -> None:
        """Publish the tracks and feed them, until cancelled.

        Raises:
            rtc.PublishTrackError: the server takes no such track.
        """
        async with asyncio.TaskGroup() as tasks:
            for feed in self._video:
                source = await feed.publish(room)
                tasks.create_task(feed.run(source))
            if self._microphone:
                tasks.create_task(_feed_audio(await _publish_audio(room)))


class _VideoFeed:
    def __init__(self, source: VideoSource, camera: Camera) -> None:
        self._source: VideoSource = source
        self._camera = camera
        self.captured = 0
        self.late = 0
        self._due_before = 0
        self._fed_since: float | None = None
        width, height = camera.width, camera.height
        self._scenery = Scenery(width, height) if source == "camera" else Text(width, height)
        picture = np.full(width * height * 3 // 2, 128, dtype=np.uint8)  # I420; grey chroma
        self._luma = picture[: width * height].reshape(height, width)
        # One buffer for all pictures: the SDK copies it before `capture_frame` returns.
        self._frame = rtc.VideoFrame(width, height, rtc.VideoBufferType.I420, picture.data)

    async def publish(self, room: rtc.Room) -> rtc.VideoSource:
        camera, is_screen = self._camera, self._source == "screen"
        source = rtc.VideoSource(camera.width, camera.height, is_screencast=is_screen)
        options = rtc.TrackPublishOptions(
            source=_SOURCES[self._source],
            simulcast=camera.simulcast and makes_simulcast(camera.width, camera.height, self._source),
            video_codec=_CODECS[camera.codec],
            # The second clock: 8 bytes behind each coded picture. The SFU takes them off for those who
            # did not say that they understand them.
            frame_metadata_features=[rtc.FrameMetadataFeature.FMF_USER_TIMESTAMP],
        )
        options.video_encoding.max_bitrate = usual_kbps(camera.height, self._source) * 1000
        options.video_encoding.max_framerate = camera.fps
        track = rtc.LocalVideoTrack.create_video_track(f"marked-{self._source}", source)
        await room.local_participant.publish_track(track, options)
        return source

    @property
    def due(self) -> int:
        """Frames that were due so far.

        Time counts only while the feed runs. So no frames are due while the server does not take the track.
        If the process gets no processor time, its frames are still due.
        """
        if self._fed_since is None:
            return self._due_before
        return self._due_before + int((time.monotonic() - self._fed_since) * self._camera.fps) + 1

    async def run(self, source: rtc.VideoSource) -> None:
        period = 1 / self._camera.fps
        self._fed_since = started = time.monotonic()
        try:
            async for tick in ticks(period):
                self._capture(source)
                self.late += time.monotonic() - (started + tick * period) >= _LATE_SECONDS
        finally:
            self._due_before, self._fed_since = self.due, None

    def _capture(self, source: rtc.VideoSource) -> None:
        self._scenery.paint(self._luma, self.captured)
        now_ns = time.monotonic_ns()
        stamp = Stamp(now_ns // 1_000_000 % TIME_MODULUS, self.captured % FRAME_MODULUS)
        paint(self._luma, stamp)
        source.capture_frame(self._frame, metadata=rtc.FrameMetadata(user_timestamp=now_ns // 1000))
        self.captured += 1


async def _publish_audio(room: rtc.Room) -> rtc.AudioSource:
    source = rtc.AudioSource(SAMPLE_RATE, 1, queue_size_ms=_AUDIO_QUEUE_MS)
    await room.local_participant.publish_track(
        rtc.LocalAudioTrack.create_audio_track("marked-audio", source),
        # Discontinuous transmission may take steady tones for background noise.
        rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False),
    )
    return source


async def _feed_audio(source: rtc.AudioSource) -> None:
    count = int(SAMPLE_RATE * _AUDIO_FRAME_SECONDS)
    position = 0
    async for _ in ticks(_AUDIO_FRAME_SECONDS):
        samples = bytearray(tone_samples(position, count))
        await source.capture_frame(rtc.AudioFrame(samples, SAMPLE_RATE, 1, count))
        position += count
