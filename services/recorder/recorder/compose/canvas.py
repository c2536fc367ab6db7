"""The canvas: draws the placed seats as video frames, and draws only what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import av
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

from recorder.compose.geometry import Box, Size
from recorder.compose.layouts import Fit, Placed
from recorder.compose.planes import Planes, mix
from recorder.compose.scaling import Fitted, Scaler
from recorder.compose.scene import Picture, Seat
from recorder.compose.theme import Theme
from recorder.compose.tiles import Appearance, overlays

FADE_SECONDS = 0.25


@dataclass
class Counts:
    """What a canvas has done since it was made."""

    frames: int = 0
    scaled_pictures: int = 0
    drawn_tiles: int = 0


@dataclass(frozen=True)
class _Arrangement:
    """A change of any of these fades in; all other changes of a tile are shown at once."""

    theme: Theme
    tiles: tuple[tuple[str | None, Box, Fit, bool], ...]


class Canvas:
    """Composes frames of one size. Not for several threads at a time.

    `theme` may be set at any time; the next frames fade to it.
    """

    def __init__(self, width: int, height: int, theme: Theme) -> None:
        self.theme = theme
        self.counts = Counts()
        self._size = Size(width, height)
        self._composed = Planes.empty(self._size)
        self._arrangement: _Arrangement | None = None
        self._tiles: dict[str | None, _Tile] = {}
        self._fade: _Fade | None = None

    def compose(self, placed: Sequence[Placed], pictures: Mapping[str, Picture], now: float) -> av.VideoFrame:
        """Draw one frame.

        Args:
            placed: the tiles, from `layouts.arrange` for this canvas' size.
            pictures: the newest pictures by the key of their seat. A seat without one shows its avatar.
            now: seconds on CLOCK_MONOTONIC; it moves the fades.

        Returns:
            A new yuv420p frame, marked as BT.709 in limited range, without `pts`.

        Raises:
            ValueError: a picture is not yuv420p, or its rotation is not a multiple of 90.
            FontsMissing: the image lacks a font.
        """
        shown = [(tile, _picture(tile, pictures)) for tile in placed]
        arrangement = _Arrangement(
            self.theme,
            tuple((_key(tile), tile.box, tile.fit, picture is not None) for tile, picture in shown),
        )
        changed = arrangement != self._arrangement
        if changed:
            self._rearrange(arrangement, now)
        for tile, picture in shown:
            self._draw(tile, picture, anew=changed)
        self.counts.frames += 1
        return self._output(now)

    def _rearrange(self, arrangement: _Arrangement, now: float) -> None:
        """Keep what is shown now, to fade from it, and clear the canvas."""
        if self._arrangement is not None:
            before = Planes.empty(self._size)
            self._show(before, now)
            self._fade = _Fade(before, now)
        self._arrangement = arrangement
        self._tiles = {key: self._tiles.get(key) or _Tile() for key, *_ in arrangement.tiles}
        self._composed.fill(self.theme.canvas)

    def _draw(self, placed: Placed, picture: Picture | None, *, anew: bool) -> None:
        tile = self._tiles[_key(placed)]
        self.counts.scaled_pictures += tile.take(picture, placed)
        appearance = Appearance.of(placed, self._size, shows_picture=picture is not None)
        self.counts.drawn_tiles += tile.draw(self._composed, appearance, self.theme, anew=anew)

    def _output(self, now: float) -> av.VideoFrame:
        frame = av.VideoFrame(self._size.width, self._size.height, "yuv420p")
        self._show(Planes.of(frame), now)
        frame.colorspace = Colorspace.ITU709
        frame.color_range = ColorRange.MPEG
        frame.color_primaries = ColorPrimaries.BT709
        frame.color_trc = ColorTrc.BT709
        return frame

    def _show(self, target: Planes, now: float) -> None:
        """Write what is visible at a time: the composed picture, or its mixture with the one before."""
        share = self._fade.share(now) if self._fade else 256
        if self._fade and share < 256:
            mix(target, self._fade.before, self._composed, share)
        else:
            self._fade = None
            target.copy_from(self._composed)


@dataclass(frozen=True)
class _Fade:
    """A cross-fade from a picture; it begins slowly and ends slowly."""

    before: Planes
    started: float

    def share(self, now: float) -> int:
        """How much of the new picture is visible, from 0 to 256."""
        passed = min(1.0, max(0.0, (now - self.started) / FADE_SECONDS))
        return round(256 * passed * passed * (3 - 2 * passed))


class _Tile:
    """What is kept of a tile between frames: the scaled picture, and what was drawn last."""

    def __init__(self) -> None:
        self._scaler = Scaler()
        self._fitted: Fitted | None = None
        self._fitted_for: object = None
        self._drawn: object = None

    def take(self, picture: Picture | None, placed: Placed) -> bool:
        """Scale a picture, unless it was scaled for this box before. Returns whether it was scaled now."""
        if picture is None:
            self._fitted, self._fitted_for = None, None
            return False
        wanted = (picture.serial, picture.rotation, placed.box.width, placed.box.height, placed.fit)
        if wanted == self._fitted_for:
            return False
        self._fitted, self._fitted_for = self._scaler.fit(picture, placed.box, placed.fit), wanted
        return True

    def draw(self, canvas: Planes, appearance: Appearance, theme: Theme, *, anew: bool) -> bool:
        """Draw the tile if it changed, or `anew` is set. Returns whether it was drawn."""
        wanted = (self._fitted_for, appearance)
        if wanted == self._drawn and not anew:
            return False
        self._drawn = wanted
        place = canvas.within(appearance.box)
        if self._fitted is None or self._fitted.inside != Box(0, 0, place.width, place.height):
            place.fill(theme.surface)
        if self._fitted is not None:
            place.within(self._fitted.inside).copy_from(self._fitted.planes)
        for overlay in overlays(appearance, theme):
            overlay.blend_onto(place)
        return True


def _key(placed: Placed) -> str | None:
    """A seat's key; None is the tile that counts the hidden seats."""
    return placed.content.key if isinstance(placed.content, Seat) else None


def _picture(placed: Placed, pictures: Mapping[str, Picture]) -> Picture | None:
    seat = placed.content
    return pictures.get(seat.key) if isinstance(seat, Seat) and seat.has_picture else None
