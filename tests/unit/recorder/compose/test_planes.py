"""Colours and blending, as levels of Y, Cb and Cr."""

from __future__ import annotations

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.compose.drawing import painted, rounded, stacked
from recorder.compose.geometry import Box, Size
from recorder.compose.planes import Planes, mix, overlay, yuv
from recorder.compose.theme import Rgb
from tests.unit.recorder.compose.scenes import BLUE, GREEN, RED, WHITE, at

levels = st.integers(0, 255)
colours = st.tuples(levels, levels, levels)


def filled(colour: Rgb, width: int = 8, height: int = 8) -> Planes:
    planes = Planes.empty(Box(0, 0, width, height))
    planes.fill(colour)
    return planes


# ITU-R BT.709's colour bars in limited range.
@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((0, 0, 0), (16, 128, 128)),
        (WHITE, (235, 128, 128)),
        (RED, (63, 102, 240)),
        ((0, 255, 0), (173, 42, 26)),
        (BLUE, (32, 240, 118)),
    ],
)
def test_colours_are_bt_709_in_limited_range(colour: Rgb, expected: tuple[int, int, int]) -> None:
    assert yuv(colour) == expected
    assert at(filled(colour), 3, 3) == expected


@given(colours, colours, st.floats(0, 1))
def test_a_transparent_colour_lies_between_what_is_below_and_itself(
    below: Rgb, above: Rgb, opacity: float
) -> None:
    planes = filled(below)
    area = Box(0, 0, 4, 4)
    coverage = np.full((4, 4), 1, np.float32)
    overlay(painted(coverage, above, opacity), 2, 4).blend_onto(planes)
    assert at(planes, 0, 0) == yuv(below)
    assert at(planes, area.width + 2, 4) == yuv(below)
    for level, old, new in zip(at(planes, 3, 5), yuv(below), yuv(above), strict=True):
        assert abs(level - (old + (new - old) * opacity)) <= 3


@pytest.mark.parametrize("colour", [(0, 0, 0), WHITE, RED, BLUE, (74, 160, 255)])
def test_an_opaque_overlay_replaces_and_a_transparent_one_does_nothing(colour: Rgb) -> None:
    planes = filled(GREEN)
    overlay(np.zeros((4, 4, 4), np.uint8), 0, 0).blend_onto(planes)
    assert at(planes, 1, 1) == yuv(GREEN)
    overlay(painted(np.ones((4, 4), np.float32), colour), 0, 0).blend_onto(planes)
    assert at(planes, 1, 1) == yuv(colour)


@given(st.integers(0, 2**32), st.integers(0, 255))
def test_a_mixture_goes_from_one_picture_to_the_other(seed: int, share: int) -> None:
    random = np.random.default_rng(seed)
    old, new, less, more = (Planes.empty(Size(16, 16)) for _ in range(4))
    for plane in (*old, *new):
        plane[...] = random.integers(0, 256, plane.shape)
    mix(less, old, new, share)
    mix(more, old, new, share + 1)
    for before, after, one, two in zip(old, new, less, more, strict=True):
        rises = after >= before
        assert (one[rises] <= two[rises]).all()
        assert (one[~rises] >= two[~rises]).all()
        assert ((one >= np.minimum(before, after)) & (one <= np.maximum(before, after))).all()
    mix(less, old, new, 0)
    mix(more, old, new, 256)
    for ends, expected in ((less, old), (more, new)):
        assert all(np.array_equal(one, two) for one, two in zip(ends, expected, strict=True))


def test_a_rounded_shape_has_smooth_corners_and_the_right_area() -> None:
    circle = rounded(Box(0, 0, 40, 40), 20, Box(0, 0, 40, 40))
    assert abs(circle.sum() - np.pi * 20**2) < 4
    assert circle[0, 0] == 0
    assert circle[20, 20] == 1
    assert ((circle > 0) & (circle < 1)).any()
    # A part of a shape is the same as in the whole.
    assert np.array_equal(rounded(Box(0, 0, 40, 40), 20, Box(4, 6, 8, 10)), circle[6:16, 4:12])


def test_an_image_that_reaches_over_the_edge_is_cut() -> None:
    below = painted(np.zeros((4, 4), np.float32), WHITE)
    above = painted(np.ones((4, 4), np.float32), RED)
    for x, y, covered in ((-2, -2, 4), (3, 1, 3), (9, 0, 0), (0, -4, 0)):
        assert (stacked(below, above, x, y)[..., 3] == 255).sum() == covered


def test_a_frame_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r"frame.format is rgb24, allowed is yuv420p"):
        Planes.of(av.VideoFrame(16, 16, "rgb24"))
