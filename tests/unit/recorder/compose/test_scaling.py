"""Pictures in boxes of another size, shape and orientation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.compose.geometry import Box
from recorder.compose.layouts import Fit
from recorder.compose.planes import Planes
from recorder.compose.scaling import Scaler
from recorder.compose.scene import Picture
from recorder.compose.theme import Rgb
from tests.unit.recorder.compose.scenes import BLUE, GREEN, RED, WHITE, looks, noise, plain, quarters

BOX = Box(0, 0, 160, 90)


def corners(planes: Planes) -> list[Rgb | None]:
    """The colours of the quarters: top left, top right, bottom left, bottom right."""
    places = [(planes.width * x // 4, planes.height * y // 4) for y in (1, 3) for x in (1, 3)]
    known = (RED, GREEN, BLUE, WHITE)
    return [next((colour for colour in known if looks(planes, x, y, colour)), None) for x, y in places]


@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        (0, [RED, GREEN, BLUE, WHITE]),
        (90, [BLUE, RED, WHITE, GREEN]),
        (180, [WHITE, BLUE, GREEN, RED]),
        (270, [GREEN, WHITE, RED, BLUE]),
    ],
)
def test_a_picture_is_turned_clockwise(rotation: int, expected: list[Rgb], fit: Fit) -> None:
    picture = quarters([RED, GREEN, BLUE, WHITE], 320, 180, rotation)
    assert corners(Scaler().fit(picture, BOX, fit).planes) == expected


def test_cover_crops_the_sides_alike() -> None:
    # A square in the middle of a wide picture is all that a square box shows.
    picture = plain(RED, 320, 80)
    Planes.of(picture.frame).within(Box(120, 0, 80, 80)).fill(GREEN)
    fitted = Scaler().fit(picture, Box(0, 0, 160, 160), Fit.COVER)
    assert fitted.inside == Box(0, 0, 160, 160)
    for x, y in ((8, 8), (151, 8), (8, 151), (151, 151), (80, 80)):
        assert looks(fitted.planes, x, y, GREEN)


@pytest.mark.parametrize(
    ("width", "height", "rotation", "inside"),
    [
        (320, 180, 0, Box(0, 0, 160, 90)),
        (180, 320, 90, Box(0, 0, 160, 90)),
        (100, 100, 0, Box(34, 0, 90, 90)),
        (400, 100, 0, Box(0, 24, 160, 40)),
        (400, 100, 90, Box(68, 0, 22, 90)),
    ],
)
def test_contain_shows_all_of_it_in_the_middle(width: int, height: int, rotation: int, inside: Box) -> None:
    picture = quarters([RED, GREEN, BLUE, WHITE], width, height, rotation)
    fitted = Scaler().fit(picture, BOX, Fit.CONTAIN)
    assert fitted.inside == inside
    assert None not in corners(fitted.planes)


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    picture = noise(160, 90)
    fitted = Scaler().fit(picture, BOX, Fit.COVER)
    for given_plane, plane in zip(Planes.of(picture.frame), fitted.planes, strict=True):
        assert np.array_equal(given_plane, plane)


def test_fine_detail_is_averaged_and_not_picked() -> None:
    picture = plain(WHITE, 640, 360)
    Planes.of(picture.frame).luma[:, ::2] = 16
    luma = Scaler().fit(picture, BOX, Fit.COVER).planes.luma[10:-10, 10:-10]
    assert abs(luma.astype(int) - (235 + 16) // 2).max() < 12


@settings(max_examples=150)
@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.sampled_from([0, 90, 180, 270]),
    st.tuples(st.integers(1, 200), st.integers(1, 200)).map(lambda half: Box(0, 0, 2 * half[0], 2 * half[1])),
    st.sampled_from(Fit),
)
def test_a_picture_of_any_size_fits(width: int, height: int, rotation: int, box: Box, fit: Fit) -> None:
    fitted = Scaler().fit(plain(RED, width, height, rotation=rotation), box, fit)
    inside = fitted.inside
    assert (fitted.planes.width, fitted.planes.height) == (inside.width, inside.height)
    assert min(inside.x, inside.y) >= 0
    assert inside.right <= box.width
    assert inside.bottom <= box.height
    assert fit is Fit.CONTAIN or inside == box
    # swscale rounds at each of its steps: from 2 x 307 to 2 x 4 pixels, the error is 3.
    assert looks(fitted.planes, inside.width // 2, inside.height // 2, RED, tolerance=6)


def test_a_rotation_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="rotation is 45, allowed is 0, 90, 180 or 270"):
        Scaler().fit(Picture(plain(RED).frame, 0, rotation=45), BOX, Fit.COVER)
