"""Fits a decoded frame into a box: crop or letterbox, rotation, and scaling by FFmpeg's swscale."""

from __future__ import annotations

from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from recorder.compose.geometry import Box, even
from recorder.compose.layouts import Fit
from recorder.compose.planes import Planes
from recorder.compose.scene import Picture


@dataclass(frozen=True)
class Fitted:
    """A scaled picture, and where in its box it goes; around it, the box is background."""

    planes: Planes
    inside: Box


class Scaler:
    """Scales the pictures of one tile. It keeps swscale's tables between pictures of the same sizes."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def fit(self, picture: Picture, box: Box, fit: Fit) -> Fitted:
        """Scale a picture for a box.

        Raises:
            ValueError: the frame is not yuv420p, or the rotation is not 0, 90, 180 or 270.
        """
        if picture.rotation not in (0, 90, 180, 270):
            raise ValueError(f"rotation is {picture.rotation}, allowed is 0, 90, 180 or 270")
        source = Planes.of(picture.frame)
        # From here to the last step, everything is in the frame's own orientation.
        lies = picture.rotation in (90, 270)
        wide, high = (box.height, box.width) if lies else (box.width, box.height)
        if fit is Fit.COVER:
            crop = _largest_within(source.width, source.height, wide / high)
        else:
            crop = Box(0, 0, source.width, source.height)
            part = _largest_within(wide, high, source.width / source.height)
            wide, high = part.width, part.height
        scaled = self._scale(picture.frame, source, crop, wide, high).turned(picture.rotation)
        left, top = even((box.width - scaled.width) / 2), even((box.height - scaled.height) / 2)
        return Fitted(scaled, Box(left, top, scaled.width, scaled.height))

    def _scale(self, frame: av.VideoFrame, source: Planes, crop: Box, width: int, height: int) -> Planes:
        if (crop.width, crop.height) != (frame.width, frame.height):
            frame, source = _cropped(source, crop)
        if (frame.width, frame.height) == (width, height):
            return source
        enlarges = width > frame.width or height > frame.height
        # swscale's bilinear filter averages all pixels when it reduces, but is blurred when it enlarges.
        # One thread: a worker has many tiles and few cores.
        interpolation = Interpolation.BICUBIC if enlarges else Interpolation.BILINEAR
        return Planes.of(
            self._reformatter.reformat(frame, width, height, interpolation=interpolation, threads=1)
        )


def _largest_within(width: int, height: int, shape: float) -> Box:
    """The largest box of a shape (width / height) in the middle of another.

    A side that is shorter than the outer one is even, and at least 2.
    """
    inner_width, inner_height = min(width, height * shape), min(height, width / shape)
    # A deviation below one chroma pixel is not worth a crop or a bar.
    if width - inner_width < 2:
        inner_width = width
    if height - inner_height < 2:
        inner_height = height
    box_width = inner_width if inner_width == width else max(2, even(inner_width))
    box_height = inner_height if inner_height == height else max(2, even(inner_height))
    return Box(
        even((width - box_width) / 2), even((height - box_height) / 2), int(box_width), int(box_height)
    )


def _cropped(source: Planes, crop: Box) -> tuple[av.VideoFrame, Planes]:
    """A part of a frame as a new frame: PyAV scales whole frames only, and scaling costs more than a copy."""
    frame = av.VideoFrame(crop.width, crop.height, "yuv420p")
    planes = Planes.of(frame)
    for part, own in zip(planes, source, strict=True):
        halved = own is not source.luma
        top, left = (crop.y // 2, crop.x // 2) if halved else (crop.y, crop.x)
        np.copyto(part, own[top : top + part.shape[0], left : left + part.shape[1]])
    return frame, planes
