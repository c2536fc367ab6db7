"""Layouts by their properties: tiles on the canvas, of a good shape, for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.compose.geometry import Box, Size
from recorder.compose.layouts import (
    GRID_LIMIT,
    NARROWEST,
    WIDEST,
    Brightness,
    Fit,
    Layout,
    Others,
    Placed,
    Style,
    arrange,
    parse_style,
)
from recorder.compose.scene import Seat, Source
from recorder.errors import Code, EgressError
from tests.unit.recorder.compose.scenes import camera, cameras, screen

HD = Size(1280, 720)
NOW = 1000.0
sides = st.integers(8, 1000).map(lambda half: 2 * half)
sizes = st.builds(Size, sides, sides)


@st.composite
def rooms(draw: st.DrawFn) -> list[Seat]:
    """A room at one moment, with any number of cameras and some screens."""
    people = [
        camera(
            f"p{number}",
            joined_at=draw(st.floats(0, NOW)),
            has_picture=draw(st.booleans()),
            spoke_at=draw(st.none() | st.floats(0, NOW)),
            speaking=draw(st.booleans()),
        )
        for number in draw(st.lists(st.integers(0, 40), unique=True, max_size=40))
    ]
    return people + [screen(f"p{number}") for number in draw(st.lists(st.integers(0, 3), unique=True))]


def boxes(placed: Sequence[Placed]) -> list[Box]:
    return [tile.box for tile in placed]


def seated(placed: Sequence[Placed]) -> list[str]:
    return [tile.content.key for tile in placed if isinstance(tile.content, Seat)]


def hidden(placed: Sequence[Placed]) -> int:
    return sum(tile.content.count for tile in placed if isinstance(tile.content, Others))


def overlap(one: Box, other: Box) -> bool:
    return one.x < other.right and other.x < one.right and one.y < other.bottom and other.y < one.bottom


@pytest.mark.parametrize(
    ("name", "style"),
    [
        ("speaker", Style(Layout.SPEAKER, Brightness.DARK)),
        ("speaker-dark", Style(Layout.SPEAKER, Brightness.DARK)),
        ("single-speaker-light", Style(Layout.SINGLE_SPEAKER, Brightness.LIGHT)),
        ("grid-light", Style(Layout.GRID, Brightness.LIGHT)),
        ("", Style(Layout.GRID, Brightness.DARK)),
    ],
)
def test_a_layout_name_says_arrangement_and_brightness(name: str, style: Style) -> None:
    assert parse_style(name) == style


@pytest.mark.parametrize("name", ["speakers", "Speaker", "grid-", "light", "speaker-light-dark", " grid"])
def test_an_unknown_layout_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(EgressError) as refused:
        parse_style(name)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert f"layout is {name!r}" in str(refused.value)
    assert "single-speaker-light" in str(refused.value)


@given(st.lists(st.tuples(st.sampled_from(Layout), rooms()), min_size=1, max_size=3), sizes)
def test_tiles_are_on_the_canvas_apart_from_each_other_and_for_everybody(
    moments: list[tuple[Layout, list[Seat]]], size: Size
) -> None:
    placed: tuple[Placed, ...] = ()
    for layout, seats in moments:
        placed = arrange(layout, seats, size, placed, NOW)
        for box in boxes(placed):
            assert all(side % 2 == 0 for side in (box.x, box.y, box.width, box.height))
            assert min(box.x, box.y) >= 0
            assert min(box.width, box.height) >= 2
            assert box.right <= size.width
            assert box.bottom <= size.height
        assert not any(overlap(one, other) for one, other in combinations(boxes(placed), 2))
        assert len(set(seated(placed))) == len(seated(placed))
        assert set(seated(placed)) <= {seat.key for seat in seats}
        assert bool(placed) == bool(seats)
        # A tile that counts the hidden seats counts all of them.
        assert hidden(placed) in (0, len(seats) - len(seated(placed)))


@given(st.integers(2, GRID_LIMIT), st.builds(Size, *[st.integers(160, 1000).map(lambda half: 2 * half)] * 2))
def test_a_grid_has_equal_tiles_in_which_a_face_survives(count: int, size: Size) -> None:
    placed = arrange(Layout.GRID, cameras(count), size, (), NOW)
    shapes = {(tile.box.width, tile.box.height) for tile in placed}
    assert len(shapes) == 1
    width, height = shapes.pop()
    # Rounding to even pixels takes up to two from each side.
    assert NARROWEST * (height - 2) <= width + 2
    assert width - 2 <= WIDEST * (height + 2)


@pytest.mark.parametrize(
    ("size", "count", "columns"),
    [
        (HD, 2, 2),
        (HD, 3, 2),
        (HD, 4, 2),
        (HD, 5, 3),
        (HD, 9, 3),
        (HD, 16, 4),
        (HD, 25, 5),
        (Size(720, 1280), 2, 1),
        (Size(720, 1280), 5, 2),
    ],
)
def test_a_grid_uses_the_canvas_well(size: Size, count: int, columns: int) -> None:
    placed = arrange(Layout.GRID, cameras(count), size, (), NOW)
    first_row = [box for box in boxes(placed) if box.y == placed[0].box.y]
    assert len(first_row) == columns
    area = sum(box.width * box.height for box in boxes(placed))
    assert area > 0.65 * size.width * size.height


@pytest.mark.parametrize("layout", Layout)
def test_one_camera_fills_the_canvas(layout: Layout) -> None:
    (tile,) = arrange(layout, cameras(1), HD, (), NOW)
    assert (tile.box, tile.fit) == (Box(0, 0, 1280, 720), Fit.COVER)


def test_a_crowd_gets_a_tile_that_counts_the_hidden_ones() -> None:
    placed = arrange(Layout.GRID, cameras(30), HD, (), NOW)
    assert len(placed) == GRID_LIMIT
    assert placed[-1].content == Others(6)
    assert seated(placed) == [f"p{number}" for number in range(24)]


def test_a_single_speaker_is_alone() -> None:
    seats = [*cameras(3), camera("talks", spoke_at=NOW - 5, speaking=True)]
    (tile,) = arrange(Layout.SINGLE_SPEAKER, seats, HD, (), NOW)
    assert seated([tile]) == ["talks"]
    assert tile.box == Box.whole(HD)


@pytest.mark.parametrize("size", [HD, Size(720, 1280), Size(640, 360)])
def test_the_speaker_is_large_and_the_others_are_equal(size: Size) -> None:
    stage, *others = arrange(Layout.SPEAKER, cameras(4), size, (), NOW)
    assert len(others) == 3
    assert len({(tile.box.width, tile.box.height) for tile in others}) == 1
    assert stage.box.width * stage.box.height > 0.6 * size.width * size.height
    assert stage.box.width * stage.box.height > 10 * others[0].box.width * others[0].box.height


@pytest.mark.parametrize("layout", [Layout.GRID, Layout.SPEAKER])
def test_a_shared_screen_takes_the_stage_with_its_presenter_beside_it(layout: Layout) -> None:
    # The presenter has nothing else that would make them visible in a crowd.
    seats = [*cameras(30), camera("presenter", joined_at=99.0, has_picture=False), screen("presenter")]
    stage, first, *_ = arrange(layout, seats, HD, (), NOW)
    assert (seated([stage]), stage.fit) == (["presenter/screen"], Fit.CONTAIN)
    assert seated([first]) == ["presenter"]
    assert stage.box.width * stage.box.height > 0.6 * HD.width * HD.height


def test_a_single_speaker_s_canvas_shows_only_the_screen() -> None:
    (tile,) = arrange(Layout.SINGLE_SPEAKER, [*cameras(3), screen("p1")], HD, (), NOW)
    assert seated([tile]) == ["p1/screen"]
    assert (tile.box, tile.fit) == (Box.whole(HD), Fit.CONTAIN)


@given(rooms(), st.sampled_from(Layout))
def test_cameras_cover_and_screens_are_contained(seats: list[Seat], layout: Layout) -> None:
    for tile in arrange(layout, seats, HD, (), NOW):
        is_screen = isinstance(tile.content, Seat) and tile.content.source is Source.SCREEN_SHARE
        assert tile.fit is (Fit.CONTAIN if is_screen else Fit.COVER)


@pytest.mark.parametrize(("width", "height"), [(15, 16), (16, 14), (1281, 720), (0, 720)])
def test_a_canvas_is_even_and_not_smaller_than_16(width: int, height: int) -> None:
    with pytest.raises(ValueError, match=r"(width|height) is \d+, allowed is an even number from 16"):
        Size(width, height)
