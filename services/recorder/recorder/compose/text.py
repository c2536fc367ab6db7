"""Draws one line of text in any script: shaped, in the right order, with coloured emoji."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np
from PIL import Image, ImageDraw

from recorder.compose.bidi import in_visual_order, levels
from recorder.compose.drawing import painted, stacked
from recorder.compose.fonts import EMOJI_PIXELS, TEXT, Font, check_installed, font_for
from recorder.compose.names import characters, cut
from recorder.compose.planes import Rgba
from recorder.compose.theme import Rgb

# About 300 labels of 10 kB: more than any layout shows.
_LINES_KEPT = 300
_EMOJI_SCALE = 0.92  # of the text's size


@dataclass(frozen=True)
class Line:
    """A drawn line as premultiplied RGBA of 8 bits.

    `text` is as wide as the text's advance, and as high as any line of its size, so that lines of different
    scripts align. `ink` is the part of it that is not transparent, to be centred by eye.
    """

    text: Rgba

    @property
    def ink(self) -> Rgba:
        rows, columns = np.nonzero(self.text[..., 3])
        if not rows.size:
            return self.text[:0, :0]
        return self.text[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


@dataclass(frozen=True)
class _Run:
    """Characters of one font and one direction."""

    text: str
    font: Font
    level: int

    @property
    def direction(self) -> str:
        return "rtl" if self.level % 2 else "ltr"

    def width(self, size: int) -> float:
        natural = self.font.at(size).getlength(self.text, direction=self.direction)
        return natural * _emoji_factor(size) if self.font.is_emoji else natural


@lru_cache(maxsize=_LINES_KEPT)
def draw_line(text: str, size: int, colour: Rgb, widest: int) -> Line:
    """Draw a cleaned text (see `names.clean`), cut with an ellipsis to `widest` pixels.

    `size` is in pixels per em.

    Raises:
        FontsMissing: the image lacks a font.
    """
    check_installed()
    runs = _runs(cut(text, lambda part: _width(_runs(part), size) <= widest))
    ascent, descent = TEXT.at(size).getmetrics()
    mask = Image.new("L", (math.ceil(_width(runs, size)), ascent + descent))
    emoji: list[tuple[_Run, float]] = []
    left = 0.0
    for run in in_visual_order(runs, lambda run: run.level):
        if run.font.is_emoji:
            emoji.append((run, left))
        else:
            font = run.font.at(size)
            ImageDraw.Draw(mask).text(
                (left, ascent),
                run.text,
                255,
                font=font,
                anchor="ls",
                direction=run.direction,
                stroke_width=run.font.stroke * size,
            )
        left += run.width(size)
    image = painted(np.asarray(mask).astype(np.float32) / np.float32(255), colour)
    for run, left in emoji:
        image = _with_emoji(image, run, left, ascent, size)
    return Line(image)


def _width(runs: list[_Run], size: int) -> float:
    return sum(run.width(size) for run in runs)


def _runs(text: str) -> list[_Run]:
    """Split a text where the font or the direction changes, in logical order."""
    parts = characters(text)
    level_of_point = levels(text)
    positions = np.cumsum([0, *map(len, parts)])
    marked = [
        (part, font_for(part), level_of_point[position])
        for part, position in zip(parts, positions, strict=False)
    ]
    return [
        _Run("".join(part for part, *_ in group), font, level)
        for (font, level), group in groupby(marked, key=lambda item: item[1:])
    ]


def _emoji_factor(size: int) -> float:
    return _EMOJI_SCALE * size / EMOJI_PIXELS


def _with_emoji(image: Rgba, run: _Run, left: float, baseline: int, size: int) -> Rgba:
    """Draw the font's bitmaps at their own size, and scale them onto the line, centred on capital letters."""
    font = run.font.at(size)
    x0, y0, x1, y1 = map(int, font.getbbox(run.text, anchor="ls", direction=run.direction))
    if x1 <= x0 or y1 <= y0:
        return image
    large = Image.new("RGBA", (x1 - x0, y1 - y0))
    ImageDraw.Draw(large).text(
        (-x0, -y0), run.text, font=font, embedded_color=True, anchor="ls", direction=run.direction
    )
    factor = _emoji_factor(size)
    scaled = (max(1, round(large.width * factor)), max(1, round(large.height * factor)))
    # Pillow multiplies coloured bitmaps by their alpha when it draws them; it calls such an image "RGBa".
    small = Image.frombytes("RGBa", large.size, large.tobytes()).resize(scaled, Image.Resampling.BOX)
    capital = -TEXT.at(size).getbbox("H", anchor="ls")[1]
    top = round(baseline - capital / 2 - small.height / 2)
    pixels = np.frombuffer(small.tobytes(), np.uint8).reshape(small.height, small.width, 4)
    return stacked(image, pixels, round(left + x0 * factor), top)
