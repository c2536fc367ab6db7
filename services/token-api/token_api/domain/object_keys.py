"""Where recordings are in the object store. Callers have no say in it."""

from __future__ import annotations

import re
from datetime import datetime

_PREFIX = "recordings/"
_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_KEY = re.compile(rf"{_PREFIX}(?P<stream>{_ID})/{_ID}/(?P<recording>{_ID})\.mp4")
_NAME_CHARACTERS = 60


def recording_key(stream_id: str, session_id: str, recording_id: str) -> str:
    """The key of a recording's file."""
    return f"{_PREFIX}{stream_id}/{session_id}/{recording_id}.mp4"


def is_recording_key(key: str) -> bool:
    """Whether `recording_key` makes such keys."""
    return _KEY.fullmatch(key) is not None


def ids_of(key: str) -> tuple[str, str]:
    """The ids of the stream and of the recording of a key. Raises ValueError for another key."""
    found = _KEY.fullmatch(key)
    if found is None:
        raise ValueError(f"{key} is not the key of a recording")
    return found["stream"], found["recording"]


def file_name(title: str, at: datetime) -> str:
    """A name to save a recording under: safe in a header and on every file system."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", title)[:_NAME_CHARACTERS].strip("-")
    return f"{words or 'recording'}-{at:%Y%m%d-%H%M%S}.mp4"
