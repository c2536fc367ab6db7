"""The fonts of the image, and which of them draws which character.

Each font is a Debian package's. Together the packages take 27 MB, and cover Latin, Greek, Cyrillic, Armenian,
Georgian, Hebrew, Arabic, the Indic scripts, Thai, Lao, Khmer, Burmese, Chinese, Japanese, Korean and emoji.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import regex
import uharfbuzz  # type: ignore[import-untyped]
from PIL import ImageFont, features

_DIRECTORY = Path("/usr/share/fonts/truetype")
# Noto Color Emoji holds bitmaps of one size.
EMOJI_PIXELS = 109
_EMOJI = regex.compile(
    r"\p{Emoji_Presentation}|\p{Emoji}\N{VARIATION SELECTOR-16}|\p{Regional_Indicator=Yes}"
)
_SIZES_KEPT = 64


class FontsMissing(RuntimeError):
    """The image lacks a font or a library that draws text; the message names the Debian packages."""


@dataclass(frozen=True)
class Font:
    """A font file.

    `stroke` makes a font bolder that has one thin weight only: pixels per em added around each outline.
    `is_emoji`: it has coloured bitmaps of `EMOJI_PIXELS`; all others are outlines.
    """

    file: str
    package: str
    stroke: float = 0.0
    is_emoji: bool = False

    @property
    def path(self) -> Path:
        return _DIRECTORY / self.file

    def draws(self, character: str) -> bool:
        """Whether the font has a glyph for each code point that is not invisible by itself."""
        known = _code_points(self)
        return all(ord(point) in known for point in character if not _is_invisible(point))

    def at(self, size: int) -> ImageFont.FreeTypeFont:
        """The font at a size in pixels per em; emoji are always drawn at `EMOJI_PIXELS`, to be scaled."""
        return _sized(self, EMOJI_PIXELS if self.is_emoji else size)


def _noto(script: str) -> Font:
    """The fonts for user interfaces fit into the line height of Latin text."""
    return Font(f"noto/NotoSans{script}UI-Bold.ttf", "fonts-noto-ui-core")


TEXT = Font("open-sans/OpenSans-Semibold.ttf", "fonts-open-sans")
EMOJI = Font("noto/NotoColorEmoji.ttf", "fonts-noto-color-emoji", is_emoji=True)
_SCRIPTS = (
    "Arabic Devanagari Bengali Gurmukhi Gujarati Oriya Tamil Telugu Kannada Malayalam Sinhala "
    "Thai Lao Khmer Myanmar"
).split()
# The first font that has a character draws it.
CHAIN = (
    TEXT,
    *map(_noto, _SCRIPTS),
    Font("wqy/wqy-microhei.ttc", "fonts-wqy-microhei", stroke=0.015),
    Font("dejavu/DejaVuSans-Bold.ttf", "fonts-dejavu-core"),
    EMOJI,
)


@lru_cache(maxsize=4096)
def font_for(character: str) -> Font:
    """The font for one character (a grapheme cluster). Where no font has it, `TEXT` draws its box."""
    if _EMOJI.match(character) and EMOJI.draws(character):
        return EMOJI
    covering = (font for font in CHAIN if font.draws(character))
    return next(covering, None) or next((font for font in CHAIN if font.draws(character[0])), TEXT)


@cache
def check_installed() -> None:
    """Look for everything that drawing text needs.

    Raises:
        FontsMissing: names each Debian package that is missing.
    """
    packages = {font.package for font in CHAIN if not font.path.is_file()}
    # Pillow's wheel has all of raqm but fribidi, and silently lays out text without both.
    if not (features.check("raqm") and features.check("fribidi")):
        packages.add("libfribidi0")
    if packages:
        raise FontsMissing(f"Debian packages are missing to draw text: {', '.join(sorted(packages))}")


@cache
def _code_points(font: Font) -> Iterable[int]:
    """HarfBuzz's set of the code points that a font has a glyph for."""
    blob = uharfbuzz.Blob.from_file_path(str(font.path))
    code_points: Iterable[int] = uharfbuzz.Face(blob, 0).unicodes
    return code_points


@lru_cache(maxsize=_SIZES_KEPT)
def _sized(font: Font, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font.path), size, layout_engine=ImageFont.Layout.RAQM)


def _is_invisible(point: str) -> bool:
    """Joiners, tags and variation selectors: shaping uses them, with or without a glyph."""
    return unicodedata.category(point) == "Cf" or "\ufe00" <= point <= "\ufe0f"
