"""Pictures as numpy arrays: yuv420p planes, and RGBA overlays that are blended onto them.

All colour is BT.709 in limited range, the usual one for video. Pictures of participants are taken as such:
their bytes are scaled and copied, never converted. WebRTC seldom says which matrix a sender used. The colours
of a picture that was encoded by BT.601 are slightly off.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import av
import numpy as np
from numpy.typing import NDArray

from recorder.compose.geometry import Box, Size
from recorder.compose.theme import Rgb

Bytes: TypeAlias = NDArray[np.uint8]
# Height × width × 4, premultiplied.
Rgba: TypeAlias = NDArray[np.uint8]
_Weights: TypeAlias = NDArray[np.uint16]

# ITU-R BT.709, items 3.2 and 3.3, for R, G and B from 0 to 1; luma takes 219 levels, chroma 224.
_RED, _GREEN, _BLUE = 0.2126, 0.7152, 0.0722
_TO_YUV: NDArray[np.float32] = np.array(
    [
        [219 * _RED, 219 * _GREEN, 219 * _BLUE],
        [-224 * _RED / 1.8556, -224 * _GREEN / 1.8556, 224 * (1 - _BLUE) / 1.8556],
        [224 * (1 - _RED) / 1.5748, -224 * _GREEN / 1.5748, -224 * _BLUE / 1.5748],
    ],
    np.float32,
)
_OFFSETS: NDArray[np.float32] = np.array([16, 128, 128], np.float32)


@dataclass(frozen=True)
class Planes:
    """Y, Cb and Cr of a picture. Cb and Cr have half the width and half the height (rounded up) of Y."""

    luma: Bytes
    blue: Bytes
    red: Bytes

    @classmethod
    def empty(cls, size: Size | Box) -> Planes:
        """New planes of an even size; their content is undefined."""
        half = (size.height // 2, size.width // 2)
        return cls(
            np.empty((size.height, size.width), np.uint8), np.empty(half, np.uint8), np.empty(half, np.uint8)
        )

    @classmethod
    def of(cls, frame: av.VideoFrame) -> Planes:
        """A frame's own memory. Raises ValueError for a frame that is not yuv420p."""
        if frame.format.name != "yuv420p":
            raise ValueError(f"frame.format is {frame.format.name}, allowed is yuv420p")
        luma, blue, red = (
            np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]  # type: ignore[call-overload]
            for plane in frame.planes
        )
        return cls(luma, blue, red)

    @property
    def height(self) -> int:
        return int(self.luma.shape[0])

    @property
    def width(self) -> int:
        return int(self.luma.shape[1])

    def within(self, box: Box) -> Planes:
        """The part of the picture in an even box; it shares the memory."""
        rows, columns = slice(box.y, box.bottom), slice(box.x, box.right)
        half_rows, half_columns = (
            slice(box.y // 2, box.bottom // 2),
            slice(box.x // 2, box.right // 2),
        )
        return Planes(
            self.luma[rows, columns], self.blue[half_rows, half_columns], self.red[half_rows, half_columns]
        )

    def copy_from(self, other: Planes) -> None:
        """Copy a picture of the same size."""
        for own, new in zip(self, other, strict=True):
            np.copyto(own, new)

    def fill(self, colour: Rgb) -> None:
        """Paint all of it in one colour."""
        for own, level in zip(self, yuv(colour), strict=True):
            own.fill(level)

    def turned(self, degrees: int) -> Planes:
        """The picture turned clockwise by a multiple of 90 degrees; it shares the memory."""
        return Planes(*(np.rot90(plane, -(degrees // 90)) for plane in self))

    def __iter__(self) -> Iterator[Bytes]:
        return iter((self.luma, self.blue, self.red))


@lru_cache(maxsize=256)
def yuv(colour: Rgb) -> tuple[int, int, int]:
    """The Y, Cb and Cr levels of a colour."""
    levels = np.rint(_TO_YUV @ (np.array(colour) / 255) + _OFFSETS)
    return int(levels[0]), int(levels[1]), int(levels[2])


@dataclass(frozen=True)
class Overlay:
    """A picture with transparency, ready to be blended: pixel = (below × keep + add) / 256, for each plane.

    `box` is where it goes, relative to the planes that it is blended onto.
    """

    box: Box
    keep: tuple[_Weights, _Weights, _Weights]
    add: tuple[_Weights, _Weights, _Weights]

    def blend_onto(self, planes: Planes) -> None:
        """Draw the overlay at its box."""
        for below, keep, add in zip(planes.within(self.box), self.keep, self.add, strict=True):
            mixed = below * keep
            mixed += add
            np.right_shift(mixed, 8, out=below, casting="unsafe")


def overlay(image: Rgba, x: int, y: int) -> Overlay:
    """Convert an image of even size whose left upper corner goes to even coordinates."""
    height, width = image.shape[:2]
    pixels = image.astype(np.float32) / np.float32(255)
    alpha = pixels[..., 3]
    colours = pixels[..., :3] @ _TO_YUV.T + alpha[..., None] * _OFFSETS
    weights = (alpha, _halved(alpha), _halved(alpha))
    levels = (colours[..., 0], _halved(colours[..., 1]), _halved(colours[..., 2]))
    keep = tuple((256 - np.rint(256 * weight)).astype(np.uint16) for weight in weights)
    # Half a level is added for rounding; 255 × 256 + 128 is the largest sum, so 16 bits suffice.
    add = tuple(np.rint(256 * level + 128).clip(0, 65408).astype(np.uint16) for level in levels)
    return Overlay(Box(x, y, width, height), (keep[0], keep[1], keep[2]), (add[0], add[1], add[2]))


def mix(result: Planes, old: Planes, new: Planes, share: int) -> None:
    """Write the mean of two pictures into `result`; `share` of `new` is from 0 to 256."""
    for target, before, after in zip(result, old, new, strict=True):
        mixed = before * np.uint16(256 - share)
        mixed += after * np.uint16(share)
        mixed += np.uint16(128)
        np.right_shift(mixed, 8, out=target, casting="unsafe")


def _halved(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of each 2 × 2 pixels."""
    height, width = values.shape
    halved: NDArray[np.float32] = values.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
    return halved
