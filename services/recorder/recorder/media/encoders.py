"""One H.264 encoder and one audio encoder, whose packets all outputs of an egress share."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.video.stream import VideoStream

from recorder.media.sounds import SAMPLE_RATE, Samples
from recorder.requests.encoding import AudioCodec, AudioEncoding, VideoEncoding

_X264_PRESET = "veryfast"
_DEFAULT_KEY_FRAME_SECONDS = 4.0


@dataclass(frozen=True)
class EncodedPacket:
    """A packet of an encoder; `pts`, `dts` and `duration` in units of `time_base` seconds."""

    is_video: bool
    data: bytes
    pts: int
    dts: int
    duration: int
    time_base: Fraction
    is_key: bool

    @property
    def time(self) -> float:
        """When it is shown or heard, in seconds from the recording's begin."""
        return float(self.pts * self.time_base)

    @property
    def end(self) -> float:
        """When what it shows or sounds is over, in seconds from the recording's begin."""
        return float((self.pts + self.duration) * self.time_base)


class VideoEncoder:
    """Encodes frames as H.264. `stream` is the template for the streams of containers."""

    def __init__(self, encoding: VideoEncoding) -> None:
        # Containers take a stream's parameters from another container's stream. This one writes nothing.
        self._null = av.open(os.devnull, "w", format="null")
        self.stream: VideoStream = self._null.add_stream(
            "libx264",
            rate=encoding.framerate,
            width=encoding.width,
            height=encoding.height,
            pix_fmt="yuv420p",
        )
        context = self._context = self.stream.codec_context
        context.time_base = Fraction(1, encoding.framerate)
        context.bit_rate = encoding.bitrate * 1000
        seconds = encoding.key_frame_interval or _DEFAULT_KEY_FRAME_SECONDS
        context.gop_size = max(1, round(seconds * encoding.framerate))
        context.flags |= Flags.global_header
        context.options = {
            "preset": _X264_PRESET,
            "profile": encoding.profile.value,
            "maxrate": str(encoding.bitrate * 1000),
            "bufsize": str(encoding.bitrate * 2000),
            # Key frames come at their interval only: segments and streams count on it.
            "sc_threshold": "0",
            "x264-params": "colorprim=bt709:transfer=bt709:colormatrix=bt709:fullrange=off",
        }
        self._null.start_encoding()

    def encode(self, frame: av.VideoFrame, index: int) -> Iterator[EncodedPacket]:
        """Encode the frame that is shown at `index / framerate` seconds."""
        frame.pts, frame.time_base = index, self._context.time_base
        yield from _packets(self._context.encode(frame), is_video=True)

    def finish(self) -> Iterator[EncodedPacket]:
        """What the encoder still holds."""
        yield from _packets(self._context.encode(None), is_video=True)


class AudioEncoder:
    """Encodes stereo sound. `stream` is the template for the streams of containers."""

    def __init__(self, encoding: AudioEncoding, codec: AudioCodec) -> None:
        self._null = av.open(os.devnull, "w", format="null")
        self.stream: AudioStream = self._null.add_stream(codec.value, rate=encoding.frequency)
        context = self._context = self.stream.codec_context
        context.layout = "stereo"
        context.bit_rate = encoding.bitrate * 1000
        if codec is AudioCodec.OPUS:
            context.format = "s16"
        context.flags |= Flags.global_header
        self._null.start_encoding()
        self._resampler = av.AudioResampler(
            format=context.format.name, layout="stereo", rate=context.sample_rate
        )

    def encode(self, samples: Samples, begin: int) -> Iterator[EncodedPacket]:
        """Encode samples (int16, shape (count, 2), 48 kHz) that begin `begin` samples after the start."""
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, begin, Fraction(1, SAMPLE_RATE)
        yield from self._encode(frame)

    def finish(self) -> Iterator[EncodedPacket]:
        """What the resampler and the encoder still hold."""
        yield from self._encode(None)
        yield from _packets(self._context.encode(None), is_video=False)

    def _encode(self, frame: av.AudioFrame | None) -> Iterator[EncodedPacket]:
        for resampled in self._resampler.resample(frame):
            yield from _packets(self._context.encode(resampled), is_video=False)


@dataclass(frozen=True)
class Encoders:
    """The encoders of one egress; None for what it does not record."""

    video: VideoEncoder | None
    audio: AudioEncoder | None

    def finish(self) -> Iterator[EncodedPacket]:
        """What all encoders still hold."""
        if self.audio is not None:
            yield from self.audio.finish()
        if self.video is not None:
            yield from self.video.finish()


def _packets(packets: Iterable[av.Packet[Any]], *, is_video: bool) -> Iterator[EncodedPacket]:
    for packet in packets:
        if packet.pts is not None and packet.dts is not None and packet.time_base is not None:
            yield EncodedPacket(
                is_video=is_video,
                data=bytes(packet),
                pts=packet.pts,
                dts=packet.dts,
                duration=packet.duration or 0,
                time_base=packet.time_base,
                is_key=packet.is_keyframe,
            )
