"""A timestamp and a frame number, painted into the picture as black and white squares.

The squares are luma only and large, so that they outlive lossy codecs and the scaling of simulcast
layers: 64 pixels wide in 1280×720, they are still 16 pixels wide in the 320×180 layer. The place of
a square is a fraction of the picture, so one decoder reads every size, and recorded files too.

64 squares carry, most significant bit first: 32 bits of time in ms, 16 bits of frame number, and a
CRC-16/CCITT over both, which tells a damaged or absent marker from a readable one. All of it is laid
over a fixed pattern, so that areas of one colour, which damaged pictures are full of, are no stamp.

What is read is a stamp that was painted, with this certainty: a square must be clearly black or clearly
white; damage within 16 neighbouring squares (one row of the four) is always noticed; of all other
damage 2^-16 passes the CRC; and of that no more than 1.4·10^-4 has a time that `believable` lets
pass, since its 32 bits would have to fall into ten minutes of 49.7 days. So of damaged markers one in 4·10^8
is taken for a stamp.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Plane: TypeAlias = npt.NDArray[np.uint8]
_Positions: TypeAlias = npt.NDArray[np.intp]

TIME_MODULUS = 1 << 32  # ms; the marker's clock wraps after 49.7 days
FRAME_MODULUS = 1 << 16

_MOST_PAST_MS = 600_000
_MOST_FUTURE_MS = -60_000

# The grid, in squares of 1/20 of the picture's width (64 pixels of 1280).
_COLUMNS, _ROWS = 16, 4
_LEFT, _TOP = 2, 1
_SQUARES_ACROSS = 20
_SQUARES_DOWN = 20 * 9 / 16

_PAYLOAD_BYTES = 6
# Without it, a white row of squares over three black ones would be a stamp whose CRC is right.
_PATTERN = bytes.fromhex("5ac3961e78a54b2d")
_BLACK, _WHITE = 16, 235  # the limits of video-range luma
_THRESHOLD = (_BLACK + _WHITE) / 2
_LEAST_CONTRAST = 30  # from the threshold to the mean of a square; less is neither black nor white
_READ_ROWS = 8  # of pixels, of each square: more say nothing new and cost time
_SMALLEST_SQUARE = 4  # pixels; below that the middle of a square is no longer clear of its neighbours


@dataclass(frozen=True)
class Stamp:
    """What one frame carries.

    Attributes:
        time_ms: a monotonic clock at capture, modulo 2**32 ms.
        frame: the publisher's frame counter, modulo 2**16.
    """

    time_ms: int
    frame: int

    def __post_init__(self) -> None:
        if not 0 <= self.time_ms < TIME_MODULUS:
            raise ValueError(f"time_ms is {self.time_ms}; allowed are 0 to {TIME_MODULUS - 1}")
        if not 0 <= self.frame < FRAME_MODULUS:
            raise ValueError(f"frame is {self.frame}; allowed are 0 to {FRAME_MODULUS - 1}")


def paint(luma: Plane, stamp: Stamp) -> None:
    """Paint `stamp` into a luma plane (height × width), in place.

    Raises:
        ValueError: the picture is too small for squares that can be read back.
    """
    columns, rows = _edges(luma.shape)
    if _are_too_small(columns, rows):
        raise ValueError(
            f"a picture of {luma.shape[1]}×{luma.shape[0]} is too small for the marker; "
            f"its squares need {_SMALLEST_SQUARE} pixels, so allowed is 80×45 and more"
        )
    bits = np.unpackbits(np.frombuffer(_to_bytes(stamp), dtype=np.uint8)).reshape(_ROWS, _COLUMNS)
    levels = np.where(bits == 1, _WHITE, _BLACK).astype(np.uint8)
    lines = levels.repeat(np.diff(columns), axis=1)
    for row, line in enumerate(lines):
        luma[rows[row] : rows[row + 1], columns[0] : columns[-1]] = line


def read(luma: Plane) -> Stamp | None:
    """Read the stamp from a luma plane of any size; None where there is none, or it is damaged."""
    places = _places(luma.shape)
    if places is None:
        return None
    pixel_rows, ends, widths = places
    # Sums over the middle of each square, and over what is between them, which is left out.
    sums = np.add.reduceat(luma[pixel_rows].sum(axis=1, dtype=np.uint32), ends, axis=1)[:, ::2]
    contrast = sums / (widths * pixel_rows.shape[1]) - _THRESHOLD
    if np.abs(contrast).min() < _LEAST_CONTRAST:
        return None
    return _from_bytes(np.packbits(contrast > 0).tobytes())


def elapsed_ms(stamped_ms: int, now_ms: float) -> float:
    """Time from a stamp to `now_ms` of the same clock, in ms, over the wrap of the marker's clock.

    The nearer direction is taken, so a stamp from the future (a clock that disagrees) is negative.
    """
    difference = (now_ms - stamped_ms) % TIME_MODULUS
    return difference - TIME_MODULUS if difference > TIME_MODULUS / 2 else difference


def unwrapped(number: int, last: int | None) -> int:
    """The frame counter of which 16 bits came: the number nearest to the last one, before or after it."""
    if last is None:
        return number
    half = FRAME_MODULUS // 2
    return last + (number - last + half) % FRAME_MODULUS - half


def believable(stamp: Stamp, now_ms: float) -> bool:
    """Whether a picture that came at `now_ms` can have been captured at the stamp's time.

    What passes may still be from a clock that disagrees, by a minute: that must be seen, not hidden.
    """
    return _MOST_FUTURE_MS <= elapsed_ms(stamp.time_ms, now_ms) <= _MOST_PAST_MS


@lru_cache(maxsize=16)
def _edges(shape: tuple[int, int]) -> tuple[_Positions, _Positions]:
    """Pixel positions of the grid's vertical and horizontal lines, in a picture of height × width."""
    height, width = shape
    columns = np.round((_LEFT + np.arange(_COLUMNS + 1)) * width / _SQUARES_ACROSS)
    rows = np.round((_TOP + np.arange(_ROWS + 1)) * height / _SQUARES_DOWN)
    return columns.astype(np.intp), rows.astype(np.intp)


def _are_too_small(columns: _Positions, rows: _Positions) -> bool:
    return bool(min(np.diff(columns).min(), np.diff(rows).min()) < _SMALLEST_SQUARE)


@lru_cache(maxsize=16)
def _places(shape: tuple[int, int]) -> tuple[_Positions, _Positions, _Positions] | None:
    """Where to look: rows of pixels per row of squares; the columns where the middles of squares begin
    and end, in turn; the width of each middle. None for a picture that is too small."""
    columns, rows = _edges(shape)
    if _are_too_small(columns, rows):
        return None
    middles = [_middle_half(int(start), int(end)) for start, end in pairwise(rows)]
    fewest = min(_READ_ROWS, *(end - start for start, end in middles))
    pixel_rows = np.array([np.linspace(start, end - 1, fewest).astype(np.intp) for start, end in middles])
    across = np.array([_middle_half(int(start), int(end)) for start, end in pairwise(columns)])
    return pixel_rows, across.ravel(), np.diff(across, axis=1).ravel()


def _middle_half(start: int, end: int) -> tuple[int, int]:
    """Codecs blur edges: only the middle of a square says what it is."""
    quarter = (end - start) // 4
    return start + quarter, end - quarter


def _to_bytes(stamp: Stamp) -> bytes:
    payload = stamp.time_ms.to_bytes(4, "big") + stamp.frame.to_bytes(2, "big")
    return _over_the_pattern(payload + _crc(payload))


def _from_bytes(data: bytes) -> Stamp | None:
    data = _over_the_pattern(data)
    payload, crc = data[:_PAYLOAD_BYTES], data[_PAYLOAD_BYTES:]
    if crc != _crc(payload):
        return None
    return Stamp(time_ms=int.from_bytes(payload[:4], "big"), frame=int.from_bytes(payload[4:], "big"))


def _over_the_pattern(data: bytes) -> bytes:
    return bytes(byte ^ pattern for byte, pattern in zip(data, _PATTERN, strict=True))


def _crc(payload: bytes) -> bytes:
    return binascii.crc_hqx(payload, 0xFFFF).to_bytes(2, "big")
