from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.marker.audio import SAMPLE_RATE, TONES_HZ, ToneListener, tone_samples

Samples = npt.NDArray[np.int16]


def _heard(samples: Samples) -> ToneListener:
    listener = ToneListener()
    listener.hear(samples)
    return listener


@given(start=st.integers(0, 10 * SAMPLE_RATE), pieces=st.lists(st.integers(1, 5000), min_size=1, max_size=40))
@settings(deadline=None, max_examples=30)
def test_pieces_of_any_length_give_the_tally_of_the_whole(start: int, pieces: list[int]) -> None:
    whole = tone_samples(start, sum(pieces))
    piecewise = ToneListener()
    position = 0
    for length in pieces:
        piecewise.hear(whole[position : position + length])
        position += length
    assert piecewise.tally == _heard(whole).tally
    assert piecewise.tally.steps_out_of_order == 0


def test_three_seconds_have_a_change_every_fifth_of_a_second_and_all_in_order() -> None:
    tally = _heard(tone_samples(0, 3 * SAMPLE_RATE)).tally
    assert (tally.windows, tally.marked) == (150, 150)
    assert (tally.steps_in_order, tally.steps_out_of_order) == (14, 0)


def test_samples_made_in_pieces_join_without_a_seam() -> None:
    pieces = [tone_samples(start, 960) for start in range(0, 2 * SAMPLE_RATE, 960)]
    np.testing.assert_array_equal(np.concatenate(pieces), tone_samples(0, 2 * SAMPLE_RATE))
    # The steepest that the highest tone can rise from one sample to the next, at its amplitude.
    steepest = 2 * np.pi * max(TONES_HZ) / SAMPLE_RATE * 8000
    assert np.abs(np.diff(tone_samples(0, 2 * SAMPLE_RATE).astype(int))).max() <= steepest + 1


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(SAMPLE_RATE, dtype=np.int16),
        np.random.default_rng(1).normal(0, 5000, SAMPLE_RATE).astype(np.int16),
        (8000 * np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)).astype(np.int16),
        (tone_samples(0, SAMPLE_RATE) // 100).astype(np.int16),
        # Two publishers at once, half a cycle apart: neither can be told from the other.
        (tone_samples(0, SAMPLE_RATE) // 2 + tone_samples(2 * SAMPLE_RATE // 5, SAMPLE_RATE) // 2),
    ],
    ids=["silence", "noise", "another tone", "faint", "two at once"],
)
def test_other_sounds_are_not_the_marker(sound: Samples) -> None:
    tally = _heard(sound).tally
    assert (tally.windows, tally.marked, tally.steps_in_order) == (50, 0, 0)


def test_one_tone_that_goes_on_and_on_makes_no_step() -> None:
    tally = _heard(np.tile(tone_samples(0, SAMPLE_RATE // 5), 10)).tally
    assert tally.marked == tally.windows == 100
    assert (tally.steps_in_order, tally.steps_out_of_order) == (0, 0)


def test_a_sequence_that_runs_backwards_or_has_gaps_is_out_of_order() -> None:
    step = SAMPLE_RATE // 5
    steps = [tone_samples(n * step, step) for n in range(12)]
    assert _heard(np.concatenate(steps[::-1])).tally.steps_in_order == 0
    assert _heard(np.concatenate(steps[::-1])).tally.steps_out_of_order == 11
    assert _heard(np.concatenate(steps[:4] + steps[5:])).tally.steps_out_of_order == 1


def test_the_sequence_survives_opus_at_24_kbit_per_second() -> None:
    tally = _heard(_through_opus(tone_samples(0, 3 * SAMPLE_RATE), bitrate=24_000)).tally
    assert tally.steps_in_order == 14
    assert tally.steps_out_of_order == 0
    assert tally.marked >= 0.85 * tally.windows


def _through_opus(samples: Samples, *, bitrate: int) -> Samples:
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = SAMPLE_RATE, "mono", "s16"
    encoder.bit_rate, encoder.time_base = bitrate, Fraction(1, SAMPLE_RATE)
    packets = []
    for start in range(0, len(samples), 960):
        frame = av.AudioFrame.from_ndarray(
            samples[np.newaxis, start : start + 960], format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts = SAMPLE_RATE, start
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = SAMPLE_RATE, "mono"
    resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
    decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    return np.concatenate([out.to_ndarray()[0] for frame in decoded for out in resampler.resample(frame)])
