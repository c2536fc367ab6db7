from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.marker.video import FRAME_MODULUS, TIME_MODULUS, Plane, Stamp, elapsed_ms, paint, read

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


def test_squares_are_64_pixels_in_720p_and_16_in_its_180p_layer() -> None:
    for width, height, square in ((1280, 720, 64), (320, 180, 16)):
        luma = _grey(width, height)
        paint(luma, Stamp(time_ms=0xAAAAAAAA, frame=0xAAAA))
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


# LiveKit's default layers and their bitrates.
LAYERS = [(1280, 720, 1_700_000), (640, 360, 450_000), (320, 180, 160_000)]


@pytest.mark.parametrize(("width", "height", "bitrate"), LAYERS)
@pytest.mark.parametrize("codec", ["libvpx", "libx264"])
def test_stamps_survive_scaling_to_a_layer_and_its_codec(
    codec: str, width: int, height: int, bitrate: int
) -> None:
    sent = [Stamp(time_ms=(3_999_999_000 + 66 * n) % TIME_MODULUS, frame=65_530 + n) for n in range(6)]
    sent += [Stamp(time_ms=4_000_000_000 + 66 * n, frame=n * 2053) for n in range(24)]
    seen = _through(codec, [_picture(stamp) for stamp in sent], width, height, bitrate)
    assert seen == sent


def test_heavy_compression_may_hide_a_stamp_and_never_changes_one() -> None:
    sent = [Stamp(time_ms=123_456_789 + 66 * n, frame=n * 2053) for n in range(30)]
    seen = _through("libx264", [_picture(stamp) for stamp in sent], 80, 46, 2_000)
    assert {stamp for stamp in seen if stamp} <= set(sent)
    assert None in seen, "this case compresses too little to show anything"


def _picture(stamp: Stamp) -> av.VideoFrame:
    """720p I420 with detail around the marker that differs from frame to frame."""
    noise = np.random.default_rng(stamp.frame).integers(60, 190, size=(720, 1280), dtype=np.uint8)
    picture = np.full((1080, 1280), 128, dtype=np.uint8)
    picture[:720] = noise
    paint(picture[:720], stamp)
    return av.VideoFrame.from_ndarray(picture, format="yuv420p")


def _through(
    codec: str, pictures: list[av.VideoFrame], width: int, height: int, bitrate: int
) -> list[Stamp | None]:
    encoder = av.CodecContext.create(codec, "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.bit_rate, encoder.time_base, encoder.framerate = bitrate, Fraction(1, 15), Fraction(15)
    encoder.options = (
        {"deadline": "realtime", "cpu-used": "8"} if codec == "libvpx" else {"tune": "zerolatency"}
    )
    decoder = av.CodecContext.create({"libvpx": "vp8", "libx264": "h264"}[codec], "r")
    assert isinstance(decoder, av.VideoCodecContext)
    packets = []
    for number, picture in enumerate(pictures):
        scaled = picture.reformat(width=width, height=height)
        scaled.pts = number
        packets += encoder.encode(scaled)
    packets += encoder.encode(None)
    frames = [frame for packet in packets for frame in decoder.decode(packet)] + decoder.decode(None)
    pictures_back = [np.asarray(frame.to_ndarray(format="yuv420p"), dtype=np.uint8) for frame in frames]
    return [read(picture[:height]) for picture in pictures_back]
