"""Which parts of an upload are taken over from the process that began it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast

import pytest

from recorder.storage.bucket import Bucket
from recorder.storage.next_upload import CheckParts
from recorder.storage.parts import SMALLEST
from recorder.storage.s3_errors import Meaning, StoreError
from recorder.storage.sending import send
from recorder.storage.upload_events import Event, PartsChecked, PartStored
from recorder.storage.upload_state import StoredPart

# As long as an MD5, but not the content's: a store that encrypts with a key of its own answers so.
_ENCRYPTED = "0123456789abcdef0123456789abcdef"
_UPLOAD = "upload-1"


class _Store:
    """A bucket with an upload. `parts` is what it lists; None: this key may not list."""

    def __init__(self, parts: dict[int, StoredPart] | None) -> None:
        self._parts = parts

    def parts(self, _path: str, _upload_id: str) -> dict[int, StoredPart]:
        if self._parts is None:
            raise StoreError(Meaning.REFUSED, "S3 upload failed: AccessDenied")
        return self._parts


def _checked(media: Path, known: dict[int, StoredPart], listed: dict[int, StoredPart] | None) -> list[Event]:
    """The events that follow from checking an upload of a file of three whole parts."""
    action = CheckParts("call.mp4", _UPLOAD, "local.mp4", 3 * SMALLEST, known)
    store: Any = _Store(listed)
    return send(action, cast(Bucket, store), backup=False, media=media, contents=media)


def _part(etag: str) -> StoredPart:
    return StoredPart(SMALLEST, etag)


def _stored(number: int, etag: str) -> PartStored:
    return PartStored(_UPLOAD, number, SMALLEST, etag)


@pytest.fixture
def media(tmp_path: Path) -> Path:
    with (tmp_path / "local.mp4").open("wb") as file:
        for number in (1, 2, 3):
            file.write(bytes([number]) * SMALLEST)
    return tmp_path


def _md5(number: int) -> str:
    return hashlib.md5(bytes([number]) * SMALLEST, usedforsecurity=False).hexdigest()


def test_parts_in_the_journal_are_taken_over_without_being_read(tmp_path: Path) -> None:
    """The file is not even there. The ETag of an encrypted part says nothing about its content."""
    known = {2: _part(_ENCRYPTED), 3: _part(_md5(3))}
    assert _checked(tmp_path, known, known) == []


def test_a_part_that_is_not_in_the_journal_is_compared_with_the_file(media: Path) -> None:
    known = {2: _part(_ENCRYPTED)}
    assert _checked(media, known, {**known, 3: _part(_md5(3))}) == [_stored(3, _md5(3))]
    assert _checked(media, known, {**known, 3: _part(_md5(1))}) == []


def test_a_part_that_the_store_has_lost_is_forgotten(media: Path) -> None:
    known = {2: _part(_ENCRYPTED), 3: _part(_md5(3))}
    assert _checked(media, known, {2: _part(_ENCRYPTED)}) == [
        PartsChecked(_UPLOAD),
        _stored(2, _ENCRYPTED),
    ]


def test_another_part_than_the_one_in_the_journal_is_compared_with_the_file(media: Path) -> None:
    known = {2: _part(_ENCRYPTED)}
    assert _checked(media, known, {2: _part(_md5(2))}) == [PartsChecked(_UPLOAD), _stored(2, _md5(2))]
    assert _checked(media, known, {2: _part(_md5(1))}) == [PartsChecked(_UPLOAD)]


def test_without_the_right_to_list_parts_those_in_the_journal_stay(tmp_path: Path) -> None:
    assert _checked(tmp_path, {2: _part(_ENCRYPTED)}, None) == []
