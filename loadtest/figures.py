"""From samples to the figures that a call is judged by. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.client.protocol import VideoReceived


class NoSamples(Exception):
    """There is nothing to make a figure of."""


@dataclass(frozen=True)
class Distribution:
    """Of one quantity: how many samples, and its percentiles. Unit: that of the samples."""

    count: int
    minimum: float
    p50: float
    p95: float
    p99: float
    maximum: float


@dataclass(frozen=True)
class VideoFigures:
    """How one video track came through.

    Attributes:
        latency_ms: from capture to decoded, of each frame that came.
        age_ms: of the newest frame, looked at on every tick of the frame rate. Where a track stalls
            this grows and the latency does not.
        delivered: frames that came and could be read.
        sent: frames that the publisher captured between the first and the last of these.
        unreadable: frames that came, whose marker could not be read.
        height: of the last frame, in pixels; tells which simulcast layer came.
    """

    latency_ms: Distribution
    age_ms: Distribution
    delivered: int
    sent: int
    unreadable: int
    height: int

    @property
    def delivered_ratio(self) -> float:
        return self.delivered / self.sent


def distribution(samples: Sequence[float]) -> Distribution:
    """The distribution of `samples`; a percentile is a sample that occurred, the next higher one.

    Raises:
        NoSamples: there are none.
    """
    if not samples:
        raise NoSamples("a distribution needs at least one sample")
    p50, p95, p99 = np.percentile(samples, (50, 95, 99), method="higher")
    return Distribution(
        count=len(samples),
        minimum=min(samples),
        p50=float(p50),
        p95=float(p95),
        p99=float(p99),
        maximum=max(samples),
    )


def video_figures(received: VideoReceived) -> VideoFigures:
    """The figures of one track.

    Raises:
        NoSamples: no frame of it could be read.
    """
    frames = received.frames
    if not frames:
        raise NoSamples(
            f"no frame of {received.publisher} could be read; "
            f"{received.unreadable} came without a readable marker"
        )
    return VideoFigures(
        latency_ms=distribution([frame.latency_ms for frame in frames]),
        age_ms=distribution(received.ages_ms),
        delivered=len({frame.frame for frame in frames}),
        sent=frames[-1].frame - frames[0].frame + 1,
        unreadable=received.unreadable,
        height=frames[-1].height,
    )
