"""Names of files and objects: templates and defaults as livekit/egress fills them in. Pure.

Facts: livekit/egress v1.14, `pkg/config/output_file.go`, `output_segment.go`, `output_image.go`. Differences:
a name never leads out of the directory that its template names; only known extensions are cut off, so that
`{room_name}` may contain dots; times are in UTC; names that a store could not take are refused.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from recorder.errors import Code, EgressError, invalid_field
from recorder.requests.encoding import Container

_EXTENSIONS = {
    Container.MP4: ".mp4",
    Container.OGG: ".ogg",
    Container.MP3: ".mp3",
    Container.HLS: ".m3u8",
}
_KNOWN = frozenset({".raw", ".ogg", ".mp3", ".ivf", ".mp4", ".ts", ".webm", ".m3u8", ".jpeg"})
_WORD = re.compile(r"\{(\w+)\}")
# S3's limit of a key. The target's prefix may take a part of it.
_LONGEST_KEY = 1024
# File systems, and object stores on them, take 255 bytes. Segments and images add up to 23 to their prefix.
_LONGEST_NAME = 255 - 23
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Naming:
    """What names are made of.

    Attributes:
        identifier: begins a generated name: the room's name, or a track's id.
        values: what stands for `{room_name}` and its like, by the word in braces.
        now: when the egress was requested, in UTC.
        retry: how many attempts LiveKit made before; from 1 on, explicit names must contain `{retry}`.
    """

    identifier: str
    values: Mapping[str, str]
    now: datetime
    retry: int = 0

    def fill(self, template: str) -> str:
        """The template with the known words replaced; unknown words stay."""
        known = {"time": f"{self.now:%Y-%m-%dT%H%M%S}", "utc": stamp(self.now), **self.values}
        if self.retry:
            known["retry"] = str(self.retry)
        # In one pass: a room may be named `{utc}`.
        return _WORD.sub(lambda word: _harmless(known.get(word[1], word[0])), template)

    @property
    def generated(self) -> str:
        """A name for outputs that have none. It contains directories if the identifier does."""
        name = f"{_harmless(self.identifier)}-{self.now:%Y-%m-%dT%H%M%S}"
        return clean(f"{name}-{self.retry}" if self.retry else name)


@dataclass(frozen=True)
class SegmentNames:
    """Keys of an HLS output.

    `directory` ends with "/" or is empty. The other names are relative to it. `prefix` may contain a
    subdirectory.
    """

    directory: str
    playlist: str
    live_playlist: str | None
    prefix: str


@dataclass(frozen=True)
class ImageNames:
    """Keys of an image output. `directory` ends with "/" or is empty; `prefix` is relative to it."""

    directory: str
    prefix: str


def stamp(moment: datetime) -> str:
    """A moment in names: year to millisecond, digits only."""
    return f"{moment:%Y%m%d%H%M%S}{moment.microsecond // 1000:03d}"


def clean(path: str) -> str:
    """A path without `.`, `..`, doubled and leading slashes. It keeps a slash at its end."""
    if not path:
        return ""
    normal = posixpath.normpath(path).lstrip("/")
    while normal.startswith("../"):
        normal = normal[3:]
    if normal in {"", ".", ".."}:
        return ""
    return f"{normal}/" if path.endswith("/") else normal


def file_key(path: str, container: Container, naming: Naming) -> str:
    """The key of a file output. Raises EgressError (FAILED_PRECONDITION, INVALID_ARGUMENT)."""
    check_retry(path, naming)
    filled = clean(naming.fill(path))
    extension = _EXTENSIONS[container]
    if not filled or filled.endswith("/"):
        key = f"{filled}{naming.generated}{extension}"
    elif filled.endswith(extension):
        key = filled
    else:
        key = f"{_without_extension(filled)}{extension}"
    return _checked("filepath", key)


def segment_names(prefix: str, playlist: str, live_playlist: str, naming: Naming) -> SegmentNames:
    """The keys of an HLS output. Raises EgressError (FAILED_PRECONDITION, INVALID_ARGUMENT)."""
    _require_retry(clean(prefix) or clean(playlist), naming)
    directory, name = _split(clean(naming.fill(playlist)))
    live_directory, live_name = _split(clean(naming.fill(live_playlist)))
    segment_directory, segment_name = _split(clean(naming.fill(prefix)))
    if live_directory and live_directory != directory:
        allowed = f"a name in {directory}" if directory else "a name without a directory"
        raise invalid_field("live_playlist_name", live_playlist, allowed)
    if not directory:
        directory, segment_directory = segment_directory, ""
    elif segment_directory == directory:
        segment_directory = ""
    name, live_name = _without_extension(name), _without_extension(live_name)
    if not name:
        inner, name = _split(segment_name or naming.generated)
        directory += inner
    if live_name == name:
        raise invalid_field("live_playlist_name", live_playlist, "another name than playlist_name")
    extension = _EXTENSIONS[Container.HLS]
    names = SegmentNames(
        directory=directory,
        playlist=f"{name}{extension}",
        live_playlist=f"{live_name}{extension}" if live_name else None,
        prefix=f"{segment_directory}{segment_name or name}",
    )
    _checked("playlist_name", f"{directory}{names.playlist}")
    _checked("live_playlist_name", f"{directory}{names.live_playlist or ''}")
    _checked("filename_prefix", f"{directory}{names.prefix}")
    return names


def image_names(prefix: str, naming: Naming) -> ImageNames:
    """The keys of an image output. Raises EgressError (INVALID_ARGUMENT)."""
    directory, name = _split(clean(naming.fill(prefix)))
    if not name:
        inner, name = _split(naming.generated)
        directory += inner
    _checked("filename_prefix", f"{directory}{name}")
    return ImageNames(directory, name)


def check_retry(path: str, naming: Naming) -> None:
    """Refuse a file's path that a further attempt would write to again. Raises EgressError.

    A path that is empty or ends with "/" gets a generated name.
    """
    path = clean(path)
    if not path.endswith("/"):
        _require_retry(path, naming)


def _require_retry(path: str, naming: Naming) -> None:
    if naming.retry and path and "{retry}" not in path:
        text = "output configuration does not support retry"
        raise EgressError(Code.FAILED_PRECONDITION, f"{text}: {path!r} lacks {{retry}}")


def _harmless(value: str) -> str:
    """A value that may bring directories into a name, but does not lead out of one."""
    return "/".join("_" * len(part) if part in {".", ".."} else part for part in value.split("/"))


def _checked(field: str, key: str) -> str:
    if len(key.encode()) > _LONGEST_KEY:
        raise invalid_field(field, key, f"at most {_LONGEST_KEY} bytes")
    if any(len(name.encode()) > _LONGEST_NAME for name in key.split("/")):
        raise invalid_field(field, key, f"at most {_LONGEST_NAME} bytes between two slashes")
    if _CONTROL.search(key):
        raise invalid_field(field, key, "no control characters")
    return key


def _split(path: str) -> tuple[str, str]:
    directory, slash, name = path.rpartition("/")
    return f"{directory}{slash}", name


def _without_extension(name: str) -> str:
    base, found = posixpath.splitext(name)
    return base if found in _KNOWN else name
