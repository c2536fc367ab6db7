"""What is drawn over a tile: rounded corners, the border of who speaks, the name, and the avatar."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np

from recorder.compose.drawing import painted, rounded, stacked
from recorder.compose.geometry import Box, Size, even
from recorder.compose.layouts import Others, Placed
from recorder.compose.names import clean, initials
from recorder.compose.planes import Overlay, Rgba, overlay
from recorder.compose.scene import Source
from recorder.compose.text import draw_line
from recorder.compose.theme import Rgb, Theme

_SCREEN_SUFFIX = " – screen"
# Pixels on a canvas whose shorter side has 720; other canvases have them in proportion.
_REFERENCE = 720
_RADIUS, _BORDER, _LARGEST_TEXT, _LARGEST_AVATAR = 12, 4, 18, 190
_SMALLEST_TEXT = 10
_SMALLEST_AVATAR = 16
# More tiles than any layout has, with and without the border.
_KEPT = 64


@dataclass(frozen=True)
class Appearance:
    """Everything that decides what is drawn over a tile's picture.

    `name` is cleaned, and empty for a tile that counts hidden seats: that one has `count`.
    """

    box: Box
    canvas: Size
    name: str = ""
    participant: str = ""
    is_screen: bool = False
    speaking: bool = False
    shows_picture: bool = False
    count: int = 0
    labelled: bool = True

    @classmethod
    def of(cls, placed: Placed, canvas: Size, *, shows_picture: bool) -> Appearance:
        """The appearance of a tile; `shows_picture` is whether there is a picture to draw."""
        seat = placed.content
        if isinstance(seat, Others):
            return cls(placed.box, canvas, count=seat.count)
        return cls(
            placed.box,
            canvas,
            name=clean(seat.name) or clean(seat.participant) or "?",
            participant=seat.participant,
            is_screen=seat.source is Source.SCREEN_SHARE,
            speaking=seat.speaking and seat.source is Source.CAMERA,
            shows_picture=shows_picture,
            labelled=placed.labelled,
        )

    @property
    def framed(self) -> bool:
        """A tile that covers the canvas has no corners and no border: nothing is beside it."""
        return self.box != Box.whole(self.canvas)

    @property
    def scale(self) -> float:
        """The size of the canvas, in relation to the reference."""
        return min(self.canvas.width, self.canvas.height) / _REFERENCE

    @property
    def shorter_side(self) -> int:
        return min(self.box.width, self.box.height)

    @property
    def border(self) -> int:
        """The width of the border."""
        return max(2, even(_BORDER * self.scale))

    @property
    def text_size(self) -> int:
        largest = max(_SMALLEST_TEXT + 1, round(_LARGEST_TEXT * self.scale))
        return min(max(_SMALLEST_TEXT, round(0.1 * self.box.height)), largest)


@lru_cache(maxsize=_KEPT)
def overlays(tile: Appearance, theme: Theme) -> tuple[Overlay, ...]:
    """What is drawn over the tile's picture, or over its surface if it shows none; relative to the tile.

    Raises:
        FontsMissing: the image lacks a font.
    """
    drawn = [] if tile.shows_picture else _instead_of_picture(tile, theme)
    if tile.framed:
        drawn += _frame(tile, theme)
    label = _label(tile, theme)
    return (*drawn, label) if label else tuple(drawn)


def _frame(tile: Appearance, theme: Theme) -> list[Overlay]:
    """The corners, in the canvas' colour, and the border of who speaks."""
    width, height = tile.box.width, tile.box.height
    radius = even(min(max(4, _RADIUS * tile.scale), tile.shorter_side / 6))
    border = tile.border if tile.speaking else 0
    # A corner's part of the border is drawn with the corner.
    corner = max(radius, border)
    right, bottom = width - corner, height - corner
    parts = [Box(x, y, corner, corner) for x in (0, right) for y in (0, bottom)]
    if border:
        parts += [Box(corner, y, width - 2 * corner, border) for y in (0, height - border)]
        parts += [Box(x, corner, border, height - 2 * corner) for x in (0, width - border)]
    outer = Box(0, 0, width, height)
    inner = Box(border, border, width - 2 * border, height - 2 * border)
    drawn = []
    for part in parts:
        if part.width <= 0 or part.height <= 0:
            continue
        inside = rounded(outer, radius, part)
        ring = inside - np.minimum(inside, rounded(inner, max(0, radius - border), part))
        image = stacked(painted(1 - inside, theme.canvas), painted(ring, theme.speaking))
        drawn.append(overlay(image, part.x, part.y))
    return drawn


def _label(tile: Appearance, theme: Theme) -> Overlay | None:
    """The name at the bottom left. None without a label, in a small tile, or if a camera fills the canvas."""
    if not tile.name or not tile.labelled or (not tile.framed and not tile.is_screen):
        return None
    size = tile.text_size
    margin = even(tile.border + 0.4 * size)
    padding = even(0.5 * size)
    widest = tile.box.width - 2 * margin - 2 * padding
    text = _name(tile, size, theme.label_text, widest)
    height = _up_to_even(text.shape[0] + 0.15 * size)
    width = _up_to_even(text.shape[1] + 2 * padding)
    if widest < 2 * size or height > 0.4 * tile.box.height:
        return None
    pill = Box(0, 0, width, height)
    background = painted(rounded(pill, 0.35 * height, pill), theme.label, theme.label_opacity)
    image = stacked(background, text, padding, (height - text.shape[0]) // 2)
    return overlay(image, margin, tile.box.height - margin - height)


def _name(tile: Appearance, size: int, colour: Rgb, widest: int) -> Rgba:
    """The name, and for a screen that it is one; only the name is cut. The edges are those of the text."""
    if not tile.is_screen:
        return draw_line(tile.name, size, colour, widest).text
    suffix = draw_line(_SCREEN_SUFFIX, size, colour, widest).text
    name = draw_line(tile.name, size, colour, widest - suffix.shape[1]).text
    return np.hstack([name, suffix])


def _instead_of_picture(tile: Appearance, theme: Theme) -> list[Overlay]:
    """The avatar, or the number of hidden seats, in the middle of the tile."""
    middle_x, middle_y = tile.box.width / 2, tile.box.height / 2
    if tile.count:
        size = max(_SMALLEST_TEXT, round(0.28 * tile.shorter_side))
        number = draw_line(f"+{tile.count}", size, theme.text, tile.box.width).ink
        return _centred(number, middle_x, middle_y, tile.box)
    diameter = even(min(0.42 * tile.shorter_side, _LARGEST_AVATAR * tile.scale))
    if diameter < _SMALLEST_AVATAR:
        return []
    avatar = _avatar(tile, diameter, theme)
    if tile.framed:
        # The label below takes a part of the height.
        return _centred(avatar, middle_x, middle_y - 0.4 * tile.text_size, tile.box)
    size = max(_SMALLEST_TEXT, round(0.2 * diameter))
    name = draw_line(tile.name, size, theme.text, round(0.9 * tile.box.width)).text
    gap = 0.15 * diameter
    top = middle_y - (diameter + gap + name.shape[0]) / 2
    return [
        *_centred(avatar, middle_x, top + diameter / 2, tile.box),
        *_centred(name, middle_x, top + diameter + gap + name.shape[0] / 2, tile.box),
    ]


def _avatar(tile: Appearance, diameter: int, theme: Theme) -> Rgba:
    """A circle with the initials; a participant has the same colour in each recording."""
    circle = Box(0, 0, diameter, diameter)
    colour = theme.avatars[crc32(tile.participant.encode()) % len(theme.avatars)]
    image = painted(rounded(circle, diameter / 2, circle), colour)
    letters = draw_line(initials(tile.name), round(0.4 * diameter), theme.initials, diameter).ink
    return stacked(
        image, letters, round((diameter - letters.shape[1]) / 2), round((diameter - letters.shape[0]) / 2)
    )


def _centred(image: Rgba, middle_x: float, middle_y: float, box: Box) -> list[Overlay]:
    """An image around a point, cut to the tile; none if nothing of it is left."""
    left, top = round(middle_x - image.shape[1] / 2), round(middle_y - image.shape[0] / 2)
    x, y = even(max(0, left)), even(max(0, top))
    width = min(box.width - x, _up_to_even(left + image.shape[1] - x))
    height = min(box.height - y, _up_to_even(top + image.shape[0] - y))
    if width <= 0 or height <= 0:
        return []
    field = np.zeros((height, width, 4), np.uint8)
    return [overlay(stacked(field, image, left - x, top - y), x, y)]


def _up_to_even(pixels: float) -> int:
    return even(pixels + 1.999)
