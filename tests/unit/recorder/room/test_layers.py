"""How large a picture each tile needs, and for how long a camera keeps a larger layer."""

from __future__ import annotations

import pytest

from recorder.compose.geometry import Box
from recorder.compose.layouts import Fit, Placed
from recorder.compose.scene import Seat, Source
from recorder.room.layers import Layers, Shown, picture_size

_HD = (1280, 720)
_ALICE = Shown("alice", Source.CAMERA)


def _tile(width: int, height: int, *, who: str = "alice", fit: Fit = Fit.COVER) -> Placed:
    seat = Seat(f"{who}/camera", who, who, Source.CAMERA, has_picture=True, joined_at=0)
    return Placed(seat, Box(0, 0, width, height), fit)


@pytest.mark.parametrize(
    ("tile", "published", "size"),
    [
        (_tile(320, 180), _HD, (320, 180)),
        # The sides are cropped, so the height decides, and the other way round.
        (_tile(320, 360), _HD, (640, 360)),
        (_tile(640, 180), _HD, (640, 360)),
        # The whole picture is visible, with bars.
        (_tile(320, 360, fit=Fit.CONTAIN), _HD, (320, 180)),
        # A portrait camera.
        (_tile(360, 180), (720, 1280), (360, 640)),
        # Never larger than what is published.
        (_tile(1920, 1080), _HD, _HD),
        # Old clients do not say their size.
        (_tile(320, 180), (0, 0), (320, 180)),
    ],
    ids=["same shape", "cropped sides", "cropped height", "bars", "portrait", "larger", "unknown"],
)
def test_a_picture_fills_its_tile(tile: Placed, published: tuple[int, int], size: tuple[int, int]) -> None:
    assert picture_size(tile, published) == size


def test_a_camera_grows_at_once_and_shrinks_after_five_seconds() -> None:
    layers = Layers()
    layers.look([_tile(320, 180)])
    assert layers.needed(_ALICE, _HD) == (320, 180)
    layers.look([_tile(1280, 720)])
    assert layers.needed(_ALICE, _HD) == _HD
    for _ in range(9):
        layers.look([_tile(320, 180)])
        assert layers.needed(_ALICE, _HD) == _HD
    layers.look([_tile(320, 180)])
    assert layers.needed(_ALICE, _HD) == (320, 180)


def test_a_camera_without_a_tile_needs_the_smallest_layer() -> None:
    layers = Layers()
    layers.look([_tile(320, 180, who="bob")])
    assert layers.needed(_ALICE, _HD) < (32, 32)
