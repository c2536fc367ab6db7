"""The input of the composition: who can be shown, and the newest picture of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import av


class Source(StrEnum):
    """What a seat shows."""

    CAMERA = "camera"
    SCREEN_SHARE = "screen_share"


@dataclass(frozen=True)
class Seat:
    """One thing that can have a tile: a participant's camera, or a screen that a participant shares.

    `key` is unique in the scene. `participant` is the identity: a camera and a screen of the same participant
    have the same one. `joined_at` and `spoke_at` are seconds on CLOCK_MONOTONIC. `spoke_at` is when the
    participant last *began* to speak, None if that never happened; it stays the same while they speak
    (`speaking`) and afterwards, so its age tells a cough from a speech. A camera that is off or muted has
    `has_picture` False: its tile shows the participant's initials and name.
    """

    key: str
    participant: str
    name: str
    source: Source
    has_picture: bool
    joined_at: float
    spoke_at: float | None = None
    speaking: bool = False


@dataclass(frozen=True)
class Picture:
    """The newest decoded frame of a seat: yuv420p, any size. `serial` changes with each new frame.

    `rotation` is how far the frame must be turned clockwise to be upright: 0, 90, 180 or 270 degrees.
    """

    frame: av.VideoFrame
    serial: int
    rotation: int = 0
