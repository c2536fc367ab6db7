import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.client.bitrates import usual_kbps
from loadtest.marker.video import (
    FRAME_MODULUS,
    TIME_MODULUS,
    Plane,
    Stamp,
    believable,
    elapsed_ms,
    paint,
    read,
)
from tests.unit.loadtest.marker.coded import FPS, camera, coded, decoded

stamps = st.builds(Stamp, time_ms=st.integers(0, TIME_MODULUS - 1), frame=st.integers(0, FRAME_MODULUS - 1))
sizes = st.tuples(st.integers(80, 1920), st.integers(45, 1080))


def _grey(width: int, height: int) -> Plane:
    return np.full((height, width), 118, dtype=np.uint8)


@given(stamp=stamps, size=sizes)
@settings(deadline=None, max_examples=50)
def test_what_is_painted_is_read_in_any_size(stamp: Stamp, size: tuple[int, int]) -> None:
    luma = _grey(*size)
    paint(luma, stamp)
    assert read(luma) == stamp


@given(stamp=stamps, flipped=st.sets(st.integers(0, 63), min_size=1, max_size=3))
@settings(deadline=None, max_examples=100)
def test_up_to_three_wrong_squares_are_always_noticed(stamp: Stamp, flipped: set[int]) -> None:
    luma = _grey(1280, 720)
    paint(luma, stamp)
    for square in flipped:
        row, column = divmod(square, 16)
        top, left = 64 * (1 + row), 64 * (2 + column)
        luma[top : top + 64, left : left + 64] = 251 - luma[top : top + 64, left : left + 64]
    assert read(luma) is None


@pytest.mark.parametrize("level", [0, 16, 118, 235, 255])
def test_a_picture_of_one_shade_carries_no_stamp(level: int) -> None:
    assert read(np.full((360, 640), level, dtype=np.uint8)) is None


def test_areas_of_one_shade_carry_no_stamp() -> None:
    """Each half of each row all black or all white: what damaged pictures look like."""
    for shades in range(256):
        halves = [235 if shades >> half & 1 else 16 for half in range(8)]
        luma = _grey(1280, 720)
        for half, level in enumerate(halves):
            row, side = divmod(half, 2)
            left = 64 * (2 + 8 * side)
            luma[64 * (1 + row) : 64 * (2 + row), left : left + 8 * 64] = level
        assert read(luma) is None, f"{halves}"


def test_squares_are_64_pixels_in_720p_and_16_in_its_180p_layer() -> None:
    for width, height, square in ((1280, 720, 64), (320, 180, 16)):
        luma = _grey(width, height)
        # Over the marker's fixed pattern this is black and white in turn.
        paint(luma, Stamp(time_ms=0xAAAAAAAA ^ 0x5AC3961E, frame=0xAAAA ^ 0x78A5))
        changed = np.flatnonzero(np.diff(luma[square + square // 2].astype(int)))
        assert set(np.diff(changed)) == {square}


def test_a_picture_too_small_is_refused_when_painting_and_empty_when_reading() -> None:
    with pytest.raises(ValueError, match="60×34 is too small"):
        paint(_grey(60, 34), Stamp(0, 0))
    assert read(_grey(60, 34)) is None


@pytest.mark.parametrize(("time_ms", "frame"), [(-1, 0), (TIME_MODULUS, 0), (0, -1), (0, FRAME_MODULUS)])
def test_a_stamp_out_of_range_is_refused(time_ms: int, frame: int) -> None:
    with pytest.raises(ValueError, match="allowed are 0 to"):
        Stamp(time_ms, frame)


@given(stamped=st.integers(0, 2**40), passed=st.floats(-1000, 3_600_000))
def test_elapsed_time_survives_the_wrap_of_the_clock(stamped: int, passed: float) -> None:
    assert elapsed_ms(stamped % TIME_MODULUS, stamped + passed) == pytest.approx(passed, abs=1e-3)


# LiveKit's usual layers.
LAYERS = [(1280, 720), (640, 360), (320, 180)]
_PICTURES = 30


def _stamps(count: int) -> list[Stamp]:
    """Of pictures in a row, over the wraps of both counters."""
    return [
        Stamp(
            time_ms=(TIME_MODULUS - 500 + 66 * n) % TIME_MODULUS,
            frame=(FRAME_MODULUS - 5 + n) % FRAME_MODULUS,
        )
        for n in range(count)
    ]


@pytest.mark.parametrize(("width", "height"), LAYERS)
@pytest.mark.parametrize("codec", ["libvpx", "libx264"])
def test_stamps_survive_each_layer_and_codec_at_the_usual_bitrate(
    codec: str, width: int, height: int
) -> None:
    sent = _stamps(_PICTURES)
    bitrate = usual_kbps(height) * 1000
    packets = coded(codec, camera(tuple(sent)), width, height, bitrate)
    settled = [len(packet) for packet in packets[len(packets) // 2 :]]
    used = sum(settled) * 8 / len(settled) * FPS
    # Otherwise this would show that easy pictures survive.
    assert used > 0.7 * bitrate, f"the pictures need only {used / 1000:.0f} kbit/s"
    assert [read(luma) for luma in decoded(codec, packets, height)] == sent


@pytest.mark.parametrize(("width", "height"), LAYERS)
@pytest.mark.parametrize("codec", ["libvpx", "libx264"])
def test_lost_and_damaged_coded_pictures_hide_stamps_and_never_change_one(
    codec: str, width: int, height: int
) -> None:
    sent = _stamps(_PICTURES)
    whole = coded(codec, camera(tuple(sent)), width, height, usual_kbps(height) * 1000)
    rng = np.random.default_rng(height)
    unreadable = 0
    for burst in (1, 3, 8):
        lossy = list(whole)
        for start in rng.choice(np.arange(2, 21), size=2, replace=False):
            del lossy[start : start + burst]
        damaged = [_cut_or_flipped(data, rng) if n % 4 == 3 else data for n, data in enumerate(lossy)]
        seen = [read(luma) for luma in decoded(codec, damaged, height)]
        assert {stamp for stamp in seen if stamp} <= set(sent)
        unreadable += seen.count(None)
    assert unreadable, "nothing was damaged: this shows nothing"


def _cut_or_flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """A coded picture of which the end did not come, or whose middle came wrong."""
    if rng.random() < 0.3:
        return data[: len(data) // 2]
    noisy = bytearray(data)
    for place in rng.integers(len(data) // 10, len(data), size=6):
        noisy[place] ^= int(rng.integers(1, 256))
    return bytes(noisy)


@given(old=stamps, new=stamps, rows=st.sampled_from((1, 3)), from_top=st.booleans())
@settings(deadline=None, max_examples=60)
def test_a_picture_of_two_pictures_parts_is_never_a_third_stamp(
    old: Stamp, new: Stamp, rows: int, from_top: bool
) -> None:
    torn, other = _grey(640, 360), _grey(640, 360)
    paint(torn, old)
    paint(other, new)
    cut = 32 * (1 + rows)
    part = slice(0, cut) if from_top else slice(cut, None)
    torn[part] = other[part]
    # One row is foreign to the other three, and a CRC-16 notices all damage within 16 bits.
    assert read(torn) in {None, old, new}


@given(noise=st.integers(0, 2**32 - 1), contrast=st.integers(0, 60))
@settings(deadline=None, max_examples=100)
def test_a_picture_without_a_marker_is_none_whatever_it_shows(noise: int, contrast: int) -> None:
    luma = np.random.default_rng(noise).normal(118, contrast, size=(360, 640))
    assert read(np.clip(luma, 0, 255).astype(np.uint8)) is None


@pytest.mark.parametrize(
    ("ago_ms", "is_believed"),
    [(0, True), (599_000, True), (-59_000, True), (601_000, False), (-61_000, False)],
)
def test_a_time_that_cannot_be_is_not_believed(ago_ms: int, is_believed: bool) -> None:
    now_ms = 5 * 2**32 + 1000.0
    stamp = Stamp(time_ms=int(now_ms - ago_ms) % TIME_MODULUS, frame=0)
    assert believable(stamp, now_ms) is is_believed


@pytest.mark.parametrize("faded", [0.3, 0.6, 0.8])
def test_a_square_that_is_neither_black_nor_white_is_not_guessed(faded: float) -> None:
    luma = _grey(640, 360)
    paint(luma, Stamp(time_ms=1234, frame=5))
    square = luma[32:64, 64:96]
    square[:] = (125.5 + (square.astype(float) - 125.5) * (1 - faded)).astype(np.uint8)
    expected = None if (235 - 125.5) * (1 - faded) < 30 else Stamp(time_ms=1234, frame=5)
    assert read(luma) == expected
