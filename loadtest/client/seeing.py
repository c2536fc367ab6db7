"""One video track as its pictures come: markers read, and kept until a second is over."""

from __future__ import annotations

from loadtest.client.samples import FrameSample, VideoSecond, VideoSource
from loadtest.marker.video import Plane, believable, elapsed_ms, read, unwrapped


class SeenTrack:
    """Collects the samples of one track."""

    def __init__(self, publisher: str, source: VideoSource) -> None:
        self._publisher = publisher
        self._source: VideoSource = source
        self._frames: list[FrameSample] = []
        self._unreadable = 0
        self._last_frame: int | None = None

    def take(self, luma: Plane, received_ms: float, metadata_us: int | None) -> bool:
        """Take a picture; says whether its marker was readable.

        Args:
            luma: height × width.
            received_ms: CLOCK_MONOTONIC when it came out of the decoder.
            metadata_us: the publisher's timestamp that came beside it, of the same clock.
        """
        stamp = read(luma)
        if stamp is None or not believable(stamp, received_ms):
            self._unreadable += 1
            return False
        self._last_frame = unwrapped(stamp.frame, self._last_frame)
        height, width = luma.shape
        self._frames.append(
            FrameSample(
                received_ms=received_ms,
                latency_ms=elapsed_ms(stamp.time_ms, received_ms),
                metadata_latency_ms=None if metadata_us is None else received_ms - metadata_us / 1000,
                frame=self._last_frame,
                width=width,
                height=height,
            )
        )
        return True

    def take_second(self) -> VideoSecond:
        """What came since the last call."""
        second = VideoSecond(
            publisher=self._publisher,
            source=self._source,
            frames=tuple(self._frames),
            unreadable=self._unreadable,
        )
        self._frames, self._unreadable = [], 0
        return second
