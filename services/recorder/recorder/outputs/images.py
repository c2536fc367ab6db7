"""Thumbnails: a JPEG of the picture at an interval."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import av
from av.video.codeccontext import VideoCodecContext
from livekit.protocol import egress as proto

from recorder.requests.names import stamp
from recorder.requests.outputs import ImageOutput

EXTENSION = ".jpeg"
# FFmpeg's scale for MJPEG: 2 is best, 31 is worst.
_QUALITY = 3


class ImageSink:
    """Writes images into `directory` and passes each on by its name, moment and path."""

    def __init__(
        self,
        directory: Path,
        output: ImageOutput,
        began_at: datetime,
        written: Callable[[str, datetime, Path], None],
    ) -> None:
        self._directory = directory
        self._output = output
        self._began_at = began_at
        self._written = written
        self._count = 0
        directory.mkdir(parents=True, exist_ok=True)

    def show(self, frame: av.VideoFrame, time: float) -> None:
        """Take the picture at `time` seconds if one is due. Raises OSError."""
        if time + 1e-6 < self._count * self._output.seconds:
            return
        moment = self._began_at + timedelta(seconds=time)
        match self._output.suffix:
            case proto.IMAGE_SUFFIX_TIMESTAMP:
                suffix = f"_{stamp(moment)}"
            case proto.IMAGE_SUFFIX_NONE_OVERWRITE:
                suffix = ""
            case _:
                suffix = f"_{self._count:05d}"
        # Each picture has a file of its own: an earlier one may still wait for its upload.
        path = self._directory / f"{self._count:08d}{EXTENSION}"
        path.write_bytes(_jpeg(frame, self._output.width or frame.width, self._output.height or frame.height))
        self._count += 1
        self._written(f"{self._output.names.prefix}{suffix}{EXTENSION}", moment, path)


def _jpeg(frame: av.VideoFrame, width: int, height: int) -> bytes:
    scaled = frame.reformat(width=width, height=height, format="yuvj420p", dst_color_range="JPEG")
    codec: VideoCodecContext = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt = width, height, "yuvj420p"
    codec.time_base = Fraction(1, 1)
    codec.options = {"qmin": str(_QUALITY), "qmax": str(_QUALITY)}
    scaled.pts, scaled.time_base = 0, Fraction(1, 1)
    packets = [*codec.encode(scaled), *codec.encode(None)]
    return b"".join(bytes(packet) for packet in packets)
