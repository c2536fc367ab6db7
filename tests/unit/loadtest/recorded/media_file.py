"""A media file with the marker's frames and tones, as a recording of one publisher holds them."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from loadtest.marker.audio import SAMPLE_RATE, tone_samples
from loadtest.marker.video import FRAME_MODULUS, Stamp, paint

FPS = 30
WIDTH, HEIGHT = 640, 360
_CHUNK = 1024


def write(
    path: Path, frames: Iterable[int | None], *, start_ms: int = 0, tones_s: float | None = None
) -> None:
    """Write an MP4 at 30 frames per second.

    Args:
        frames: the publisher's number of each frame of the file; None for a frame without a marker.
        start_ms: the marker's clock at frame 0 of a publisher that captures 15 frames per second.
        tones_s: seconds of tones, and silence after it; None for tones to the end.
    """
    numbers = list(frames)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE)
        assert isinstance(audio, av.AudioStream)
        audio.layout = "mono"
        for position, number in enumerate(numbers):
            picture = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
            if number is not None:
                paint(picture[:HEIGHT], Stamp(start_ms + number * 1000 // 15, number % FRAME_MODULUS))
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts, frame.time_base = position, Fraction(1, FPS)
            container.mux(video.encode(frame))
        samples = len(numbers) * SAMPLE_RATE // FPS
        for begin in range(0, samples, _CHUNK):
            sound = tone_samples(begin, _CHUNK)
            if tones_s is not None:
                sound[np.arange(begin, begin + _CHUNK) >= tones_s * SAMPLE_RATE] = 0
            chunk = av.AudioFrame.from_ndarray(sound.reshape(1, -1), format="s16", layout="mono")
            chunk.sample_rate, chunk.pts, chunk.time_base = SAMPLE_RATE, begin, Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(chunk))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def doubled(numbers: Iterable[int | None]) -> list[int | None]:
    """Each frame twice: the publisher captures 15 per second, and the file has 30."""
    return [number for number in numbers for _ in range(2)]
