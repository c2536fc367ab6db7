"""What an output uploads, and how far that is: the state that follows from its events. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from recorder.storage.upload_events import (
    Added,
    Begun,
    ContentType,
    Ended,
    Event,
    Lost,
    PartsChecked,
    PartStored,
    Replaced,
    Sealed,
    Stored,
    Switched,
)


@dataclass(frozen=True)
class StoredPart:
    """A part in the store. `size` is in bytes; the ETag has no quotes."""

    size: int
    etag: str


@dataclass(frozen=True)
class StoredObject:
    """An object in the bucket. `size` is in bytes."""

    path: str
    content_type: ContentType
    size: int
    backup: bool


@dataclass
class Multipart:
    """A multipart upload that may exist in a store. `parts` are those that the store has, by number."""

    path: str
    upload_id: str
    backup: bool
    parts: dict[int, StoredPart] = field(default_factory=dict)


@dataclass
class FileState:
    """A file that is uploaded once. `size` is None while it grows; `growing` says that it was added so."""

    path: str
    file: str
    content_type: ContentType
    growing: bool
    size: int | None
    stored: StoredObject | None = None
    lost: str | None = None

    @property
    def settled(self) -> bool:
        return self.stored is not None or self.lost is not None


@dataclass
class ReplacedState:
    """An object whose content is replaced.

    `next` is the content that is to be stored next, `newest` the one after it. What comes between them is
    skipped. `next` is not replaced by `newest` while it waits for other objects: if each new playlist names a
    segment that is not stored yet, none would ever be stored.
    """

    path: str
    content_type: ContentType
    next: Replaced | None = None
    newest: Replaced | None = None
    current: Replaced | None = None
    stored: StoredObject | None = None
    lost: str | None = None

    @property
    def settled(self) -> bool:
        return self.next is None or self.lost is not None

    @property
    def files(self) -> set[str]:
        """The contents that are still needed; `current` is, for somebody who wants to change it."""
        return {one.file for one in (self.next, self.newest, self.current) if one is not None}


ObjectState: TypeAlias = FileState | ReplacedState


class UploadState:
    """The result of all events so far."""

    def __init__(self) -> None:
        self.objects: dict[str, ObjectState] = {}
        # By upload id, also those of a store that was given up, which may still hold their parts.
        self.multiparts: dict[str, Multipart] = {}
        # Why the primary store was given up.
        self.switched: str | None = None

    @property
    def backup(self) -> bool:
        """Whether objects go to the backup store now."""
        return self.switched is not None

    def multipart(self, path: str) -> Multipart | None:
        """The multipart upload of a path in the store that is used now."""
        for one in self.multiparts.values():
            if one.path == path and one.backup == self.backup:
                return one
        return None

    def file(self, path: str) -> FileState:
        """The file that is uploaded to `path`.

        Raises:
            ValueError: there is none.
        """
        found = self.objects.get(path)
        if not isinstance(found, FileState):
            raise ValueError(f"{path} is not the path of a file that was added")
        return found

    def replaced(self, path: str) -> ReplacedState | None:
        """The object at `path` whose content is replaced; None if it has had no content yet.

        Raises:
            ValueError: a file is uploaded to this path.
        """
        found = self.objects.get(path)
        if isinstance(found, FileState):
            raise ValueError(f"{path} is the path of a file that was added; it cannot be replaced")
        return found

    def unsettled(self) -> Iterator[ObjectState]:
        """What is neither stored nor lost, in the order in which it was added."""
        return (one for one in self.objects.values() if not one.settled)

    def apply(self, event: Event) -> None:
        """Change the state by one event."""
        match event:
            case Added():
                self.objects[event.path] = FileState(
                    event.path, event.file, event.content_type, event.size is None, event.size
                )
            case Sealed():
                self.file(event.path).size = event.size
            case Begun():
                self.multiparts[event.upload_id] = Multipart(event.path, event.upload_id, event.backup)
            case PartStored():
                self.multiparts[event.upload_id].parts[event.number] = StoredPart(event.size, event.etag)
            case PartsChecked():
                self.multiparts[event.upload_id].parts.clear()
            case Ended():
                self.multiparts.pop(event.upload_id, None)
            case Replaced():
                self._replace(event)
            case Stored():
                self._store(event)
            case Lost():
                self.objects[event.path].lost = event.reason
            case Switched():
                self.switched = event.reason

    def _replace(self, event: Replaced) -> None:
        known = self.replaced(event.path)
        if known is None:
            known = self.objects[event.path] = ReplacedState(event.path, event.content_type)
        if known.next is None:
            known.next = event
        else:
            known.newest = event

    def _store(self, event: Stored) -> None:
        known = self.objects[event.path]
        known.stored = StoredObject(event.path, known.content_type, event.size, event.backup)
        if isinstance(known, ReplacedState):
            known.current, known.next, known.newest = known.next, known.newest, None
