"""Messages as lines of a log that others write into too, and that may be cut or read twice.

A line is `@load MESSAGE PART/PARTS PAYLOAD CHECKSUM`: the message's number from 0, which of its parts
this is, a part of the message (zlib, then base64), and the CRC-32 of all before it. What has no such
form, or another checksum, is a line of text.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections import deque
from collections.abc import Iterable

# Container runtimes split lines at 16 KiB; kubelets put them together again, other readers do not.
_PAYLOAD_CHARACTERS = 8 * 1024
_KEPT_TEXT_LINES = 40
_LINE = re.compile(r"@load (\d+) (\d+)/(\d+) ([A-Za-z0-9+/=]*) ([0-9a-f]{8})")


class Encoder:
    """Numbers messages and makes lines of them."""

    def __init__(self) -> None:
        self._messages = 0

    def lines(self, message: bytes) -> list[str]:
        """The lines of one message, without line ends."""
        payload = base64.b64encode(zlib.compress(message)).decode()
        starts = range(0, len(payload), _PAYLOAD_CHARACTERS)
        heads = [f"@load {self._messages} {part}/{len(starts)}" for part in range(1, len(starts) + 1)]
        self._messages += 1
        return [
            _sealed(f"{head} {payload[start : start + _PAYLOAD_CHARACTERS]}")
            for head, start in zip(heads, starts, strict=True)
        ]


class Decoder:
    """Puts messages together again. The same lines may be given again: each message comes once."""

    def __init__(self) -> None:
        self._parts: dict[int, dict[int, str]] = {}
        self._wanted: dict[int, int] = {}
        self._complete: set[int] = set()
        self._text: deque[str] = deque(maxlen=_KEPT_TEXT_LINES)

    def take(self, lines: Iterable[str]) -> list[bytes]:
        """The messages that these lines complete, in the order of their last lines."""
        return [message for line in lines if (message := self._message(line.rstrip("\r\n"))) is not None]

    def read_again(self) -> None:
        """What comes next is the log from its start: its text will come again."""
        self._text.clear()

    @property
    def text(self) -> str:
        """The end of what was no frame."""
        return "\n".join(self._text)

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of the messages that are known to exist and are not complete."""
        known = max([*self._complete, *self._wanted], default=-1)
        return tuple(number for number in range(known + 1) if number not in self._complete)

    def _message(self, line: str) -> bytes | None:
        frame = _LINE.fullmatch(line)
        if frame is None or line != _sealed(line[: frame.start(5) - 1]):
            self._text.append(line)
            return None
        message, part, parts = (int(frame[group]) for group in (1, 2, 3))
        if message in self._complete:
            return None
        self._wanted[message] = parts
        there = self._parts.setdefault(message, {})
        there[part] = frame[4]
        if len(there) < parts:
            return None
        self._complete.add(message)
        del self._parts[message]
        del self._wanted[message]
        return zlib.decompress(base64.b64decode("".join(there[number] for number in sorted(there))))


def _sealed(content: str) -> str:
    return f"{content} {binascii.crc32(content.encode()):08x}"
