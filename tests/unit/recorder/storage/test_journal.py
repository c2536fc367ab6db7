"""The journal of an output, and the small files that must survive a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.storage.durable import Reserve, write_atomic
from recorder.storage.journal import Journal, decode, encode
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

EVENTS: list[Event] = [
    Added("a/ü.mp4", "local.mp4", ContentType.MP4, None),
    Added("1.ts", "1.ts", ContentType.MPEG_TS, 1000),
    Begun("a/ü.mp4", "upload-1", backup=False),
    PartStored("upload-1", 2, 5_242_880, "0123"),
    PartsChecked("upload-1"),
    Sealed("a/ü.mp4", 12_000_000),
    Replaced("list.m3u8", "content", ContentType.PLAYLIST, ("1.ts",)),
    Stored("1.ts", 1000, backup=False),
    Switched("S3 upload failed: AccessDenied:\nno"),
    Ended("upload-1"),
    Lost("a/ü.mp4", "missing"),
]


@pytest.fixture
def reserve(tmp_path: Path) -> Reserve:
    return Reserve(tmp_path / "reserve")


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_is_one_line_that_gives_the_event(event: Event) -> None:
    line = encode(event)
    assert b"\n" not in line
    assert decode(line) == event


def test_a_journal_that_is_read_again_has_the_same_state(tmp_path: Path, reserve: Reserve) -> None:
    journal = Journal(tmp_path / "file.uploads", reserve)
    for event in EVENTS:
        journal.add(event)
    journal.close()
    again = Journal(tmp_path / "file.uploads", reserve)
    assert again.state.objects == journal.state.objects
    assert again.state.multiparts == journal.state.multiparts
    assert again.state.backup


def test_a_line_that_was_being_written_is_ignored_and_overwritten(tmp_path: Path, reserve: Reserve) -> None:
    path = tmp_path / "file.uploads"
    journal = Journal(path, reserve)
    journal.add(EVENTS[0])
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"event": "Sealed", "path": "a long path that is longer than the next event')
    journal = Journal(path, reserve)
    assert list(journal.state.objects) == ["a/ü.mp4"]
    journal.add(EVENTS[1])
    journal.close()
    assert list(Journal(path, reserve).state.objects) == ["a/ü.mp4", "1.ts"]
    assert len(path.read_bytes().splitlines()) == 2


def test_a_written_file_replaces_the_old_one_and_only_its_owner_may_read_it(
    tmp_path: Path, reserve: Reserve
) -> None:
    file = tmp_path / "info.bin"
    write_atomic(file, b"old", reserve)
    write_atomic(file, b"new", reserve)
    assert file.read_bytes() == b"new"
    assert file.stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["info.bin", "reserve"]
