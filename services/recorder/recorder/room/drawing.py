"""The room drawn as the plan wants it."""

from __future__ import annotations

from collections.abc import Sequence

import av

from recorder.compose.canvas import Canvas
from recorder.compose.geometry import Box, Size
from recorder.compose.layouts import Fit, Placed, Style, arrange
from recorder.compose.scene import Seat
from recorder.compose.theme import theme_for
from recorder.media.sounds import Heard
from recorder.room.people import People


class Drawing:
    """A `pipeline.Scene` of the room's people: a layout of all, or one picture that fills the canvas."""

    def __init__(self, people: People, size: Size, style: Style, *, composite: bool) -> None:
        self._people = people
        self._size = size
        self._composite = composite
        self._canvas = Canvas(size.width, size.height, theme_for(style.brightness))
        self._style = style
        self._placed: tuple[Placed, ...] = ()

    @property
    def placed(self) -> tuple[Placed, ...]:
        """The tiles of the last picture."""
        return self._placed

    def change(self, style: Style) -> None:
        """Use another layout from the next picture on."""
        self._style = style
        self._canvas.theme = theme_for(style.brightness)

    def draw(self, at: float, interval: float) -> av.VideoFrame:
        """The picture of the moment `at`."""
        pictures = self._people.pictures(at, interval)
        seats = self._people.seats()
        if self._composite:
            placed = arrange(self._style.layout, seats, self._size, self._placed, at)
        else:
            placed = _one(seats, self._size)
        self._placed = placed
        return self._canvas.compose(placed, pictures, at)

    def heard(self) -> Sequence[Heard]:
        """The sounds in the mix."""
        return self._people.sounds()


def _one(seats: Sequence[Seat], size: Size) -> tuple[Placed, ...]:
    """One tile that fills the canvas, without a name: the screen if there is one, otherwise the camera."""
    if not seats:
        return ()
    best = max(seats, key=lambda seat: (seat.has_picture, seat.source.value))
    return (Placed(best, Box.whole(size), Fit.CONTAIN, labelled=False),)
