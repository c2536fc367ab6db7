"""What happens to the objects of an output, as events that a journal keeps.

Objects are named by their path in the bucket, without the target's prefix. A path names one object.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class ContentType(StrEnum):
    """What an object is. The values are livekit/egress' output types (`pkg/types`), which it sends to S3."""

    MP4 = "video/mp4"
    WEBM = "video/webm"
    OGG = "audio/ogg"
    MP3 = "audio/mpeg"
    MPEG_TS = "video/mp2t"
    PLAYLIST = "application/x-mpegurl"
    JPEG = "image/jpeg"
    JSON = "application/json"


@dataclass(frozen=True)
class Added:
    """There is a file to upload, with the name `file` in `media`. It grows if `size` is None."""

    path: str
    file: str
    content_type: ContentType
    size: int | None


@dataclass(frozen=True)
class Sealed:
    """A growing file is complete."""

    path: str
    size: int


@dataclass(frozen=True)
class Begun:
    """A multipart upload exists in the store. `backup`: in the backup store, not in the primary one."""

    path: str
    upload_id: str
    backup: bool


@dataclass(frozen=True)
class PartStored:
    """The store has a part."""

    upload_id: str
    number: int
    size: int
    etag: str


@dataclass(frozen=True)
class PartsChecked:
    """The store was asked; it has the parts of which `PartStored` events follow, and no others."""

    upload_id: str


@dataclass(frozen=True)
class Ended:
    """A multipart upload no longer exists: it was completed, aborted or lost by the store."""

    upload_id: str


@dataclass(frozen=True)
class Replaced:
    """An object has new content, the file `file` in `contents`.

    Attributes:
        after: paths of the objects that must be in the bucket before this content is.
    """

    path: str
    file: str
    content_type: ContentType
    after: tuple[str, ...]


@dataclass(frozen=True)
class Stored:
    """The object is in the bucket: the file, or the content that was to be stored next."""

    path: str
    size: int
    backup: bool


@dataclass(frozen=True)
class Lost:
    """The object will never be in the bucket."""

    path: str
    reason: str


@dataclass(frozen=True)
class Switched:
    """The primary store failed: from now on everything goes to the backup store."""

    reason: str


Event: TypeAlias = (
    Added | Sealed | Begun | PartStored | PartsChecked | Ended | Replaced | Stored | Lost | Switched
)
