"""Pictures through a real encoder and decoder, whole or with coded pictures lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache

import av
import numpy as np

from loadtest.client.picture import Scenery
from loadtest.marker.video import Plane, Stamp, paint

FPS = 15
_DECODERS = {"libvpx": "vp8", "libx264": "h264"}
# As WebRTC sets its encoders: one pass, no look-ahead, whole pictures only when asked for.
_OPTIONS = {
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "error-resilient": "1"},
    "libx264": {"tune": "zerolatency", "preset": "ultrafast"},
}


@cache
def camera(stamps: tuple[Stamp, ...]) -> tuple[av.VideoFrame, ...]:
    """720p pictures as the publisher paints them."""
    scenery = Scenery(1280, 720)
    pictures = []
    for number, stamp in enumerate(stamps):
        picture = np.full((1080, 1280), 128, dtype=np.uint8)
        scenery.paint(picture[:720], number)
        paint(picture[:720], stamp)
        pictures.append(av.VideoFrame.from_ndarray(picture, format="yuv420p"))
    return tuple(pictures)


@cache  # encoding is most of what these tests cost
def coded(
    codec: str, pictures: tuple[av.VideoFrame, ...], width: int, height: int, bitrate: int
) -> tuple[bytes, ...]:
    """One packet per picture, scaled to a layer's size, at its bitrate."""
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.bit_rate, encoder.time_base, encoder.framerate = bitrate, Fraction(1, FPS), Fraction(FPS)
    encoder.gop_size = 1000
    encoder.options = {
        **_OPTIONS[codec],
        "maxrate": str(bitrate),
        "bufsize": str(bitrate // 2),
    }
    packets = []
    for number, picture in enumerate(pictures):
        scaled = picture.reformat(width=width, height=height)
        scaled.pts = number
        packets += encoder.encode(scaled)
    return tuple(bytes(packet) for packet in packets + encoder.encode(None))


def decoded(codec: str, packets: Sequence[bytes], height: int) -> list[Plane]:
    """Luma of what a decoder makes of these coded pictures; what it refuses is left out."""
    decoder = av.CodecContext.create(_DECODERS[codec], "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    # Damaged pictures are to be shown: that is what is tested.
    decoder.options = {"flags": "+output_corrupt", "flags2": "+showall", "ec": "guess_mvs+deblock"}
    frames: list[av.VideoFrame] = []

    def keep(decode: Callable[[], list[av.VideoFrame]]) -> None:
        try:
            frames.extend(decode())
        except av.FFmpegError:
            return

    for data in packets:
        packet = av.Packet(data)
        keep(lambda packet=packet: decoder.decode(packet))  # type: ignore[misc]
    keep(lambda: decoder.decode(None))
    return [np.asarray(frame.to_ndarray(format="yuv420p"), dtype=np.uint8)[:height] for frame in frames]
