"""Recordings made by hand: what a client would have told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from loadtest.client.protocol import Event, Joined, Left, Measured
from loadtest.client.recording import Recording
from loadtest.client.samples import AudioSecond, FrameSample, TransportSecond, VideoSecond, VideoSource

FRAME_MS = 1000 / 15


def frame(
    number: int, *, at_ms: float | None = None, latency_ms: float = 50, height: int = 360
) -> FrameSample:
    """Picture `number` of 15 a second, captured in its turn and received `latency_ms` later."""
    received_ms = number * FRAME_MS + latency_ms if at_ms is None else at_ms
    return FrameSample(
        received_ms=received_ms,
        latency_ms=received_ms - number * FRAME_MS,
        metadata_latency_ms=received_ms - number * FRAME_MS + 0.5,
        frame=number,
        width=height * 16 // 9,
        height=height,
    )


def joined(at_ms: float = 0) -> Joined:
    return Joined(identity="w", room="r", at_ms=at_ms, join_ms=300, signalling_ms=200, ice_ms=100)


def told(
    frames: Iterable[FrameSample],
    until_ms: float,
    *,
    source: VideoSource = "camera",
    audio: Sequence[AudioSecond] = (),
    from_ms: float = 0,
) -> list[Measured]:
    """What a client tells second by second, from `from_ms` until `until_ms`."""
    frames = list(frames)
    seconds = []
    for number in range(round((until_ms - from_ms) / 1000)):
        begin = from_ms + number * 1000
        came = tuple(f for f in frames if begin <= f.received_ms < begin + 1000)
        seconds.append(
            Measured(
                from_ms=begin,
                to_ms=begin + 1000,
                video=(VideoSecond(publisher="p", source=source, frames=came),),
                audio=tuple(audio[number : number + 1]),
                transport=TransportSecond(
                    received_bytes=125_000, packets_received=90, packets_lost=10, jitter_ms=float(number)
                ),
            )
        )
    return seconds


def recording(*events: Event | Sequence[Event]) -> Recording:
    flat: list[Event] = []
    for event in events:
        flat += event if isinstance(event, list | tuple) else [event]  # type: ignore[list-item]
    return Recording(tuple(flat))


def left(at_ms: float) -> Left:
    return Left(at_ms=at_ms)
