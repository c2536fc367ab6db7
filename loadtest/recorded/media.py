"""A recording as its viewers see and hear it: marked frames and tones in a media file."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from loadtest.client.samples import FrameSample
from loadtest.figures.pictures import freezes
from loadtest.figures.spans import Span
from loadtest.marker.audio import SAMPLE_RATE, ToneListener
from loadtest.marker.video import Stamp, read, unwrapped
from loadtest.result import Freeze, RecordedMedia


class NotMedia(Exception):
    """The file holds no video, or cannot be read. A sentence for people."""


def evaluate(path: Path) -> RecordedMedia:
    """Decode the whole file.

    Raises:
        NotMedia: it cannot be.
    """
    video = _Video()
    tones = ToneListener()
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise NotMedia(f"{path.name} has no video stream")
            streams = [container.streams.video[0], *container.streams.audio[:1]]
            for frame in container.decode(*streams):
                if isinstance(frame, av.VideoFrame):
                    video.take(frame)
                elif isinstance(frame, av.AudioFrame):
                    for part in resampler.resample(frame):
                        tones.hear(part.to_ndarray().reshape(-1).astype(np.int16, copy=False))
            duration_s = float(container.duration or 0) / av.time_base
            picture = container.streams.video[0]
            return RecordedMedia(
                duration_s=duration_s,
                size_bytes=path.stat().st_size,
                width=picture.width,
                height=picture.height,
                first_captured_ms=video.first_captured_ms,
                delivered=video.delivered,
                sent=video.sent,
                unreadable=video.unreadable,
                out_of_order=video.out_of_order,
                freezes=video.freezes(duration_s),
                tones_ratio=tones.tally.marked / tones.tally.windows if tones.tally.windows else 0.0,
            )
    except av.FFmpegError as error:
        raise NotMedia(f"{path.name} cannot be decoded: {error}") from error


class _Video:
    """The frames so far. A frame of the recording that repeats the marker before it is not counted again."""

    def __init__(self) -> None:
        self.unreadable = 0
        self.out_of_order = 0
        self._shown: list[tuple[float, Stamp]] = []
        self._numbers: list[int] = []

    def take(self, frame: av.VideoFrame) -> None:
        luma = frame.to_ndarray(format="yuv420p")[: frame.height].astype(np.uint8, copy=False)
        stamp = read(luma)
        if stamp is None:
            self.unreadable += 1
            return
        if self._shown and stamp == self._shown[-1][1]:
            return
        last = self._numbers[-1] if self._numbers else None
        number = unwrapped(stamp.frame, last)
        if last is not None and number < last:
            self.out_of_order += 1
        self._numbers.append(number)
        self._shown.append((float(frame.time or 0) * 1000, stamp))

    @property
    def first_captured_ms(self) -> int | None:
        return self._shown[0][1].time_ms if self._shown else None

    @property
    def delivered(self) -> int:
        return len(set(self._numbers))

    @property
    def sent(self) -> int:
        return max(self._numbers) - min(self._numbers) + 1 if self._numbers else 0

    def freezes(self, duration_s: float) -> tuple[Freeze, ...]:
        samples = [
            FrameSample(
                received_ms=at_ms,
                latency_ms=0,
                metadata_latency_ms=None,
                frame=number,
                width=0,
                height=0,
            )
            for number, (at_ms, _) in zip(self._numbers, self._shown, strict=True)
        ]
        found = freezes(samples, Span(0, duration_s * 1000))
        return tuple(Freeze(at_s=each.from_ms / 1000, lasted_ms=each.length_ms) for each in found)
