"""How much of an MP4 is usable. Files of a real muxer are tested in tests/recorder/storage."""

from __future__ import annotations

import io
import struct

import pytest

from recorder.storage.mp4_boxes import top_level_boxes, usable_length


def box(kind: str, content: int = 20) -> bytes:
    return struct.pack(">I4s", 8 + content, kind.encode()) + b"x" * content


def long_box(kind: str, content: int = 20) -> bytes:
    return struct.pack(">I4sQ", 1, kind.encode(), 16 + content) + b"x" * content


# What hybrid_fragmented has on the disk while it records.
HEAD = box("ftyp") + box("free", 0) + box("free")
FIRST = box("moov") + box("mdat", 50)
NEXT = box("moof") + box("mdat", 70)


@pytest.mark.parametrize(
    ("file", "usable"),
    [
        (b"", b""),
        (HEAD, b""),
        (HEAD + box("moov"), b""),
        (HEAD + box("moov") + box("mdat", 50)[:-1], b""),
        (HEAD + FIRST, HEAD + FIRST),
        (HEAD + FIRST + box("moof"), HEAD + FIRST),
        (HEAD + FIRST + box("moof")[:5], HEAD + FIRST),
        (HEAD + FIRST + NEXT[:-1], HEAD + FIRST),
        (HEAD + FIRST + NEXT, HEAD + FIRST + NEXT),
        (HEAD + FIRST + NEXT + NEXT, HEAD + FIRST + NEXT + NEXT),
        # The size of the file was written before its content when the machine crashed.
        (HEAD + FIRST + NEXT + bytes(4096), HEAD + FIRST + NEXT),
        (HEAD + FIRST + NEXT + b"\xff" * 4096, HEAD + FIRST + NEXT),
        # A box whose size is smaller than its own header.
        (HEAD + FIRST + struct.pack(">I4s", 7, b"moof") + box("mdat"), HEAD + FIRST),
        # Killed between the last two writes of its end: the index, and the new header in front.
        (HEAD + FIRST + NEXT + box("moov"), HEAD + FIRST + NEXT),
        # A second file of the same kind does not follow from one whose header is incomplete.
        (HEAD + FIRST + struct.pack(">I4sI", 1, b"mdat", 0), HEAD + FIRST),
        # Finished.
        (box("ftyp") + box("free", 0) + box("mdat", 500) + box("moov"), None),
        (box("ftyp") + box("free", 0) + long_box("mdat", 500) + box("moov"), None),
    ],
)
def test_what_follows_the_last_complete_fragment_is_not_usable(file: bytes, usable: bytes | None) -> None:
    expected = len(file) if usable is None else len(usable)
    assert usable_length(io.BytesIO(file)) == expected


def test_boxes_larger_than_4_gib_are_understood() -> None:
    boxes = list(top_level_boxes(io.BytesIO(box("ftyp") + long_box("mdat", 30) + box("moov"))))
    assert [(one.kind, one.size) for one in boxes] == [(b"ftyp", 28), (b"mdat", 46), (b"moov", 28)]
