"""A process that records noise into the spool, uploads it meanwhile, and never ends by itself.

Usage: recording_process.py SPOOL CONTAINER TARGET

CONTAINER is mp4, ogg, webm, mp3 or mpegts. TARGET is the S3Target as a JSON object, or "null". The process
prints the seconds that it has recorded, a line per frame.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer

from recorder.outputs.file import FORMATS
from recorder.requests.encoding import Container
from recorder.storage.bucket import Bucket
from recorder.storage.destination import Destination
from recorder.storage.spool import Spool
from recorder.storage.target import S3Target
from recorder.storage.upload_events import ContentType
from recorder.storage.uploads import UploadQueue

EGRESS = "EG_killed"
FRAMES_PER_SECOND = 30
SAMPLE_RATE = 48_000
SAMPLES = SAMPLE_RATE // FRAMES_PER_SECOND
# Some 3 MB per second of MP4, so that a short recording has several parts. VP8 is slow with noise.
SIZES = {"mp4": (320, 240), "mpegts": (320, 240), "webm": (160, 96)}
X264 = {"preset": "ultrafast", "qp": "4", "g": "30"}
VP8 = {"deadline": "realtime", "cpu-used": "8"}
MUXER = {
    "mp4": FORMATS[Container.MP4][1],
    # A cluster is written when it is complete, which by default is after 5 s or at a key frame.
    "webm": {"cluster_time_limit": "1000"},
}
VIDEO = {"mp4": ("libx264", X264), "mpegts": ("libx264", X264), "webm": ("libvpx", VP8)}
AUDIO = {"mp4": "aac", "mpegts": "aac", "ogg": "libopus", "webm": "libopus", "mp3": "libmp3lame"}
CONTENT_TYPES = {
    "mp4": ContentType.MP4,
    "mpegts": ContentType.MPEG_TS,
    "ogg": ContentType.OGG,
    "webm": ContentType.WEBM,
    "mp3": ContentType.MP3,
}


def main(spool: str, container: str, target: str) -> None:
    directory = Spool(Path(spool)).create(EGRESS, b"request")
    fields = json.loads(target)
    if fields is not None:
        queue = UploadQueue(directory, "file", Destination(Bucket(S3Target(**fields))))
        queue.add_growing("call", "call", CONTENT_TYPES[container])
        queue.start()
    record(directory.media / "call", container, for_ever)


def for_ever(seconds: float) -> bool:
    print(seconds, flush=True)
    return True


def record(file: Path, container: str, go_on: Callable[[float], bool]) -> None:
    """Record until `go_on`, which is called with the recorded seconds before each frame, gives False."""
    options = {"flush_packets": "1", **MUXER.get(container, {})}
    with av.open(str(file), "w", format=container, options=options) as output:
        video = add_video(output, container) if container in VIDEO else None
        audio = output.add_stream(AUDIO[container], rate=SAMPLE_RATE)
        assert isinstance(audio, av.AudioStream)
        generator = np.random.default_rng(1)
        number = 0
        while go_on(number / FRAMES_PER_SECOND):
            if video is not None:
                output.mux(video.encode(picture(generator, video, number)))
            output.mux(audio.encode(sound(generator, number)))
            number += 1
        if video is not None:
            output.mux(video.encode(None))
        output.mux(audio.encode(None))


def add_video(output: OutputContainer, container: str) -> av.VideoStream:
    codec, settings = VIDEO[container]
    video = output.add_stream(codec, rate=FRAMES_PER_SECOND, options=settings)
    assert isinstance(video, av.VideoStream)
    video.width, video.height = SIZES[container]
    video.pix_fmt = "yuv420p"
    return video


def picture(generator: np.random.Generator, video: av.VideoStream, number: int) -> av.VideoFrame:
    pixels = generator.integers(0, 255, (video.height * 3 // 2, video.width), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels, format="yuv420p")
    frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_SECOND)
    return frame


def sound(generator: np.random.Generator, number: int) -> av.AudioFrame:
    samples = generator.integers(-3000, 3000, (1, SAMPLES * 2)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
    frame.sample_rate, frame.time_base = SAMPLE_RATE, Fraction(1, SAMPLE_RATE)
    frame.pts = number * SAMPLES
    return frame


if __name__ == "__main__":
    main(*sys.argv[1:])
