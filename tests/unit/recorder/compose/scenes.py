"""Seats and pictures for the tests of the composition."""

from __future__ import annotations

from collections.abc import Sequence

import av
import numpy as np

from recorder.compose.geometry import Box
from recorder.compose.planes import Planes, yuv
from recorder.compose.scene import Picture, Seat, Source
from recorder.compose.theme import Rgb

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def camera(
    name: str,
    *,
    joined_at: float = 0.0,
    has_picture: bool = True,
    spoke_at: float | None = None,
    speaking: bool = False,
) -> Seat:
    """A participant's camera; the key is the name."""
    return Seat(name, name, name, Source.CAMERA, has_picture, joined_at, spoke_at, speaking)


def cameras(count: int) -> list[Seat]:
    """Cameras p0, p1, ... in the order in which they joined."""
    return [camera(f"p{number}", joined_at=float(number)) for number in range(count)]


def screen(name: str, *, joined_at: float = 100.0) -> Seat:
    """The screen that a participant shares."""
    return Seat(f"{name}/screen", name, name, Source.SCREEN_SHARE, True, joined_at)


def plain(colour: Rgb, width: int = 64, height: int = 36, serial: int = 0, rotation: int = 0) -> Picture:
    """A picture in one colour."""
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, level in zip(Planes.of(frame), yuv(colour), strict=True):
        plane.fill(level)
    return Picture(frame, serial, rotation)


def noise(width: int, height: int, seed: int = 0, serial: int = 0) -> Picture:
    """A picture in which no two places look alike."""
    frame = av.VideoFrame(width, height, "yuv420p")
    random = np.random.default_rng(seed)
    for plane in Planes.of(frame):
        plane[...] = random.integers(16, 235, plane.shape)
    return Picture(frame, serial)


def quarters(colours: Sequence[Rgb], width: int, height: int, rotation: int = 0) -> Picture:
    """A picture whose quarters have colours: top left, top right, bottom left, bottom right."""
    picture = plain(colours[0], width, height, rotation=rotation)
    planes = Planes.of(picture.frame)
    for number, colour in enumerate(colours):
        x, y = number % 2 * width // 2, number // 2 * height // 2
        planes.within(Box(x, y, width // 2, height // 2)).fill(colour)
    return picture


def at(planes: Planes, x: int, y: int) -> tuple[int, int, int]:
    """The levels of Y, Cb and Cr of a pixel."""
    return int(planes.luma[y, x]), int(planes.blue[y // 2, x // 2]), int(planes.red[y // 2, x // 2])


def looks(planes: Planes, x: int, y: int, colour: Rgb, *, tolerance: int = 2) -> bool:
    """Whether a pixel has a colour. `tolerance`, for rounding, is in steps of luma and chroma."""
    return all(abs(a - b) <= tolerance for a, b in zip(at(planes, x, y), yuv(colour), strict=True))
