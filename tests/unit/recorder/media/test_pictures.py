"""Which frame is shown when."""

from __future__ import annotations

import random

import av
import numpy as np
import pytest

from recorder.media.pictures import VideoTrack, frame_of

_INTERVAL = 1 / 30


def _frame(width: int = 16, height: int = 16) -> av.VideoFrame:
    return av.VideoFrame(width, height, "yuv420p")


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


def _buffered(frames: int, rate: float, width: int, height: int) -> list[float]:
    """The times of the frames that a track still has after `frames` came, the oldest first."""
    track = VideoTrack()
    # One buffer for all: only the number of frames is of interest here.
    frame = _frame(width, height)
    for number in range(frames):
        track.push(frame, 0, number / rate)
    seen: list[int] = []
    for number in range(frames):
        picture = track.take(number / rate, 1 / rate)
        if picture is not None and picture.serial not in seen:
            seen.append(picture.serial)
    return [(serial - 1) / rate for serial in seen]


def test_frames_are_kept_for_as_long_as_the_loop_may_be_late() -> None:
    """It may be 0.2 s behind the room, and a second late."""
    times = _buffered(300, 30, 320, 180)
    assert times == pytest.approx([number / 30 for number in range(300 - len(times), 300)])
    assert 1.3 <= times[-1] - times[0] <= 1.5


def test_large_frames_are_thinned_out_where_they_are_older() -> None:
    """For 1.3 s of 1080p there would have to be 120 MB."""
    times = _buffered(300, 30, 1920, 1080)
    assert 1.3 <= times[-1] - times[0] <= 1.5
    assert 16 <= len(times) <= 17
    recent = [time for time in times if time >= times[-1] - 0.4]
    assert np.diff(recent) == pytest.approx(1 / 30)
    # The others are spread over the rest of the time.
    assert max(np.diff(times)) <= 0.6


def test_a_frame_is_kept_while_it_is_the_one_to_be_shown() -> None:
    """A screen that is still may give a frame every three seconds."""
    track = VideoTrack()
    for at in (0.0, 3.0):
        track.push(_frame(), 0, at)
    picture = track.take(1.8, _INTERVAL)
    assert picture is not None
    assert picture.serial == 1


def test_its_size_is_that_of_the_upright_picture() -> None:
    sizes = []
    track = VideoTrack()
    sizes.append(track.size)
    for rotation in (0, 90, 180, 270):
        track.push(_frame(64, 32), rotation, rotation / 1000)
        sizes.append(track.size)
    assert sizes == [None, (64, 32), (32, 64), (64, 32), (32, 64)]


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
