"""Where each seat is shown: the layouts of LiveKit's default templates as boxes on a canvas.

Facts: livekit/egress v1.14, `template-default/src/Room.tsx`. An empty layout name is a grid there, and a grid
with a shared screen becomes the speaker layout. The templates show a grid for unknown names too; this worker
refuses these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from recorder.compose.geometry import Box, Size, even
from recorder.compose.scene import Seat, Source
from recorder.compose.seating import Seating, camera_of, choose_stage, in_stable_order, seat_within
from recorder.errors import invalid_field

# More tiles than this are too small to recognise anybody.
GRID_LIMIT = 25
# The shape of a grid's tiles, as width / height. Within these limits a face survives the crop.
NARROWEST, WIDEST = 3 / 4, 16 / 9
# Smaller tiles show nothing; a canvas without room for one has fewer of them.
_SMALLEST_TILE = Size(32, 18)
_GAP = 0.012  # of the shorter side
_STRIP_WIDTH = 0.18  # of a landscape canvas
_STRIP_TILES = 4  # across a portrait canvas


class Layout(StrEnum):
    """How tiles are arranged."""

    SPEAKER = "speaker"
    GRID = "grid"
    SINGLE_SPEAKER = "single-speaker"


class Brightness(StrEnum):
    """The background."""

    DARK = "dark"
    LIGHT = "light"


@dataclass(frozen=True)
class Style:
    """What a layout name of the Egress API means."""

    layout: Layout
    brightness: Brightness


class Fit(StrEnum):
    """How a picture of another shape gets into its box."""

    COVER = "cover"  # it fills the box; what does not fit is cropped
    CONTAIN = "contain"  # all of it is visible; the rest of the box is background


@dataclass(frozen=True)
class Others:
    """Stands for the seats that have no tile."""

    count: int


@dataclass(frozen=True)
class Placed:
    """A tile: its content and its position. `labelled`: whether a name may be drawn over the picture."""

    content: Seat | Others
    box: Box
    fit: Fit = Fit.COVER
    labelled: bool = True


def parse_style(name: str) -> Style:
    """Read a layout name, such as `speaker` or `grid-light`.

    Raises:
        EgressError: INVALID_ARGUMENT for a name that LiveKit's default templates do not have.
    """
    if not name:
        return Style(Layout.GRID, Brightness.DARK)
    styles = {
        f"{layout}{suffix}": Style(layout, brightness)
        for layout in Layout
        for suffix, brightness in (
            ("", Brightness.DARK),
            ("-light", Brightness.LIGHT),
            ("-dark", Brightness.DARK),
        )
    }
    if name not in styles:
        raise invalid_field("layout", name, f"one of {', '.join(styles)}")
    return styles[name]


def arrange(
    layout: Layout, seats: Sequence[Seat], size: Size, previous: Sequence[Placed], now: float
) -> tuple[Placed, ...]:
    """Place the seats.

    Args:
        previous: what this function returned last, or empty; visible seats keep their places.
        now: seconds on CLOCK_MONOTONIC.

    Returns:
        Tiles that do not overlap; none without a seat. In layouts with a stage, the stage is the first.
    """
    if not seats:
        return ()
    known = [placed.content.key for placed in previous if isinstance(placed.content, Seat)]
    shares_screen = any(seat.source is Source.SCREEN_SHARE for seat in seats)
    if layout is Layout.GRID and not shares_screen:
        return _grid(seats, size, known, now)
    stage = choose_stage(seats, known[0] if known else None, now)
    others = [seat for seat in seats if seat is not stage]
    strip = _strip(size)
    if layout is Layout.SINGLE_SPEAKER or not others or not strip:
        return (_place(stage, Box.whole(size)),)
    # A seat that goes onto the stage changes places with the one that leaves it.
    order = in_stable_order(others, [known[0] if key == stage.key else key for key in known])
    presenter = camera_of(stage.participant, others) if stage.source is Source.SCREEN_SHARE else None
    seating = seat_within(order, len(strip), now, first=presenter)
    return (_place(stage, _beside_strip(size)), *_fill(seating, strip))


def _grid(seats: Sequence[Seat], size: Size, known: Sequence[str], now: float) -> tuple[Placed, ...]:
    order = in_stable_order(seats, known)
    for tiles in range(min(len(order), GRID_LIMIT), 1, -1):
        boxes = _grid_boxes(tiles, size)
        if boxes[0].width >= _SMALLEST_TILE.width and boxes[0].height >= _SMALLEST_TILE.height:
            return _fill(seat_within(order, tiles, now), boxes)
    return _fill(seat_within(order, 1, now), [Box.whole(size)])


def _fill(seating: Seating, boxes: Sequence[Box]) -> tuple[Placed, ...]:
    """Give the seats the boxes in order; the box after them counts the hidden ones, if there is one left."""
    placed = [_place(seat, box) for seat, box in zip(seating.visible, boxes, strict=False)]
    if seating.hidden and len(placed) < len(boxes):
        placed.append(Placed(Others(seating.hidden), boxes[len(placed)]))
    return tuple(placed)


def _place(seat: Seat, box: Box) -> Placed:
    return Placed(seat, box, Fit.CONTAIN if seat.source is Source.SCREEN_SHARE else Fit.COVER)


def _gap(size: Size) -> int:
    return even(_GAP * min(size.width, size.height))


def _grid_boxes(tiles: int, size: Size) -> list[Box]:
    """Equal boxes, centred, as large as `tiles` of them can be; the last row is centred too."""
    gap = _gap(size)
    columns, width, height = max(
        ((columns, *_tile(tiles, columns, size)) for columns in range(1, tiles + 1)),
        key=lambda option: _worth(option[1], option[2]),
    )
    rows = math.ceil(tiles / columns)
    top = even((size.height - rows * height - (rows - 1) * gap) / 2)
    boxes = []
    for row in range(rows):
        in_row = min(columns, tiles - row * columns)
        left = even((size.width - in_row * width - (in_row - 1) * gap) / 2)
        boxes += [
            Box(left + column * (width + gap), top + row * (height + gap), width, height)
            for column in range(in_row)
        ]
    return boxes


def _tile(tiles: int, columns: int, size: Size) -> tuple[int, int]:
    """Width and height of a tile of the allowed shape, if there are `columns` beside each other."""
    gap = _gap(size)
    rows = math.ceil(tiles / columns)
    width = (size.width - (columns + 1) * gap) / columns
    height = (size.height - (rows + 1) * gap) / rows
    width, height = min(width, height * WIDEST), min(height, width / NARROWEST)
    return max(0, even(width)), max(0, even(height))


def _worth(width: int, height: int) -> float:
    """How good a tile is: its area, and less if a 16:9 camera loses much of its width."""
    if not width or not height:
        return 0.0
    visible = min(1.0, width / height / WIDEST)
    return width * height * math.cbrt(visible)


def _strip(size: Size) -> list[Box]:
    """The places beside the stage: on the right of a landscape canvas, at the bottom of a portrait one."""
    gap = _gap(size)
    width, height = _strip_tile(size)
    if width < _SMALLEST_TILE.width or height < _SMALLEST_TILE.height:
        return []
    if size.width >= size.height:
        left, places = size.width - gap - width, (size.height - gap) // (height + gap)
        return [Box(left, gap + place * (height + gap), width, height) for place in range(places)]
    top = size.height - gap - height
    return [Box(gap + place * (width + gap), top, width, height) for place in range(_STRIP_TILES)]


def _strip_tile(size: Size) -> tuple[int, int]:
    if size.width >= size.height:
        width = even(_STRIP_WIDTH * size.width)
        return width, even(width / WIDEST)
    side = even((size.width - (_STRIP_TILES + 1) * _gap(size)) / _STRIP_TILES)
    return side, side


def _beside_strip(size: Size) -> Box:
    gap = _gap(size)
    width, height = _strip_tile(size)
    if size.width >= size.height:
        return Box(gap, gap, size.width - width - 3 * gap, size.height - 2 * gap)
    return Box(gap, gap, size.width - 2 * gap, size.height - height - 3 * gap)
