"""Sizes and boxes on a canvas. All numbers are pixels, and even: chroma has half the resolution."""

from __future__ import annotations

from dataclasses import dataclass

_SMALLEST = 16


def even(pixels: float) -> int:
    """The largest even number that is not above `pixels`."""
    return int(pixels) // 2 * 2


@dataclass(frozen=True)
class Size:
    """The size of a canvas. Raises ValueError unless both sides are even and at least 16."""

    width: int
    height: int

    def __post_init__(self) -> None:
        for field, given in (("width", self.width), ("height", self.height)):
            if given < _SMALLEST or given % 2:
                raise ValueError(f"{field} is {given}, allowed is an even number from {_SMALLEST}")


@dataclass(frozen=True)
class Box:
    """A rectangle: its left upper corner and its size."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column to the right of the box."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row below the box."""
        return self.y + self.height

    @classmethod
    def whole(cls, size: Size) -> Box:
        """The box that covers a whole canvas."""
        return cls(0, 0, size.width, size.height)
