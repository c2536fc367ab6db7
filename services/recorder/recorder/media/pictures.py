"""Decoded video frames of one track, and the choice of the frame for each moment."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

import av
import numpy as np

from recorder.compose.scene import Picture

# How far the recording loop may be behind the room (`pipeline`), and a little more. Older frames are
# forgotten.
_KEPT_SECONDS = 1.4
# More than this waits only while the loop is late: then frames are thinned out until one of both is kept. A
# frame of 1080p has 3 MiB.
_MOST_BYTES = 48 * 1024 * 1024
_LEAST_FRAMES = 16
# The frames that are shown while the loop is not late. They are thinned out last.
_RECENT_SECONDS = 0.4


@dataclass(frozen=True)
class _Arrived:
    picture: Picture
    at: float

    @property
    def size(self) -> int:
        """Bytes of its planes."""
        return self.picture.frame.width * self.picture.frame.height * 3 // 2


class VideoTrack:
    """Frames of one track by their time of arrival (seconds on CLOCK_MONOTONIC).

    One thread pushes, another one takes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Arrived] = deque()
        self._shown: Picture | None = None
        self._serial = 0

    @property
    def has_picture(self) -> bool:
        """Whether a frame has arrived since the track began or was cleared."""
        with self._lock:
            return self._shown is not None or bool(self._waiting)

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the newest frame, upright; None without one."""
        with self._lock:
            newest = self._waiting[-1].picture if self._waiting else self._shown
        if newest is None:
            return None
        width, height = newest.frame.width, newest.frame.height
        return (height, width) if newest.rotation in {90, 270} else (width, height)

    def push(self, frame: av.VideoFrame, rotation: int, at: float) -> None:
        """Add a decoded frame."""
        with self._lock:
            self._serial += 1
            self._waiting.append(_Arrived(Picture(frame, self._serial, rotation), at))
            # One older frame stays: it is shown until the next one.
            while len(self._waiting) > 1 and self._waiting[1].at < at - _KEPT_SECONDS:
                self._waiting.popleft()
            while len(self._waiting) > _LEAST_FRAMES and self._bytes() > _MOST_BYTES:
                self._thin_out()

    def clear(self) -> None:
        """Forget all frames, for example because the camera was turned off."""
        with self._lock:
            self._waiting.clear()
            self._shown = None

    def take(self, at: float, interval: float) -> Picture | None:
        """The picture to show at the time `at`, where one is shown every `interval` seconds.

        The next frame is shown when it is due within half an interval. Frames are left out only if more
        than half an interval late. So a source with the output's rate loses none of its frames to jitter.
        """
        with self._lock:
            if self._waiting and self._waiting[0].at <= at + interval / 2:
                self._shown = self._waiting.popleft().picture
                while self._waiting and self._waiting[0].at <= at - interval / 2:
                    self._shown = self._waiting.popleft().picture
            return self._shown

    def _bytes(self) -> int:
        return sum(each.size for each in self._waiting)

    def _thin_out(self) -> None:
        """Leave out a frame whose neighbours are nearest to each other; a recent one only at last."""
        recent = self._waiting[-1].at - _RECENT_SECONDS
        older = [index for index in range(1, len(self._waiting) - 1) if self._waiting[index].at < recent]
        if older:
            del self._waiting[min(older, key=self._seconds_around)]
        else:
            self._waiting.popleft()

    def _seconds_around(self, index: int) -> float:
        return self._waiting[index + 1].at - self._waiting[index - 1].at


def frame_of(data: bytearray | memoryview, width: int, height: int) -> av.VideoFrame:
    """The yuv420p frame of an I420 buffer: `width * height` bytes of luma, then both chroma planes.

    The planes are filled one by one: PyAV's `from_numpy_buffer` (18.1) loses rows unless the height is a
    multiple of four.
    """
    frame = av.VideoFrame(width, height, "yuv420p")
    pixels = np.frombuffer(data, dtype=np.uint8)
    half_width, half_height = (width + 1) // 2, (height + 1) // 2
    sizes = ((width, height), (half_width, half_height), (half_width, half_height))
    offset = 0
    for plane, (columns, rows) in zip(frame.planes, sizes, strict=True):
        lines = np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(-1, plane.line_size)
        lines[:rows, :columns] = pixels[offset : offset + columns * rows].reshape(rows, columns)
        offset += columns * rows
    return frame
