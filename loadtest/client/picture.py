"""What marked video shows beside its marker: enough detail, moving, that an encoder uses its bitrate.

Smooth scenery would need a tenth of the bitrate that LiveKit's clients usually send, and a link that is
too narrow for a real camera would pass. White noise is the other extreme: it cannot be predicted, so
encoders skip pictures. Between the two is blurred noise under a moving camera.

Measured with livekit 1.2.1 at 1280×720 and 15 pictures a second, kbit/s of the layers of 720p, 360p and
180p: VP8 1707, 456 and 153, with 149 of 150 pictures sent; H.264 1703, 450 and 152, where OpenH264 left out
one of seven 720p pictures to stay there.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from loadtest.marker.video import Plane

_MEAN: Final = 118
_CONTRAST: Final = 10  # standard deviation of luma; at 30 encoders skip every second picture
_BLUR: Final = 6  # pixels; what is finer than this is lost in the smaller layers
_LIMITS: Final = (40, 210)
_STEP: Final = 4  # pixels per picture across: whole ones in a layer of a quarter, so all layers move alike
_MOST_DOWN: Final = 64  # pixels that the camera moves down before it starts again

_PAPER, _INK = 225, 60
_LINE: Final = 24  # pixels from one line of text to the next
_LETTER: Final = 8
_SCROLL_EVERY: Final = 15  # pictures


class Scenery:
    """A camera that moves over a textured wall."""

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._wall = _texture(width * 2, height + _MOST_DOWN)

    def paint(self, luma: Plane, picture: int) -> None:
        """Paint the picture of this number into a luma plane (height × width), in place."""
        left = picture * _STEP % self._width
        top = picture * _STEP // 2 % _MOST_DOWN
        luma[:] = self._wall[top : top + self._height, left : left + self._width]


class Text:
    """A page of text that scrolls by a line now and then, as on a shared screen."""

    def __init__(self, width: int, height: int) -> None:
        self._height = height
        self._page = _page(width, height * 2)

    def paint(self, luma: Plane, picture: int) -> None:
        """Paint the picture of this number into a luma plane (height × width), in place."""
        top = picture // _SCROLL_EVERY * _LINE % self._height
        luma[:] = self._page[top : top + self._height]


def _texture(width: int, height: int) -> Plane:
    noise = np.random.default_rng(1).normal(size=(height + _BLUR, width + _BLUR))
    for axis in (0, 1):
        sums = np.cumsum(noise, axis=axis)
        ends, starts = np.split(sums, [_BLUR], axis=axis)[1], np.split(sums, [-_BLUR], axis=axis)[0]
        noise = (ends - starts) / np.sqrt(_BLUR)
    return np.clip(_MEAN + _CONTRAST * noise, *_LIMITS).astype(np.uint8)


def _page(width: int, height: int) -> Plane:
    rng = np.random.default_rng(2)
    letters = rng.random((height // _LINE + 1, width // (_LETTER // 2) + 1)) < 0.4
    rows: npt.NDArray[np.intp] = np.arange(height)
    written = (rows % _LINE < _LETTER * 2)[:, np.newaxis]
    ink = letters[rows // _LINE][:, np.arange(width) // (_LETTER // 2)] & written
    return np.where(ink, _INK, _PAPER).astype(np.uint8)
