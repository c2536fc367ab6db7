"""How much of a fragmented MP4 is usable if its writer was killed. Pure, on a file object.

FFmpeg's `hybrid_fragmented` writes `ftyp`, `free`, `moov` with an `mdat` for the first fragment, then a
`moof` and an `mdat` for each further one (libavformat/movenc.c). At a normal end it appends a `moov` for the
whole file and turns the second `free` into an `mdat` that covers everything in between.

Source of the box format: ISO/IEC 14496-12, section 4.2.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_HEADER = struct.Struct(">I4s")
_LONG_SIZE = struct.Struct(">Q")


@dataclass(frozen=True)
class Box:
    """A box of the file's top level that is there as a whole."""

    kind: bytes
    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


def usable_length(file: BinaryIO) -> int:
    """Bytes up to the end of the last complete fragment; the rest is to be cut off.

    This is the whole file if its writer finished it, and 0 if it has no complete fragment.
    """
    length = 0
    previous = b""
    for box in top_level_boxes(file):
        fragment = box.kind == b"mdat" and previous in (b"moov", b"moof")
        # A second `moov` without the new header in front means that the writer was killed in its last step.
        finished = box.kind == b"moov" and previous == b"mdat" and length == 0
        if fragment or finished:
            length = box.end
        previous = box.kind
    return length


def top_level_boxes(file: BinaryIO) -> Iterator[Box]:
    """The boxes from the beginning of the file to the first one that is incomplete or no box at all."""
    total = file.seek(0, os.SEEK_END)
    offset = 0
    while offset + _HEADER.size <= total:
        file.seek(offset)
        size, kind = _HEADER.unpack(file.read(_HEADER.size))
        smallest = _HEADER.size
        if size == 1:
            long_size = file.read(_LONG_SIZE.size)
            if len(long_size) < _LONG_SIZE.size:
                return
            [size] = _LONG_SIZE.unpack(long_size)
            smallest += _LONG_SIZE.size
        # A size of 0 means "to the end of the file". Here it is what a crash of the machine leaves: zeros.
        if size < smallest or offset + size > total:
            return
        yield Box(kind, offset, size)
        offset += size
