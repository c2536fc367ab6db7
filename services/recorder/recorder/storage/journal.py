"""The journal of an output: its upload events in a file, one JSON object per line.

The file only grows, by some 200 bytes per object or part. So an event costs the same at any time, also in the
tenth hour of segments. It is on the disk before the method returns that adds it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from recorder.storage.durable import AppendedFile, Reserve
from recorder.storage.upload_events import Added, ContentType, Event, Replaced
from recorder.storage.upload_state import UploadState

_EVENTS = {kind.__name__: kind for kind in get_args(Event)}


class Journal:
    """The events of one output and the state that follows from them."""

    def __init__(self, path: Path, reserve: Reserve) -> None:
        """Read the journal at `path`, or begin it."""
        self._file = AppendedFile(path, reserve)
        self.state = UploadState()
        for line in self._file.lines:
            self.state.apply(decode(line))

    def add(self, event: Event) -> None:
        """Record an event and apply it.

        Raises:
            OSError: it could not be written; the state is as before.
        """
        self._file.append(encode(event))
        self.state.apply(event)

    def close(self) -> None:
        self._file.close()


def encode(event: Event) -> bytes:
    """One line without its end."""
    return json.dumps({"event": type(event).__name__, **asdict(event)}).encode()


def decode(line: bytes) -> Event:
    """The event that `encode` made a line of."""
    fields: dict[str, Any] = json.loads(line)
    kind = _EVENTS[fields.pop("event")]
    if kind in (Added, Replaced):
        fields["content_type"] = ContentType(fields["content_type"])
    if kind is Replaced:
        fields["after"] = tuple(fields["after"])
    event: Event = kind(**fields)
    return event
