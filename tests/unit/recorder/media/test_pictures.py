"""Which frame is shown when."""

from __future__ import annotations

import random

import av
import numpy as np
import pytest

from recorder.media.pictures import VideoTrack, frame_of

_INTERVAL = 1 / 30


def _frame() -> av.VideoFrame:
    return av.VideoFrame(16, 16, "yuv420p")


def _shown(arrivals: list[float], ticks: int, interval: float = _INTERVAL) -> list[int]:
    """The serial numbers that are shown at each tick; 0 before the first frame."""
    track = VideoTrack()
    waiting = sorted(arrivals)
    shown = []
    for tick in range(ticks):
        at = tick * interval
        # A frame is there some time before its moment: the recording is behind the room.
        while waiting and waiting[0] <= at + 0.2:
            track.push(_frame(), 0, waiting.pop(0))
        picture = track.take(at, interval)
        shown.append(picture.serial if picture is not None else 0)
    return shown


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.5, 0.75])
def test_no_frame_of_a_jittering_source_with_the_same_rate_is_left_out(phase: float) -> None:
    jitter = random.Random(1)  # noqa: S311
    arrivals = [(number + phase) * _INTERVAL + jitter.uniform(-0.012, 0.012) for number in range(300)]
    shown = _shown(arrivals, 310)
    assert set(range(2, 300)) <= set(shown)
    assert shown == sorted(shown)


def test_a_source_with_half_the_rate_shows_each_frame_twice() -> None:
    shown = _shown([number * 2 * _INTERVAL for number in range(100)], 200)
    assert all(shown.count(serial) == 2 for serial in range(2, 99))


def test_a_source_with_twice_the_rate_loses_every_second_frame_and_does_not_fall_behind() -> None:
    shown = _shown([number * _INTERVAL / 2 for number in range(400)], 199)
    assert len(set(shown)) == 199
    assert shown[-1] == pytest.approx(398, abs=2)


def test_frames_that_waited_for_a_stalled_encoder_are_left_out() -> None:
    track = VideoTrack()
    for number in range(20):
        track.push(_frame(), 0, number * _INTERVAL)
    picture = track.take(19 * _INTERVAL, _INTERVAL)
    assert picture is not None
    assert picture.serial >= 19


def test_the_last_picture_stays_until_the_track_is_cleared() -> None:
    track = VideoTrack()
    assert track.take(0.0, _INTERVAL) is None
    track.push(_frame(), 90, 0.0)
    first = track.take(0.0, _INTERVAL)
    assert first is not None
    assert first.rotation == 90
    assert track.take(60.0, _INTERVAL) == first
    track.clear()
    assert not track.has_picture
    assert track.take(61.0, _INTERVAL) is None


@pytest.mark.parametrize(("width", "height"), [(16, 16), (160, 90), (17, 11), (320, 182)])
def test_a_frame_has_all_pixels_of_its_buffer(width: int, height: int) -> None:
    half = (width + 1) // 2, (height + 1) // 2
    size = width * height + 2 * half[0] * half[1]
    data = np.random.default_rng(1).integers(0, 255, size, dtype=np.uint8)
    frame = frame_of(bytearray(data.tobytes()), width, height)
    lines = np.frombuffer(memoryview(frame.planes[0]), np.uint8).reshape(-1, frame.planes[0].line_size)
    assert np.array_equal(lines[:height, :width].ravel(), data[: width * height])
    chroma = np.frombuffer(memoryview(frame.planes[2]), np.uint8).reshape(-1, frame.planes[2].line_size)
    assert np.array_equal(chroma[: half[1], : half[0]].ravel(), data[-half[0] * half[1] :])
