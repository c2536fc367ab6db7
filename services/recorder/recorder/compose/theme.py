"""The colours of the dark and the light layouts, as 8-bit sRGB."""

from __future__ import annotations

from dataclasses import dataclass

from recorder.compose.layouts import Brightness

Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Theme:
    """What has which colour.

    `surface` is a tile without a picture, and the rest of a tile around a screen. `speaking` is the border of
    who speaks. `label_opacity` is from 0 to 1.
    """

    canvas: Rgb
    surface: Rgb
    text: Rgb
    speaking: Rgb
    label: Rgb
    label_text: Rgb
    label_opacity: float
    avatars: tuple[Rgb, ...]
    initials: Rgb = (255, 255, 255)


# White initials have a contrast of at least 4.5 on each.
_AVATARS: tuple[Rgb, ...] = (
    (79, 91, 213),
    (124, 72, 196),
    (176, 58, 138),
    (190, 59, 78),
    (176, 84, 32),
    (126, 104, 20),
    (45, 122, 66),
    (18, 120, 124),
    (35, 108, 176),
    (92, 99, 117),
)
_DARK = Theme(
    canvas=(15, 17, 21),
    surface=(34, 38, 46),
    text=(200, 206, 216),
    speaking=(74, 160, 255),
    label=(12, 14, 18),
    label_text=(255, 255, 255),
    label_opacity=0.62,
    avatars=_AVATARS,
)
_LIGHT = Theme(
    canvas=(246, 247, 249),
    surface=(222, 226, 233),
    text=(58, 65, 78),
    speaking=(28, 113, 230),
    label=(255, 255, 255),
    label_text=(22, 26, 34),
    label_opacity=0.82,
    avatars=_AVATARS,
)


def theme_for(brightness: Brightness) -> Theme:
    """The colours of a layout."""
    return _LIGHT if brightness is Brightness.LIGHT else _DARK
