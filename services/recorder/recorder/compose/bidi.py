"""The Unicode Bidirectional Algorithm (UAX #9), by the fribidi library.

Pillow's raqm uses the same library, but only within one font. A name of several fonts is put in order here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

T = TypeVar("T")
# FRIBIDI_PAR_ON of fribidi-bidi-types.h: the first letter decides the paragraph's direction.
_BY_FIRST_LETTER = 0x40


def levels(text: str) -> list[int]:
    """The embedding level of each code point: text of an odd level runs from right to left."""
    length = len(text)
    points = (ctypes.c_uint32 * length)(*map(ord, text))
    direction = ctypes.c_uint32(_BY_FIRST_LETTER)
    found = (ctypes.c_int8 * length)()
    if length and not _log2vis()(points, length, ctypes.byref(direction), None, None, None, found):
        raise MemoryError("fribidi could not allocate memory")
    return list(found)


def in_visual_order(runs: Sequence[T], level: Callable[[T], int]) -> list[T]:
    """Put runs, each of one level, in the order in which they stand from left to right (rule L2)."""
    ordered = list(runs)
    for lowest in range(max(map(level, runs), default=0), 0, -1):
        start = 0
        while start < len(ordered):
            end = start
            while end < len(ordered) and level(ordered[end]) >= lowest:
                end += 1
            ordered[start:end] = reversed(ordered[start:end])
            start = end + 1
    return ordered


@cache
def _log2vis() -> Callable[..., int]:
    """`fribidi_log2vis` of fribidi.h; its soname is the one that Pillow loads too."""
    function = ctypes.CDLL("libfribidi.so.0").fribidi_log2vis
    function.restype = ctypes.c_int8
    found: Callable[..., int] = function
    return found
