"""Samples on the recording's time line."""

from __future__ import annotations

import random

import numpy as np
import pytest

from recorder.media.sounds import SAMPLE_RATE, AudioTrack, Heard, Samples, mix

_CHUNK = SAMPLE_RATE // 100


def _tone(begin: int, count: int = _CHUNK) -> Samples:
    """A ramp that says which sample of the source it is."""
    numbers = (np.arange(begin, begin + count) % 20_000).astype(np.int16)
    return np.stack((numbers, numbers), axis=1)


def _loud(count: int = _CHUNK, level: int = 1000) -> Samples:
    return np.full((count, 2), level, np.int16)


def test_jitter_of_arrivals_does_not_change_the_sound() -> None:
    jitter = random.Random(1)  # noqa: S311
    track = AudioTrack()
    for number in range(300):
        track.push(_tone(number * _CHUNK), 10 + (number + 1) * 0.01 + jitter.uniform(0, 0.015))
    heard = track.read(10 * SAMPLE_RATE, 3 * SAMPLE_RATE)
    assert heard is not None
    first = next(index for index, value in enumerate(heard[:, 0]) if value)
    steps = np.diff(heard[first : 2 * SAMPLE_RATE, 0].astype(int)) % 20_000
    assert set(steps) == {1}
    # The beginning is where the first arrival put it.
    assert first <= 0.016 * SAMPLE_RATE


@pytest.mark.parametrize("stall", [0.3, 1.0])
@pytest.mark.parametrize("busy", [0.0, 0.1])
def test_sound_that_a_busy_program_reads_late_is_whole_and_in_its_place(stall: float, busy: float) -> None:
    """The frames of the stall are read one after another, within `busy` seconds."""
    track = AudioTrack()
    began, waiting = 100, round(stall * 100)
    for number in range(500):
        at = 10 + (number + 1) * 0.01
        if began <= number < began + waiting:
            end = 10 + (began + waiting) * 0.01
            at = end + busy * (number - began) / waiting
        track.push(_tone(1 + number * _CHUNK), max(at, 10 + (number + 1) * 0.01))
    heard = track.read(10 * SAMPLE_RATE, 5 * SAMPLE_RATE)
    assert heard is not None
    expected = _tone(1, 500 * _CHUNK)
    assert np.array_equal(heard[:, 0], expected[:, 0])


def test_sound_that_was_lost_before_a_burst_is_silent() -> None:
    """Of a stall of half a second, the last 0.2 s are read at once. What was before is lost."""
    track = AudioTrack()
    for number in range(200):
        if not 100 <= number < 130:
            track.push(_loud(), 2.5 if 130 <= number < 150 else 1 + (number + 1) / 100)
    heard = track.read(SAMPLE_RATE, 2 * SAMPLE_RATE)
    assert heard is not None
    silent = np.flatnonzero(heard[:, 0] == 0)
    assert len(silent) == pytest.approx(0.3 * SAMPLE_RATE, abs=0.001 * SAMPLE_RATE)
    assert silent[0] == pytest.approx(SAMPLE_RATE, abs=2)


def test_the_last_sound_after_a_gap_is_heard_in_time() -> None:
    """The mix is 0.2 s behind the room: by then it is known that nothing follows."""
    track = AudioTrack()
    track.push(_loud(), 1.01)
    track.push(_loud(), 2.01)
    assert track.read(round(1.7 * SAMPLE_RATE), _CHUNK) is None
    heard = track.read(2 * SAMPLE_RATE, _CHUNK)
    assert heard is not None
    assert set(heard[:, 0]) == {1000}


def test_an_interruption_is_silent_and_what_follows_is_in_its_place() -> None:
    track = AudioTrack()
    track.push(_loud(), 1.01)
    track.push(_loud(), 2.01)
    heard = track.read(SAMPLE_RATE, 2 * SAMPLE_RATE)
    assert heard is not None
    loud = np.flatnonzero(heard[:, 0])
    assert loud[0] == 0
    assert loud[_CHUNK] == pytest.approx(SAMPLE_RATE, abs=2)
    assert len(loud) == 2 * _CHUNK


def test_sound_that_comes_a_second_time_is_left_out() -> None:
    track = AudioTrack()
    for number in range(100):
        track.push(_loud(), 1 + (number + 1) / 100)
    # A second of arrivals that belong to the time before: nothing is moved by them.
    track.push(_loud(level=2000), 1.5)
    track.push(_loud(level=3000), 2.01)
    heard = track.read(SAMPLE_RATE, 2 * SAMPLE_RATE)
    assert heard is not None
    assert set(heard[:SAMPLE_RATE, 0]) == {1000}
    assert set(heard[SAMPLE_RATE : SAMPLE_RATE + _CHUNK, 0]) == {3000}


@pytest.mark.parametrize("drift", [-0.001, 0.001])
def test_a_clock_that_drifts_is_followed(drift: float) -> None:
    """A source that is 0.1 % too fast or too slow is after two minutes 0.12 s off, if nobody corrects it."""
    track = AudioTrack()
    seconds = 120
    position = 0
    for number in range(seconds * 100):
        at = 1 + (number + 1) * 0.01 * (1 + drift)
        track.push(_loud(), at)
        position = round((at - 1) * SAMPLE_RATE)
        if number % 100 == 99:
            track.read(SAMPLE_RATE + position - SAMPLE_RATE // 2, 1)
    end = 1 + seconds * (1 + drift)
    heard = track.read(round((end - 0.2) * SAMPLE_RATE), round(0.3 * SAMPLE_RATE))
    assert heard is not None
    last = np.flatnonzero(heard[:, 0])[-1]
    assert last / SAMPLE_RATE == pytest.approx(0.2, abs=0.03)


def test_what_was_read_is_forgotten_and_what_was_not_is_bounded() -> None:
    track = AudioTrack()
    for number in range(2000):
        track.push(_loud(), 1 + (number + 1) / 100)
    assert track.read(SAMPLE_RATE, SAMPLE_RATE) is None
    assert track.read(20 * SAMPLE_RATE, SAMPLE_RATE) is not None


def test_the_mix_adds_tracks_on_their_channels_and_does_not_overflow() -> None:
    tracks = [AudioTrack() for _ in range(3)]
    for track, level in zip(tracks, (1000, 2000, 32_000), strict=True):
        track.push(_loud(level=level), 1.01)
    left, right, both = tracks
    mixed = mix([Heard(left, 1.0, 0.0), Heard(right, 0.0, 1.0)], SAMPLE_RATE, _CHUNK)
    assert mixed[0].tolist() == [1000, 2000]
    left.push(_loud(level=32_000), 1.02)
    both.push(_loud(level=32_000), 1.02)
    mixed = mix([Heard(left), Heard(both)], SAMPLE_RATE + _CHUNK, _CHUNK)
    assert mixed[0].tolist() == [32_767, 32_767]


def test_silence_is_as_long_as_asked_for() -> None:
    assert mix([], 0, 1600).tolist() == np.zeros((1600, 2)).tolist()
    assert mix([Heard(AudioTrack())], 0, 1600).shape == (1600, 2)
