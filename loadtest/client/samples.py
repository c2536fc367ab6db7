"""The raw of one second of one client: what came in it, before any figure is made of it.

Every time is CLOCK_MONOTONIC in ms, which all processes of one machine share.
"""

from __future__ import annotations

import time
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from loadtest.client.path import TransportPath

VideoSource: TypeAlias = Literal["camera", "screen"]


class Sample(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FrameSample(Sample):
    """One decoded picture whose marker was readable.

    Attributes:
        received_ms: when it came out of the decoder.
        latency_ms: from capture to `received_ms`, by the marker in its pixels.
        metadata_latency_ms: the same by the timestamp that travels beside the pixels, behind the coded
            picture; None where the picture had none.
        frame: the publisher's frame counter, unwrapped.
        width, height: in pixels: which layer it is.
    """

    received_ms: float
    latency_ms: float
    metadata_latency_ms: float | None = None
    frame: int
    width: int
    height: int

    @property
    def captured_ms(self) -> float:
        return self.received_ms - self.latency_ms


class VideoSecond(Sample):
    """One subscribed video track in this second; one that gives nothing is here too, with no frames.

    Attributes:
        unreadable: pictures that came, without a marker that could be read or believed.
    """

    publisher: str
    source: VideoSource
    frames: tuple[FrameSample, ...] = ()
    unreadable: int = 0


class AudioGap(Sample):
    """A time without the marker's tones, of `LEAST_GAP_MS` or more, that is over."""

    from_ms: float
    to_ms: float


class AudioSecond(Sample):
    """One subscribed audio track in this second.

    Attributes:
        windows, marked: of 20 ms: how many came, and in how many the marker's tones were.
        steps_in_order, steps_out_of_order: changes of tone, as in `loadtest.marker.audio.AudioTally`.
        gaps: that ended in this second.
        last_marked_ms: when the last window with tones came, in this second or before; None: never.
    """

    publisher: str
    windows: int = 0
    marked: int = 0
    steps_in_order: int = 0
    steps_out_of_order: int = 0
    gaps: tuple[AudioGap, ...] = ()
    last_marked_ms: float | None = None


class SentLayer(Sample):
    """One layer of a video track that this client sends, as its encoder is now.

    Attributes:
        encode_ms: how long the encoder took for a picture, mean over this second; None where it made none.
        limited_by: what keeps the encoder from its best: none, cpu, bandwidth or other.
    """

    height: int
    kbps: float
    fps: float
    target_kbps: float
    encode_ms: float | None = None
    limited_by: str


class TransportSecond(Sample):
    """What WebRTC counted in this second, over all streams and connections.

    Attributes:
        received_bytes, sent_bytes: of RTP, with its headers.
        packets_lost: may be negative where late ones came after all.
        jitter_ms: interarrival jitter of the worst stream, as it was last; None without any stream.
        jitter_buffer_ms: how long pictures waited in it, mean; None where none came out.
        decode_ms: how long the decoder took for a picture, mean; None where it made none.
        round_trip_ms: the latest one that ICE measured; None before the first.
        nacks, plis, firs: requests for packets and for whole pictures, sent and received.
        freezes: as WebRTC itself counts them.
        paths: which way the media goes, one per connection that is up.
    """

    received_bytes: int = 0
    sent_bytes: int = 0
    packets_received: int = 0
    packets_lost: int = 0
    jitter_ms: float | None = None
    jitter_buffer_ms: float | None = None
    decode_ms: float | None = None
    round_trip_ms: float | None = None
    nacks: int = 0
    plis: int = 0
    firs: int = 0
    frames_decoded: int = 0
    frames_dropped: int = 0
    freezes: int = 0
    layers: tuple[SentLayer, ...] = ()
    paths: tuple[TransportPath, ...] = ()


def now_ms() -> float:
    """CLOCK_MONOTONIC in ms."""
    return time.monotonic_ns() / 1e6
