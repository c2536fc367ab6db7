"""Packets of the real encoders."""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np

from recorder.media.encoders import AudioEncoder, EncodedPacket, Encoders, VideoEncoder
from recorder.media.sounds import SAMPLE_RATE
from recorder.requests.encoding import AudioCodec, AudioEncoding, VideoEncoding

RATE = 15


def new_encoders(
    *, video: bool = True, codec: AudioCodec = AudioCodec.AAC, key_seconds: float = 2
) -> Encoders:
    picture = VideoEncoding(width=64, height=48, framerate=RATE, key_frame_interval=key_seconds)
    sound = AudioEncoding(codec=codec, frequency=48_000)
    return Encoders(VideoEncoder(picture) if video else None, AudioEncoder(sound, codec))


def packets(encoders: Encoders, seconds: float) -> Iterator[EncodedPacket]:
    """A recording of some seconds: grey that gets brighter, and noise."""
    noise = np.random.default_rng(1)
    per_frame = SAMPLE_RATE // RATE
    for index in range(round(seconds * RATE)):
        if encoders.video is not None:
            grey = np.full((72, 64), index % 200 + 20, np.uint8)
            yield from encoders.video.encode(av.VideoFrame.from_ndarray(grey, format="yuv420p"), index)
        if encoders.audio is not None:
            samples = noise.integers(-9000, 9000, (per_frame, 2), dtype=np.int16)
            yield from encoders.audio.encode(samples, index * per_frame)
    yield from encoders.finish()
