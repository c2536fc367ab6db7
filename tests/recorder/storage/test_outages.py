"""Stores that are away, and the backup."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from common.waiting import wait_until
from recorder.errors import Code, EgressError
from recorder.storage.bucket import Bucket
from recorder.storage.destination import Destination
from recorder.storage.names import location
from recorder.storage.resume import resume
from recorder.storage.spool import EgressDirectory
from recorder.storage.upload_events import ContentType
from recorder.storage.upload_state import StoredObject
from recorder.storage.uploads import UploadQueue
from tests.ports import free_port
from tests.recorder.storage.conftest import MIB, OUTPUT, Events, Store, append, noise, uploading
from tests.support.speed import scaled


@pytest.fixture(scope="module")
def _second_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(tmp_path_factory.mktemp("second"))
    yield store
    store.stop()


@pytest.fixture
def second_store(_second_store: Store) -> Iterator[Store]:
    yield _second_store
    _second_store.reset()


def test_a_store_that_was_away_gets_everything_in_its_order(
    store: Store, directory: EgressDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    recording = directory.media / "local.mp4"
    append(recording, noise(11 * MIB))
    with uploading(directory, store.target()) as queue:
        queue.add_growing("call.mp4", "local.mp4", ContentType.MP4)
        store.wait_for_parts("call.mp4", [2])
        store.stop()
        append(recording, noise(12 * MIB, seed=2))
        (directory.media / "1.ts").write_bytes(b"segment")
        queue.add_file("1.ts", "1.ts", ContentType.MPEG_TS)
        queue.replace("list.m3u8", b"1.ts", ContentType.PLAYLIST, after=["1.ts"])
        wait_until(
            lambda: "does not answer" in caplog.text,
            timeout=scaled(20),
            describe="a request to fail",
            interval=0.05,
        )
        queue.seal("call.mp4")
        assert not queue.drain(0.5)
        store.start()
        assert queue.drain(scaled(20))
    assert store.content("call.mp4") == recording.read_bytes()
    assert sorted(store.keys()) == ["1.ts", "call.mp4", "list.m3u8"]
    assert store.uploads() == {}


def test_a_store_that_stays_away_fails_when_the_patience_is_over(directory: EgressDirectory) -> None:
    nowhere = Store.target_of_nobody(free_port())
    (directory.media / "1.ts").write_bytes(b"segment")
    events = Events()
    with uploading(directory, nowhere, observer=events) as queue:
        queue.add_file("1.ts", "1.ts", ContentType.MPEG_TS)
        assert not queue.drain(1), "without a limit it waits for the store"
        queue.patience = 0.5
        with pytest.raises(EgressError, match="S3 upload failed: the store does not answer: ") as failed:
            queue.drain(scaled(20))
        assert failed.value.code is Code.INVALID_ARGUMENT
        assert events.errors == [failed.value]
        with pytest.raises(EgressError, match="does not answer"):
            queue.replace("list.m3u8", b"", ContentType.PLAYLIST)
    assert (directory.media / "1.ts").exists()


def test_the_backup_gets_the_recording_and_the_primary_is_tidied_up_when_it_is_back(
    store: Store, second_store: Store, directory: EgressDirectory
) -> None:
    recording = directory.media / "local.mp4"
    append(recording, noise(16 * MIB))
    (directory.media / "1.ts").write_bytes(b"segment")
    events = Events()
    with uploading(
        directory, store.target(), second_store.target(prefix="backup"), observer=events, patience=0.5
    ) as queue:
        queue.add_file("1.ts", "1.ts", ContentType.MPEG_TS)
        queue.add_growing("call.mp4", "local.mp4", ContentType.MP4)
        store.wait_for_parts("call.mp4", [2, 3])
        store.stop()
        append(recording, noise(6 * MIB, seed=2))
        second_store.wait_for_parts("backup/call.mp4", [2, 3, 4])
        queue.seal("call.mp4")
        assert queue.drain(scaled(40))
        assert queue.left_over() == ["call.mp4"]
        where = {path: queue.location(path) for path in ("1.ts", "call.mp4", "list.m3u8")}
    backup = second_store.target(prefix="backup")
    assert where == {
        "1.ts": location(store.target(), "1.ts"),
        "call.mp4": location(backup, "call.mp4"),
        "list.m3u8": location(backup, "list.m3u8"),
    }, "an object is where it was stored"
    [reason] = events.reasons
    assert reason.startswith("S3 upload failed: the store does not answer: ")
    assert events.objects == [
        StoredObject("1.ts", ContentType.MPEG_TS, len(b"segment"), backup=False),
        StoredObject("call.mp4", ContentType.MP4, 22 * MIB, backup=True),
    ]
    assert second_store.content("backup/call.mp4") == recording.read_bytes()

    store.start()
    assert list(store.uploads()) == ["call.mp4"]
    destination = Destination(Bucket(store.target()), Bucket(backup))
    [output] = resume(directory, {OUTPUT: destination}, timeout=scaled(20))
    assert (output.left_over, output.error) == ((), None)
    assert store.uploads() == {}
    assert {each.path: each.location for each in output.saved} == {
        path: where[path] for path in ("1.ts", "call.mp4")
    }


def test_what_a_dead_process_left_gets_into_the_backup_while_the_primary_is_away(
    store: Store, directory: EgressDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recorder.storage.destination._PRIMARY_SECONDS", 1.5)
    (directory.media / "1.ts").write_bytes(b"segment")
    nowhere = Bucket(Store.target_of_nobody(free_port()))
    queue = UploadQueue(directory, OUTPUT, Destination(nowhere))
    queue.add_file("1.ts", "1.ts", ContentType.MPEG_TS)
    queue.stop()
    # Without a backup, the store is waited for.
    [output] = resume(directory, {OUTPUT: Destination(nowhere)}, timeout=2)
    assert output.error is not None
    assert output.error.code is Code.UNAVAILABLE
    backup = Destination(nowhere, Bucket(store.target(prefix="backup")))
    # The attempt is as much longer as the primary store is waited for.
    [output] = resume(directory, {OUTPUT: backup}, timeout=1)
    assert output.error is None
    assert [(each.path, each.backup) for each in output.saved] == [("1.ts", True)]
    assert store.keys() == ["backup/1.ts"]


def test_a_recording_is_not_given_up_if_both_stores_are_away(directory: EgressDirectory) -> None:
    (directory.media / "1.ts").write_bytes(b"segment")
    events = Events()
    nowhere = [Store.target_of_nobody(free_port()) for _ in range(2)]
    with uploading(directory, nowhere[0], nowhere[1], observer=events, patience=0.3) as queue:
        queue.add_file("1.ts", "1.ts", ContentType.MPEG_TS)
        assert not queue.drain(2)
    assert (len(events.reasons), events.errors) == (1, [])


def test_the_backup_is_used_at_once_if_the_primary_refuses_and_then_for_everything(
    store: Store, directory: EgressDirectory
) -> None:
    for name in ("1.ts", "2.ts"):
        (directory.media / name).write_bytes(b"segment")
    events = Events()
    primary = store.target(secret="wrong", min_retry_delay=3600.0, max_retry_delay=3600.0)
    with uploading(directory, primary, store.target(prefix="backup"), observer=events) as queue:
        queue.add_file("1.ts", "1.ts", ContentType.MPEG_TS)
        queue.add_file("2.ts", "2.ts", ContentType.MPEG_TS)
        assert queue.drain(scaled(20))
    assert store.keys() == ["backup/1.ts", "backup/2.ts"]
    assert len(events.reasons) == 1, "the primary is not tried again"
    assert "SignatureDoesNotMatch" in events.reasons[0]


def test_if_both_fail_both_reasons_are_told(store: Store, directory: EgressDirectory) -> None:
    (directory.media / "1.ts").write_bytes(b"segment")
    primary, backup = store.target(secret="wrong"), store.target(bucket="nowhere")
    with uploading(directory, primary, backup) as queue:
        queue.add_file("1.ts", "1.ts", ContentType.MPEG_TS)
        with pytest.raises(EgressError) as failed:
            queue.drain(scaled(20))
    first, second = str(failed.value).splitlines()
    assert first.startswith("primary: S3 upload failed: SignatureDoesNotMatch: ")
    assert second.startswith("backup: S3 upload failed: NoSuchBucket: ")


def test_a_backup_that_is_in_use_must_be_given_again(
    store: Store, directory: EgressDirectory, tmp_path: Path
) -> None:
    (directory.media / "1.ts").write_bytes(b"segment")
    with uploading(directory, store.target(secret="wrong"), store.target()) as queue:
        queue.add_file("1.ts", "1.ts", ContentType.MPEG_TS)
        assert queue.drain(scaled(20))
    [output] = resume(directory, {OUTPUT: Destination(Bucket(store.target()))}, timeout=1)
    assert output.error is not None
    assert output.error.code is Code.FAILED_PRECONDITION
