"""Renders each layout as a PNG, for a visual check: names in five scripts, a screen, cameras that are off.

PYTHONPATH=services/recorder python3 -m local run -- python -m tests.unit.recorder.compose.screenshots DIR
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image

from recorder.compose.canvas import Canvas
from recorder.compose.geometry import Size
from recorder.compose.layouts import Brightness, Layout, arrange
from recorder.compose.theme import theme_for
from tests.unit.recorder.compose.scenes import camera, plain, screen

_SIZE = Size(1280, 720)
_NAMES = ("Zoë Müller", "Анна Иванова", "王小明", "ليلى حسن", "Kim 🎸🙂")
_COLOURS = ((196, 84, 76), (70, 120, 200), (84, 160, 96), (180, 140, 60), (130, 96, 180))


def write(directory: Path) -> list[Path]:
    """Write one PNG for each layout on a dark and on a light background, with and without a shared screen."""
    directory.mkdir(parents=True, exist_ok=True)
    cameras = [
        replace(camera(f"p{number}"), name=name, has_picture=number % 2 == 0, speaking=number == 0)
        for number, name in enumerate(_NAMES)
    ]
    shared = replace(screen("p1"), name=_NAMES[1])
    pictures = {seat.key: plain(colour, 640, 360) for seat, colour in zip(cameras, _COLOURS, strict=True)} | {
        shared.key: plain((230, 230, 235), 1280, 720)
    }
    written = []
    for layout in Layout:
        for brightness in Brightness:
            for seats, suffix in ((cameras, ""), ([*cameras, shared], "-screen")):
                canvas = Canvas(_SIZE.width, _SIZE.height, theme_for(brightness))
                placed = arrange(layout, seats, _SIZE, (), 0.0)
                # After the transition of the first moment.
                for at in (0.0, 1.0):
                    frame = canvas.compose(placed, pictures, at)
                path = directory / f"{layout.value}-{brightness.value}{suffix}.png"
                Image.fromarray(frame.to_ndarray(format="rgb24")).save(path)
                written.append(path)
    return written


if __name__ == "__main__":
    for file in write(Path(sys.argv[1])):
        print(file)
