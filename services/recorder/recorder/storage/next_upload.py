"""Which request to the store comes next. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import TypeAlias

from recorder.storage.parts import Part, all_parts, full_parts, part
from recorder.storage.upload_events import ContentType, Replaced
from recorder.storage.upload_state import FileState, Multipart, ReplacedState, StoredPart, UploadState


@dataclass(frozen=True)
class PutFile:
    """Upload a whole file. `file` is its name in `media`."""

    path: str
    file: str
    content_type: ContentType
    size: int


@dataclass(frozen=True)
class PutContent:
    """Upload the next content of an object that is replaced. `file` is its name in `contents`."""

    path: str
    file: str
    content_type: ContentType


@dataclass(frozen=True)
class Begin:
    """Create a multipart upload."""

    path: str
    content_type: ContentType


@dataclass(frozen=True)
class CheckParts:
    """Ask the store which parts of an upload it has that another process began.

    `size` is the file's; `known` are the parts that the other process recorded, by number.
    """

    path: str
    upload_id: str
    file: str
    size: int
    known: Mapping[int, StoredPart]


@dataclass(frozen=True)
class PutPart:
    """Upload a part of a file."""

    path: str
    upload_id: str
    file: str
    part: Part


@dataclass(frozen=True)
class Complete:
    """Make an object of `size` bytes of the parts with these ETags, by number."""

    path: str
    upload_id: str
    etags: Mapping[int, str]
    size: int


@dataclass(frozen=True)
class Abort:
    """Delete a multipart upload that is not continued, in the backup store or in the primary one."""

    path: str
    upload_id: str
    backup: bool


Action: TypeAlias = PutFile | PutContent | Begin | CheckParts | PutPart | Complete | Abort


def next_action(
    state: UploadState, sizes: Mapping[str, int], *, unchecked: Set[str], unreachable: Set[str]
) -> Action | None:
    """The next request, or None if there is nothing to do now.

    Playlists come first, as soon as the segments are stored that they wait for. Files follow in the order in
    which they were added. Multipart uploads that are not continued come last.

    Args:
        sizes: bytes of the files that grow, by path.
        unchecked: ids of the multipart uploads that another process began.
        unreachable: ids of the multipart uploads that could not be aborted.
    """
    waiting = list(state.unsettled())
    for one in waiting:
        if isinstance(one, ReplacedState) and one.next is not None and _may_be_stored(one.next, state):
            return PutContent(one.path, one.next.file, one.content_type)
    for one in waiting:
        if isinstance(one, FileState):
            size = sizes[one.path] if one.size is None else one.size
            action = _next_of_file(one, size, state.multipart(one.path), unchecked)
            if action is not None:
                return action
    for multipart in state.multiparts.values():
        given_up = multipart.backup != state.backup or state.objects[multipart.path].settled
        if given_up and multipart.upload_id not in unreachable:
            return Abort(multipart.path, multipart.upload_id, multipart.backup)
    return None


def _may_be_stored(content: Replaced, state: UploadState) -> bool:
    # A segment whose file is missing is never stored. A playlist with a gap is better than none.
    return all(state.objects[path].settled for path in content.after)


def _next_of_file(
    one: FileState, size: int, multipart: Multipart | None, unchecked: Set[str]
) -> Action | None:
    complete = one.size is not None
    if multipart is None:
        # One part is held back, so only the second one can be uploaded while the file grows.
        if size >= part(2).end:
            return Begin(one.path, one.content_type)
        return PutFile(one.path, one.file, one.content_type, size) if complete else None
    if multipart.upload_id in unchecked:
        return CheckParts(one.path, multipart.upload_id, one.file, size, dict(multipart.parts))
    parts = all_parts(size) if complete else full_parts(size)
    # The muxer rewrites the first bytes of a file at its end, so the first part is uploaded last.
    for wanted in (*parts[1:], *(parts[:1] if complete else ())):
        known = multipart.parts.get(wanted.number)
        if known is None or known.size != wanted.size:
            return PutPart(one.path, multipart.upload_id, one.file, wanted)
    if complete:
        etags = {wanted.number: multipart.parts[wanted.number].etag for wanted in parts}
        return Complete(one.path, multipart.upload_id, etags, size)
    return None
