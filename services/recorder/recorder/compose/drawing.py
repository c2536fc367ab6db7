"""Shapes with smooth edges, as premultiplied RGBA images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recorder.compose.geometry import Box
from recorder.compose.planes import Rgba
from recorder.compose.theme import Rgb

Coverage = NDArray[np.float32]


def rounded(shape: Box, radius: float, area: Box) -> Coverage:
    """How much of each pixel of `area` is within a rectangle with rounded corners: from 0 to 1.

    Both boxes have the same origin. A square whose radius is half its side is a circle.
    """
    half_width, half_height = shape.width / 2, shape.height / 2
    across = np.abs(np.arange(area.x, area.right, dtype=np.float32) + 0.5 - shape.x - half_width)
    down = np.abs(np.arange(area.y, area.bottom, dtype=np.float32) + 0.5 - shape.y - half_height)
    beyond_x = across - (half_width - radius)
    beyond_y = down[:, None] - (half_height - radius)
    outside = np.hypot(np.maximum(beyond_x, 0), np.maximum(beyond_y, 0))
    distance = outside + np.minimum(np.maximum(beyond_x, beyond_y), 0) - radius
    covered: Coverage = np.clip(0.5 - distance, 0, 1).astype(np.float32)
    return covered


def painted(coverage: Coverage, colour: Rgb, opacity: float = 1.0) -> Rgba:
    """A shape in one colour."""
    alpha = coverage * opacity
    image = np.empty((*coverage.shape, 4), np.float32)
    image[..., :3] = alpha[..., None] * np.array(colour, np.float32)
    image[..., 3] = alpha * 255
    return np.rint(image).astype(np.uint8)


def stacked(below: Rgba, above: Rgba, x: int = 0, y: int = 0) -> Rgba:
    """Draw an image over another, with its left upper corner at `x`, `y`; what is outside is cut off."""
    result = below.copy()
    top, left = max(0, y), max(0, x)
    bottom, right = min(below.shape[0], y + above.shape[0]), min(below.shape[1], x + above.shape[1])
    if bottom <= top or right <= left:
        return result
    part = above[top - y : bottom - y, left - x : right - x]
    target = result[top:bottom, left:right]
    clear = 255 - part[..., 3:].astype(np.uint16)
    target[...] = part + ((target * clear + 127) // 255).astype(np.uint8)
    return result
