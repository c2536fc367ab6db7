"""A participant whose pictures and sounds say when they were captured, and the reader of recordings of it.

Each picture carries the load suite's marker. The sound is a beep at each whole second of the clock whose time
the marker shows, so a recording's audio and video can be compared with each other.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from livekit import api, rtc

from loadtest.client.pace import ticks
from loadtest.marker.video import FRAME_MODULUS, TIME_MODULUS, Stamp, elapsed_ms, paint, read
from tests.unit.token_api.support import KEY, SECRET

RATE = 48_000
FPS = 15
_BEEP_SECONDS = 0.1
_BEEP_HZ = 1000
_CHUNK_SECONDS = 0.01
# What a publisher and a recorder that share a busy machine with other tests may leave out. The figure that
# users care about is checked where nothing runs beside it.
MOST_MISSING = 0.5
# Of full scale. Silence between beeps decodes to a few units.
_AMPLITUDE = 12_000
_LOUD = 3000


def token(identity: str, room: str) -> str:
    """A token by which anybody may join `room`."""
    return (
        api.AccessToken(KEY, SECRET)
        .with_identity(identity)
        .with_name(identity.title())
        .with_grants(api.VideoGrants(room_join=True, room=room))
        .to_jwt()
    )


class Marked:
    """One participant with marked tracks."""

    def __init__(self, url: str, identity: str, room: str) -> None:
        self._url = url
        self._identity = identity
        self._room_name = room
        self._feeds: list[asyncio.Task[None]] = []
        self._sound = _Lateness()
        self.room = rtc.Room()

    @property
    def latest_sound(self) -> float:
        """The longest time for which the machine kept this participant from sending sound, in seconds."""
        return self._sound.longest

    async def join(self, given: str = "") -> None:
        """Join the room, by the given token or by one of the test's own."""
        await self.room.connect(self._url, given or token(self._identity, self._room_name))

    async def publish_camera(
        self,
        width: int = 640,
        height: int = 360,
        *,
        fps: int = FPS,
        source: rtc.TrackSource.ValueType = rtc.TrackSource.SOURCE_CAMERA,
        codec: rtc.VideoCodec.ValueType = rtc.VideoCodec.VP8,
        simulcast: bool = False,
    ) -> rtc.LocalTrackPublication:
        """Publish marked pictures until the participant leaves or the track is unpublished."""
        video = rtc.VideoSource(width, height)
        options = rtc.TrackPublishOptions(source=source, simulcast=simulcast, video_codec=codec)
        options.video_encoding.max_bitrate = 2_000_000
        options.video_encoding.max_framerate = fps
        track = rtc.LocalVideoTrack.create_video_track("marked", video)
        publication = await self.room.local_participant.publish_track(track, options)
        self._feeds.append(asyncio.create_task(_feed_video(video, width, height, fps)))
        return publication

    async def publish_microphone(self) -> rtc.LocalTrackPublication:
        """Publish beeps until the participant leaves."""
        audio = rtc.AudioSource(RATE, 1, queue_size_ms=0)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=False)
        track = rtc.LocalAudioTrack.create_audio_track("beeps", audio)
        publication = await self.room.local_participant.publish_track(track, options)
        self._feeds.append(asyncio.create_task(_feed_audio(audio, self._sound)))
        return publication

    def mute_camera(self, *, muted: bool = True) -> None:
        """Turn the camera off, or on again, and leave it published."""
        for publication in self.room.local_participant.track_publications.values():
            if publication.kind == rtc.TrackKind.KIND_VIDEO and publication.track is not None:
                (publication.track.mute if muted else publication.track.unmute)()

    def track_id(self, kind: rtc.TrackKind.ValueType) -> str:
        """The id of the first published track of a kind."""
        publications = self.room.local_participant.track_publications.values()
        return next(publication.sid for publication in publications if publication.kind == kind)

    async def leave(self) -> None:
        """Stop the tracks and leave."""
        for feed in self._feeds:
            feed.cancel()
        await asyncio.gather(*self._feeds, return_exceptions=True)
        self._feeds.clear()
        await self.room.disconnect()


@asynccontextmanager
async def marked(
    url: str, identity: str, room: str, *, camera: bool = True, microphone: bool = True
) -> AsyncIterator[Marked]:
    """A participant that publishes for the block."""
    made = Marked(url, identity, room)
    await made.join()
    try:
        if camera:
            await made.publish_camera()
        if microphone:
            await made.publish_microphone()
        yield made
    finally:
        await made.leave()


async def _feed_video(source: rtc.VideoSource, width: int, height: int, fps: int) -> None:
    picture = np.full(width * height * 3 // 2, 128, dtype=np.uint8)
    luma = picture[: width * height].reshape(height, width)
    frame = rtc.VideoFrame(width, height, rtc.VideoBufferType.I420, picture.data)
    number = 0
    async for _ in ticks(1 / fps):
        luma[:] = 90
        paint(luma, Stamp(time.monotonic_ns() // 1_000_000 % TIME_MODULUS, number % FRAME_MODULUS))
        source.capture_frame(frame)
        number += 1


class _Lateness:
    """How late a feed is. `ticks` leaves out what it cannot do in time, so gaps between its ticks tell."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._previous: float | None = None

    def tick(self) -> None:
        now = time.monotonic()
        if self._previous is not None:
            self.longest = max(self.longest, now - self._previous - _CHUNK_SECONDS)
        self._previous = now


async def _feed_audio(source: rtc.AudioSource, lateness: _Lateness) -> None:
    count = round(RATE * _CHUNK_SECONDS)
    start = time.monotonic()
    async for tick in ticks(_CHUNK_SECONDS):
        lateness.tick()
        at = start + tick * _CHUNK_SECONDS + np.arange(count) / RATE
        beeping = (at % 1.0) < _BEEP_SECONDS
        wave = _AMPLITUDE * np.sin(2 * np.pi * _BEEP_HZ * (at % 1.0)) * beeping
        samples = wave.astype(np.int16)
        await source.capture_frame(rtc.AudioFrame(samples.tobytes(), RATE, 1, count))


def last_frame(path: Path) -> npt.NDArray[np.uint8]:
    """The luma of the last frame of a file, of shape (height, width)."""
    with av.open(str(path)) as container:
        *_, last = container.decode(video=0)
    return last.to_ndarray(format="gray").astype(np.uint8, copy=False)


@dataclass(frozen=True)
class Seen:
    """A picture of a recording: its time in seconds and its marker, if it can be read."""

    time: float
    stamp: Stamp | None


@dataclass(frozen=True)
class Watched:
    """A recording as somebody sees and hears it. `beeps` are the times at which beeps begin, in seconds."""

    duration: float
    pictures: tuple[Seen, ...]
    beeps: tuple[float, ...]
    width: int = 0
    height: int = 0
    audio_codec: str = ""
    video_codec: str = ""

    @property
    def stamps(self) -> list[Stamp]:
        """The markers in their order, each once."""
        found: list[Stamp] = []
        for picture in self.pictures:
            if picture.stamp is not None and (not found or picture.stamp != found[-1]):
                found.append(picture.stamp)
        return found

    @property
    def missing(self) -> float:
        """The part of the publisher's pictures between the first and the last one that are not there."""
        numbers = [stamp.frame for stamp in self.stamps]
        assert numbers == sorted(numbers), "pictures are out of order"
        return 1 - len(numbers) / (numbers[-1] - numbers[0] + 1)

    @property
    def longest_standstill(self) -> float:
        """The longest time in which the marker did not change, in seconds."""
        times = [self.pictures[0].time]
        last = None
        for picture in self.pictures:
            if picture.stamp is not None and picture.stamp != last:
                last = picture.stamp
                times.append(picture.time)
        times.append(self.pictures[-1].time)
        return max(after - before for before, after in itertools.pairwise(times))

    @property
    def offsets(self) -> list[float]:
        """For each beep, how many seconds after its picture it is heard.

        The beep begins at a whole second of the marker's clock. The time of that second in the recording
        follows from the pictures around it.
        """
        shown = [(picture.time, picture.stamp.time_ms) for picture in self.pictures if picture.stamp]
        found = []
        for beep in self.beeps:
            before = [(at, stamp) for at, stamp in shown if at <= beep]
            if not before:
                continue
            at, stamp = before[-1]
            second = round((stamp + (beep - at) * 1000) / 1000) * 1000
            nearest = min(shown, key=lambda pair: abs(elapsed_ms(pair[1], second)))
            found.append(beep - (nearest[0] + elapsed_ms(nearest[1], second) / 1000))
        return found


def watch(path: Path) -> Watched:
    """Read a whole recording."""
    pictures: list[Seen] = []
    sounds: list[tuple[float, npt.NDArray[np.float32]]] = []
    with av.open(str(path)) as container:
        video = next(iter(container.streams.video), None)
        audio = next(iter(container.streams.audio), None)
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        for frame in container.decode(*(stream for stream in (video, audio) if stream is not None)):
            if isinstance(frame, av.VideoFrame):
                luma = frame.to_ndarray(format="yuv420p")[: frame.height].astype(np.uint8, copy=False)
                pictures.append(Seen(float(frame.time or 0), read(luma)))
            elif isinstance(frame, av.AudioFrame):
                at = float(frame.time or 0)
                for part in resampler.resample(frame):
                    sounds.append((at, part.to_ndarray().reshape(-1).astype(np.float32) * 32768))
        duration = float(container.duration or 0) / 1_000_000
        return Watched(
            duration,
            tuple(pictures),
            tuple(_beeps(sounds)),
            width=video.width if video is not None else 0,
            height=video.height if video is not None else 0,
            audio_codec=audio.codec_context.name if audio is not None else "",
            video_codec=video.codec_context.name if video is not None else "",
        )


def _beeps(sounds: list[tuple[float, npt.NDArray[np.float32]]]) -> list[float]:
    """When beeps begin: the first loud millisecond after at least 0.3 s without one."""
    found: list[float] = []
    quiet_since = -1.0
    step = RATE // 1000
    for at, samples in sounds:
        for offset in range(0, len(samples) - step + 1, step):
            moment = at + offset / RATE
            if np.abs(samples[offset : offset + step]).max() > _LOUD:
                if moment - quiet_since > 0.3 and (found or moment > 0.05):
                    found.append(moment)
                quiet_since = moment
    return found
