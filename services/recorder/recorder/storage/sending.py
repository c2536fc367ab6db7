"""Sends the requests that `next_upload` chooses, and gives the events that follow."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path

from recorder.storage.bucket import Bucket, FileSlice
from recorder.storage.next_upload import (
    Abort,
    Action,
    Begin,
    CheckParts,
    Complete,
    PutContent,
    PutFile,
    PutPart,
)
from recorder.storage.parts import all_parts
from recorder.storage.s3_errors import Meaning, StoreError
from recorder.storage.upload_events import Begun, Ended, Event, PartsChecked, PartStored, Stored
from recorder.storage.upload_state import StoredPart

_MD5 = re.compile(r"[0-9a-f]{32}")


def send(  # noqa: PLR0911 - one per action
    action: Action, bucket: Bucket, *, backup: bool, media: Path, contents: Path
) -> list[Event]:
    """Send the request for `action` to `bucket`, which is the backup or the primary one.

    Args:
        media: the directory of the files.
        contents: the directory of the contents of objects that are replaced.

    Raises:
        StoreError: the request failed.
        OSError: a file could not be read.
    """
    path = action.path
    match action:
        case PutFile():
            with FileSlice(media / action.file, 0, action.size) as body:
                bucket.put(path, body, action.content_type)
            return [Stored(path, action.size, backup)]
        case PutContent():
            with FileSlice(contents / action.file) as body:
                bucket.put(path, body, action.content_type)
                return [Stored(path, body.size, backup)]
        case Begin():
            return [Begun(path, bucket.begin(path, action.content_type), backup)]
        case CheckParts():
            return _check_parts(action, bucket, media)
        case PutPart():
            part = action.part
            with FileSlice(media / action.file, part.offset, part.size) as body:
                # If the machine crashes, this file must not have less than the store.
                body.sync()
                etag = bucket.put_part(path, action.upload_id, part.number, body)
            return [PartStored(action.upload_id, part.number, part.size, etag)]
        case Complete():
            bucket.complete(path, action.upload_id, action.etags, action.size)
            return [Stored(path, action.size, backup), Ended(action.upload_id)]
        case Abort():
            bucket.abort(path, action.upload_id)
            return [Ended(action.upload_id)]


def _check_parts(action: CheckParts, bucket: Bucket, media: Path) -> list[Event]:
    """Compare the store's parts with those in the journal, and others with the file.

    The file was on the disk before a part of it was sent, so the parts in the journal are the file's. A part
    that is not in the journal was sent just before its process died.
    """
    try:
        found = bucket.parts(action.path, action.upload_id)
    except StoreError as error:
        if error.meaning is not Meaning.REFUSED:
            raise
        # This key may not list parts. The store compares the ETags when it puts the parts together.
        return []
    confirmed = {number for number, part in action.known.items() if found.get(number) == part}
    # In the journal, this event says that only the parts after it are there.
    begins_anew = len(confirmed) < len(action.known)
    events: list[Event] = [PartsChecked(action.upload_id)] if begins_anew else []
    for part in all_parts(action.size):
        stored = found.get(part.number)
        if stored is None or stored.size != part.size:
            continue
        if part.number in confirmed:
            is_ours = begins_anew
        else:
            with FileSlice(media / action.file, part.offset, part.size) as body:
                is_ours = _may_be_of(stored, body)
        if is_ours:
            events.append(PartStored(action.upload_id, part.number, part.size, stored.etag))
    return events


def _may_be_of(part: StoredPart, body: io.RawIOBase) -> bool:
    """Whether the store's part has this content, as far as its ETag tells.

    A store that encrypts may give other ETags. Those of the same form as an MD5 cost another upload.
    """
    if not _MD5.fullmatch(part.etag):
        return True
    digest = hashlib.md5(usedforsecurity=False)
    while block := body.read(1024 * 1024):
        digest.update(block)
    return digest.hexdigest() == part.etag
