"""A timestamp and a frame number, painted into the picture as black and white squares.

The squares are luma only and large, so that they outlive lossy codecs and the scaling of simulcast
layers: 64 pixels wide in 1280×720, they are still 16 pixels wide in the 320×180 layer. The place of
a square is a fraction of the picture, so one decoder reads every size, and recorded files too.

64 squares carry, most significant bit first: 32 bits of time in ms, 16 bits of frame number, and a
CRC-16/CCITT over both, which tells a damaged or absent marker from a readable one.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Plane: TypeAlias = npt.NDArray[np.uint8]

TIME_MODULUS = 1 << 32  # ms; the marker's clock wraps after 49.7 days
FRAME_MODULUS = 1 << 16

# The grid, in squares of 1/20 of the picture's width (64 pixels of 1280).
_COLUMNS, _ROWS = 16, 4
_LEFT, _TOP = 2, 1
_SQUARES_ACROSS = 20
_SQUARES_DOWN = 20 * 9 / 16

_PAYLOAD_BYTES = 6
_BLACK, _WHITE = 16, 235  # the limits of video-range luma
_THRESHOLD = (_BLACK + _WHITE) / 2
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
    columns, rows = _edges(luma)
    if min(np.diff(columns).min(), np.diff(rows).min()) < _SMALLEST_SQUARE:
        raise ValueError(
            f"a picture of {luma.shape[1]}×{luma.shape[0]} is too small for the marker; "
            f"its squares need {_SMALLEST_SQUARE} pixels, so allowed is 80×45 and more"
        )
    bits = np.unpackbits(np.frombuffer(_to_bytes(stamp), dtype=np.uint8)).reshape(_ROWS, _COLUMNS)
    levels = np.where(bits == 1, _WHITE, _BLACK).astype(np.uint8)
    painted = levels.repeat(np.diff(rows), axis=0).repeat(np.diff(columns), axis=1)
    luma[rows[0] : rows[-1], columns[0] : columns[-1]] = painted


def read(luma: Plane) -> Stamp | None:
    """Read the stamp from a luma plane of any size; None where there is none, or it is damaged."""
    columns, rows = _edges(luma)
    if min(np.diff(columns).min(), np.diff(rows).min()) < _SMALLEST_SQUARE:
        return None
    bits = np.empty((_ROWS, _COLUMNS), dtype=np.uint8)
    for row in range(_ROWS):
        top, bottom = _middle_half(rows[row], rows[row + 1])
        for column in range(_COLUMNS):
            left, right = _middle_half(columns[column], columns[column + 1])
            bits[row, column] = luma[top:bottom, left:right].mean() > _THRESHOLD
    return _from_bytes(np.packbits(bits).tobytes())


def elapsed_ms(stamped_ms: int, now_ms: float) -> float:
    """Time from a stamp to `now_ms` of the same clock, in ms, over the wrap of the marker's clock.

    The nearer direction is taken, so a stamp from the future (a clock that disagrees) is negative.
    """
    difference = (now_ms - stamped_ms) % TIME_MODULUS
    return difference - TIME_MODULUS if difference > TIME_MODULUS / 2 else difference


def _edges(luma: Plane) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Pixel positions of the grid's vertical and horizontal lines."""
    height, width = luma.shape
    columns = np.round((_LEFT + np.arange(_COLUMNS + 1)) * width / _SQUARES_ACROSS)
    rows = np.round((_TOP + np.arange(_ROWS + 1)) * height / _SQUARES_DOWN)
    return columns.astype(np.intp), rows.astype(np.intp)


def _middle_half(start: int, end: int) -> tuple[int, int]:
    """Codecs blur edges: only the middle of a square says what it is."""
    quarter = (end - start) // 4
    return start + quarter, end - quarter


def _to_bytes(stamp: Stamp) -> bytes:
    payload = stamp.time_ms.to_bytes(4, "big") + stamp.frame.to_bytes(2, "big")
    return payload + _crc(payload)


def _from_bytes(data: bytes) -> Stamp | None:
    payload, crc = data[:_PAYLOAD_BYTES], data[_PAYLOAD_BYTES:]
    if crc != _crc(payload):
        return None
    return Stamp(time_ms=int.from_bytes(payload[:4], "big"), frame=int.from_bytes(payload[4:], "big"))


def _crc(payload: bytes) -> bytes:
    # Started from 0xFFFF, so that an all-black picture is not a valid stamp of zeros.
    return binascii.crc_hqx(payload, 0xFFFF).to_bytes(2, "big")
