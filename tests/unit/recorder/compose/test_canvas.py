"""The canvas by its pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace

from recorder.compose.canvas import FADE_SECONDS, Canvas
from recorder.compose.geometry import Box, Size
from recorder.compose.layouts import Brightness, Layout, Placed, arrange
from recorder.compose.planes import Planes, yuv
from recorder.compose.scene import Picture, Seat
from recorder.compose.theme import theme_for
from tests.unit.recorder.compose.scenes import (
    BLUE,
    GREEN,
    RED,
    camera,
    cameras,
    looks,
    noise,
    plain,
    screen,
)

HD = Size(1280, 720)
DARK, LIGHT = theme_for(Brightness.DARK), theme_for(Brightness.LIGHT)
LONG_AFTER = 100.0


def place(seats: Sequence[Seat], layout: Layout = Layout.GRID) -> tuple[Placed, ...]:
    return arrange(layout, seats, HD, (), 0.0)


def shown(placed: Sequence[Placed], pictures: Mapping[str, Picture]) -> Planes:
    """What a new canvas shows."""
    return Planes.of(Canvas(HD.width, HD.height, DARK).compose(placed, pictures, 0.0))


def changed(one: Planes, other: Planes) -> Box:
    """The box around all pixels whose luma differs."""
    rows, columns = np.nonzero(one.luma != other.luma)
    assert rows.size, "the pictures are the same"
    left, top = int(columns.min()), int(rows.min())
    return Box(left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1)


def is_within(inner: Box, outer: Box) -> bool:
    return (
        inner.x >= outer.x
        and inner.y >= outer.y
        and inner.right <= outer.right
        and inner.bottom <= outer.bottom
    )


def middle(box: Box) -> tuple[int, int]:
    return box.x + box.width // 2, box.y + box.height // 2


@pytest.mark.parametrize("layout", [Layout.GRID, Layout.SPEAKER])
def test_each_tile_shows_its_camera_and_between_them_is_background(layout: Layout) -> None:
    placed = place(cameras(3), layout)
    colours = {"p0": RED, "p1": GREEN, "p2": BLUE}
    planes = shown(placed, {key: plain(colour) for key, colour in colours.items()})
    covered = np.zeros(planes.luma.shape, bool)
    for tile in placed:
        assert isinstance(tile.content, Seat)
        box, colour = tile.box, colours[tile.content.key]
        covered[box.y : box.bottom, box.x : box.right] = True
        # The middle of each edge and of the tile; the label is elsewhere.
        x, y = middle(box)
        for point in ((x, y), (box.x, y), (box.right - 1, y), (x, box.y), (x, box.bottom - 1)):
            assert looks(planes, *point, colour)
        # The corners are round.
        assert looks(planes, box.x, box.y, DARK.canvas)
        assert looks(planes, box.right - 1, box.bottom - 1, DARK.canvas)
    assert (planes.luma[~covered] == yuv(DARK.canvas)[0]).all()


def test_a_camera_alone_is_shown_as_it_is() -> None:
    picture = noise(1280, 720)
    planes = shown(place(cameras(1)), {"p0": picture})
    for plane, source in zip(planes, Planes.of(picture.frame), strict=True):
        assert np.array_equal(plane, source)


def test_around_a_contained_screen_is_surface() -> None:
    stage, *_ = placed = place([*cameras(1), screen("p0")])
    planes = shown(placed, {"p0/screen": plain(RED, 400, 100)})
    x, y = middle(stage.box)
    height = stage.box.width // 4
    assert looks(planes, x, y - height // 2 + 2, RED)
    assert looks(planes, x, y + height // 2 - 4, RED)
    assert looks(planes, x, y - height // 2 - 4, DARK.surface)
    assert looks(planes, x, y + height // 2 + 4, DARK.surface)


def test_a_name_changes_only_its_place_at_the_bottom_left() -> None:
    tile, _ = placed = place(cameras(2))
    assert isinstance(tile.content, Seat)
    pictures = {"p0": noise(640, 360, 1), "p1": noise(640, 360, 2)}
    renamed = (replace(tile, content=replace(tile.content, name="Wolfgang Amadeus")), placed[1])
    place_of_name = changed(shown(placed, pictures), shown(renamed, pictures))
    bottom_left = Box(tile.box.x, tile.box.bottom - 60, tile.box.width // 2, 60)
    assert is_within(place_of_name, bottom_left)


@pytest.mark.parametrize("seat", [camera("p1"), screen("p1")])
def test_the_longest_name_stays_in_its_tile(seat: Seat) -> None:
    tile = Placed(seat, Box(200, 100, 320, 180))
    renamed = replace(tile, content=replace(seat, name="Wolfgang " * 99))
    pictures = {seat.key: noise(640, 360, 1)}
    label = changed(shown([tile], pictures), shown([renamed], pictures))
    assert is_within(label, tile.box)
    assert label.width > 200


def test_who_speaks_has_a_border_and_the_others_do_not() -> None:
    quiet, speaker = placed = place([camera("p0"), camera("p1", speaking=True, spoke_at=0.0)])
    planes = shown(placed, {"p0": plain(RED), "p1": plain(RED)})
    for point in (
        (speaker.box.x + 1, middle(speaker.box)[1]),
        (speaker.box.right - 2, middle(speaker.box)[1]),
        (middle(speaker.box)[0], speaker.box.y + 1),
        (middle(speaker.box)[0], speaker.box.bottom - 2),
    ):
        assert looks(planes, *point, DARK.speaking)
    assert looks(planes, quiet.box.x + 1, middle(quiet.box)[1], RED)


def test_the_screen_of_who_speaks_has_no_border() -> None:
    stage, *_ = placed = place([*cameras(1), replace(screen("p0"), speaking=True, spoke_at=0.0)])
    planes = shown(placed, {})
    assert looks(planes, stage.box.x + 1, middle(stage.box)[1], DARK.surface)


@pytest.mark.parametrize("count", [1, 2])
def test_without_a_picture_a_tile_has_an_avatar_on_its_surface(count: int) -> None:
    """A camera that is off shows no picture that was left over, and one that has not begun has none yet."""
    off = replace(cameras(1)[0], has_picture=False)
    placed = place([off, *cameras(count)[1:]])
    box = placed[0].box
    planes = shown(placed, {"p0": plain(RED)})
    assert looks(planes, box.x + box.width // 2, box.y + 30, DARK.surface)
    x, y = middle(box)
    around = planes.within(Box(x // 2 * 2 - 60, y // 2 * 2 - 90, 120, 130))
    luma = [yuv(colour)[0] for colour in DARK.avatars]
    assert np.isin(around.luma, luma).mean() > 0.3
    not_begun = shown(place(cameras(count)), {})
    assert np.array_equal(not_begun.within(box).luma, planes.within(box).luma)


def test_participants_have_avatars_of_several_colours() -> None:
    planes = shown(place([replace(seat, has_picture=False) for seat in cameras(16)]), {})
    areas = [(planes.luma == yuv(colour)[0]).sum() for colour in DARK.avatars]
    assert sum(area > 1000 for area in areas) >= 5


def test_a_screen_says_that_it_is_one() -> None:
    stage, first = place([*cameras(1), screen("p0")])
    assert isinstance(stage.content, Seat)
    pictures = {"p0/screen": noise(1280, 720, 1), "p0": noise(640, 360, 2)}
    as_camera = replace(stage.content, source=camera("p0").source)
    label = changed(
        shown((stage, first), pictures), shown((replace(stage, content=as_camera), first), pictures)
    )
    assert is_within(label, Box(stage.box.x, stage.box.bottom - 60, stage.box.width // 2, 60))


def test_a_picture_without_a_label_is_not_drawn_over() -> None:
    whole = Placed(screen("p0"), Box(0, 0, 1280, 720))
    pictures = {"p0/screen": noise(1280, 720, 1)}
    label = changed(shown((whole,), pictures), shown((replace(whole, labelled=False),), pictures))
    assert is_within(label, Box(0, 660, 640, 60))
    assert is_within(changed(shown((replace(whole, labelled=False),), pictures), shown((), {})), whole.box)


def test_a_crowd_s_last_tile_counts_the_hidden_ones() -> None:
    more, less = place(cameras(30)), place(cameras(31))
    assert is_within(changed(shown(more, {}), shown(less, {})), more[-1].box)


def test_an_empty_canvas_has_the_theme_s_colour() -> None:
    for theme in (DARK, LIGHT):
        planes = Planes.of(Canvas(64, 64, theme).compose((), {}, 0.0))
        assert [set(plane.flatten().tolist()) for plane in planes] == [{level} for level in yuv(theme.canvas)]


def test_only_new_pictures_are_scaled_and_only_changed_tiles_are_drawn() -> None:
    canvas, placed = Canvas(1280, 720, DARK), place(cameras(2))
    pictures = {"p0": noise(640, 360, 1, serial=1), "p1": noise(640, 360, 2, serial=1)}
    canvas.compose(placed, pictures, 0.0)
    assert (canvas.counts.scaled_pictures, canvas.counts.drawn_tiles) == (2, 2)
    canvas.compose(placed, pictures, LONG_AFTER)
    assert (canvas.counts.scaled_pictures, canvas.counts.drawn_tiles) == (2, 2)
    canvas.compose(placed, {**pictures, "p1": noise(640, 360, 3, serial=2)}, LONG_AFTER)
    assert (canvas.counts.scaled_pictures, canvas.counts.drawn_tiles) == (3, 3)
    # Somebody begins to speak: the tile is drawn again, from the picture that was scaled before.
    speaks = replace(placed[0], content=camera("p0", speaking=True))
    canvas.compose((speaks, placed[1]), {**pictures, "p1": noise(640, 360, 3, serial=2)}, LONG_AFTER)
    assert (canvas.counts.scaled_pictures, canvas.counts.drawn_tiles) == (3, 4)
    assert canvas.counts.frames == 4


def test_frames_after_changes_are_those_of_a_new_canvas() -> None:
    """Drawing only what changed leaves nothing behind."""
    canvas, people = Canvas(1280, 720, DARK), cameras(3)
    pictures = {seat.key: noise(320, 180, number) for number, seat in enumerate(people)}
    speaking = [replace(people[0], speaking=True, spoke_at=0.0), *people[1:]]
    off = [people[0], replace(people[1], has_picture=False), people[2]]
    for step, seats in enumerate((people, speaking, off, people[:1], [*people, screen("p1")], people)):
        placed, now = place(seats), step * LONG_AFTER
        canvas.compose(placed, pictures, now)
        frame = Planes.of(canvas.compose(placed, pictures, now + FADE_SECONDS))
        for plane, expected in zip(frame, shown(placed, pictures), strict=True):
            assert np.array_equal(plane, expected)


def test_a_new_arrangement_fades_in_and_the_fade_ends_exactly() -> None:
    canvas = Canvas(1280, 720, DARK)
    pictures = {"p0": noise(1280, 720, 1), "p1": noise(1280, 720, 2)}
    before = Planes.of(canvas.compose(place(cameras(1)), pictures, 1.0)).luma.astype(int)
    placed = place(cameras(2))
    after = shown(placed, pictures).luma.astype(int)
    previous = before
    for step in range(6):
        frame = Planes.of(canvas.compose(placed, pictures, 2.0 + step * FADE_SECONDS / 5)).luma.astype(int)
        rises = after >= before
        assert (frame[rises] >= previous[rises]).all()
        assert (frame[~rises] <= previous[~rises]).all()
        if step == 0:
            assert np.array_equal(frame, before)
        if 0 < step < 5:
            assert not np.array_equal(frame, previous)
        previous = frame
    assert np.array_equal(previous, after)


def test_a_fade_that_is_interrupted_goes_on_from_what_is_seen() -> None:
    canvas = Canvas(1280, 720, DARK)
    pictures = {"p0": plain(RED), "p1": plain(GREEN)}
    canvas.compose(place(cameras(1)), pictures, 0.0)
    canvas.compose(place(cameras(2)), pictures, 1.0)
    half = Planes.of(canvas.compose(place(cameras(2)), pictures, 1.0 + FADE_SECONDS / 2))
    back = Planes.of(canvas.compose(place(cameras(1)), pictures, 1.0 + FADE_SECONDS / 2))
    assert np.array_equal(half.luma, back.luma)


def test_a_new_theme_fades_in() -> None:
    canvas = Canvas(64, 64, DARK)
    canvas.compose((), {}, 0.0)
    canvas.theme = LIGHT
    levels = [
        int(Planes.of(canvas.compose((), {}, 1.0 + step * FADE_SECONDS / 2)).luma[0, 0]) for step in range(3)
    ]
    assert levels[0] == yuv(DARK.canvas)[0] < levels[1] < levels[2] == yuv(LIGHT.canvas)[0]


@pytest.mark.parametrize(("width", "height"), [(16, 16), (1280, 720), (358, 638), (22, 1000), (640, 18)])
def test_frames_have_the_canvas_size_and_are_bt_709(width: int, height: int) -> None:
    canvas = Canvas(width, height, DARK)
    placed = arrange(Layout.SPEAKER, cameras(9), Size(width, height), (), 0.0)
    frame = canvas.compose(placed, {seat.key: plain(RED) for seat in cameras(9)}, 0.0)
    assert (frame.width, frame.height, frame.format.name) == (width, height, "yuv420p")
    assert (frame.colorspace, frame.color_range) == (Colorspace.ITU709, ColorRange.MPEG)
    assert frame.pts is None
    x, y = middle(placed[0].box)
    assert looks(Planes.of(frame), x, y, RED)


def test_a_frame_stays_as_it_was_when_the_next_one_is_made() -> None:
    canvas, placed = Canvas(1280, 720, DARK), place(cameras(1))
    first = canvas.compose(placed, {"p0": plain(RED, serial=1)}, 0.0)
    second = canvas.compose(placed, {"p0": plain(BLUE, serial=2)}, 1.0)
    assert isinstance(first, av.VideoFrame)
    assert looks(Planes.of(first), 9, 9, RED)
    assert looks(Planes.of(second), 9, 9, BLUE)
