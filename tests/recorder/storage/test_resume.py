"""Uploads of a process that was killed with -9, finished by another one."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from recorder.errors import Code
from recorder.storage.bucket import Bucket
from recorder.storage.destination import Destination
from recorder.storage.names import location
from recorder.storage.resume import ResumedOutput, UnsavedObject, resume
from recorder.storage.spool import EgressDirectory, Spool
from recorder.storage.upload_events import ContentType
from recorder.storage.uploads import UploadQueue
from tests.ports import free_port
from tests.recorder.storage.conftest import (
    MIB,
    OUTPUT,
    Store,
    append,
    noise,
    uploading,
    without_right,
)
from tests.recorder.storage.killed import decode, killed_recording
from tests.support.speed import scaled


def resumed(store: Store, directory: EgressDirectory, timeout: float | None = None) -> ResumedOutput:
    destinations = {OUTPUT: Destination(Bucket(store.target()))}
    [output] = resume(directory, destinations, timeout=scaled(20) if timeout is None else timeout)
    return output


def two_outputs(store: Store, directory: EgressDirectory) -> None:
    """Outputs `a` and `b`, each with a file that is not uploaded yet."""
    for name in ("a", "b"):
        (directory.media / name).write_bytes(name.encode())
        queue = UploadQueue(directory, name, Destination(Bucket(store.target())))
        queue.add_file(name, name, ContentType.JSON)
        queue.stop()


def recorded_parts(directory: EgressDirectory) -> list[int]:
    """The parts in the journal, in its order: those that were sent, and those that a check added."""
    lines = directory.journal(OUTPUT).read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return [event["number"] for event in events if event["event"] == "PartStored"]


def test_an_mp4_of_a_killed_process_is_cut_and_finished_by_another_one(store: Store, tmp_path: Path) -> None:
    directory, recorded = killed_recording(
        tmp_path, "mp4", store.target(), lambda _: store.parts("call") == [2, 3]
    )
    with directory:
        assert list(store.uploads()) == ["call"]
        recording = directory.media / "call"
        # The beginning of a fragment: the process was killed while it wrote one.
        append(recording, b"\x00\x00\x02\x00moof" + noise(1000))
        size = recording.stat().st_size
        output = resumed(store, directory)
        assert recording.stat().st_size <= size - 1008
        assert (output.error, output.lost, output.unsaved, output.left_over) == (None, (), (), ())
        [saved] = output.saved
        assert store.content("call") == recording.read_bytes()
        assert store.uploads() == {}
        decoded = decode(recording)
        assert recorded - 2 <= decoded.end <= recorded
        assert saved.duration == pytest.approx(decoded.end, abs=0.03)
        assert (saved.path, saved.size) == ("call", recording.stat().st_size)
        assert saved.location == location(store.target(), "call")
        # It is reported again if that process dies too, before LiveKit has taken the report.
        assert resumed(store, directory) == output


@pytest.fixture
def half_uploaded(store: Store, spool: Spool) -> Iterator[EgressDirectory]:
    """The directory of a queue that ended when parts 2 and 3 of four were in the store."""
    directory = spool.create("EG_half", b"request")
    append(directory.media / "local.ogg", noise(16 * MIB))
    with uploading(directory, store.target()) as queue:
        queue.add_growing("call.ogg", "local.ogg", ContentType.OGG)
        store.wait_for_parts("call.ogg", [2, 3])
    append(directory.media / "local.ogg", noise(MIB, seed=2))
    with directory:
        yield directory


def assert_complete(store: Store, directory: EgressDirectory, output: ResumedOutput) -> None:
    assert output.error is None
    assert [saved.path for saved in output.saved] == ["call.ogg"]
    assert store.content("call.ogg") == (directory.media / "local.ogg").read_bytes()
    assert store.uploads() == {}


def test_parts_that_the_store_has_are_not_sent_again(store: Store, half_uploaded: EgressDirectory) -> None:
    """A part's event was not written: the process was killed after the part had been stored."""
    journal = half_uploaded.journal(OUTPUT)
    lines = journal.read_bytes().splitlines(keepends=True)
    assert b"PartStored" in lines[-1]
    journal.write_bytes(b"".join(lines[:-1]))
    output = resumed(store, half_uploaded)
    assert_complete(store, half_uploaded, output)
    # The killed process recorded part 2. The check found 3 also. The rest was sent.
    assert recorded_parts(half_uploaded) == [2, 3, 4, 1]


def test_a_part_that_is_not_the_files_is_sent_again(store: Store, half_uploaded: EgressDirectory) -> None:
    """It is not in the journal, and the sizes are the same; only the ETag tells."""
    journal = half_uploaded.journal(OUTPUT)
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    recording = half_uploaded.media / "local.ogg"
    with recording.open("r+b") as file:
        file.seek(11 * MIB)
        file.write(b"another content")
    output = resumed(store, half_uploaded)
    assert_complete(store, half_uploaded, output)
    # Part 2 was in the journal.
    assert recorded_parts(half_uploaded) == [2, 3, 4, 1]


def test_an_upload_that_the_store_has_lost_begins_anew(store: Store, half_uploaded: EgressDirectory) -> None:
    store.root.abort_multipart_upload(
        Bucket=store.bucket, Key="call.ogg", UploadId=store.uploads()["call.ogg"]
    )
    output = resumed(store, half_uploaded)
    assert_complete(store, half_uploaded, output)
    assert recorded_parts(half_uploaded) == [2, 3, 2, 3, 4, 1]


def test_an_upload_whose_parts_may_not_be_listed_is_continued_as_the_journal_says(
    store: Store, half_uploaded: EgressDirectory
) -> None:
    """Other stores have other policies."""
    store.set_policy(without_right("egress", "s3:ListMultipartUploadParts"))
    output = resumed(store, half_uploaded)
    assert_complete(store, half_uploaded, output)
    assert recorded_parts(half_uploaded) == [2, 3, 4, 1]


def test_an_upload_that_has_other_parts_than_the_journal_begins_anew(
    store: Store, half_uploaded: EgressDirectory
) -> None:
    """The parts may not be listed, so only the store notices it, when it puts the parts together."""
    upload_id = store.uploads()["call.ogg"]
    store.root.upload_part(
        Bucket=store.bucket, Key="call.ogg", UploadId=upload_id, PartNumber=2, Body=noise(5 * MIB, seed=9)
    )
    store.set_policy(without_right("egress", "s3:ListMultipartUploadParts"))
    output = resumed(store, half_uploaded)
    assert_complete(store, half_uploaded, output)
    assert recorded_parts(half_uploaded) == [2, 3, 4, 1, 2, 3, 4, 1]


@pytest.fixture
def large(store: Store, directory: EgressDirectory) -> EgressDirectory:
    """The directory of a recording of five parts, of which none was sent."""
    append(directory.media / "local.ogg", noise(24 * MIB))
    queue = UploadQueue(directory, OUTPUT, Destination(Bucket(store.target())))
    queue.add_growing("call.ogg", "local.ogg", ContentType.OGG)
    queue.stop()
    return directory


_PUT_PART = Bucket.put_part


def slow_line(monkeypatch: pytest.MonkeyPatch, seconds_per_part: float) -> None:
    def put_slowly(bucket: Bucket, path: str, upload_id: str, number: int, body: io.RawIOBase) -> str:
        time.sleep(seconds_per_part)
        return _PUT_PART(bucket, path, upload_id, number, body)

    monkeypatch.setattr(Bucket, "put_part", put_slowly)


def test_an_attempt_goes_on_while_parts_are_stored(
    store: Store, large: EgressDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_line(monkeypatch, 0.6)
    assert_complete(store, large, resumed(store, large, timeout=2))


@pytest.mark.parametrize(("seconds_per_part", "most_timeouts"), [(4.0, 4), (1.0, 1.5)])
def test_an_attempt_that_takes_too_long_goes_on_another_time(
    store: Store,
    large: EgressDirectory,
    monkeypatch: pytest.MonkeyPatch,
    seconds_per_part: float,
    most_timeouts: float,
) -> None:
    """Nothing is stored for too long, or the whole attempt is too long for the others that wait."""
    monkeypatch.setattr("recorder.storage.resume._MOST_TIMEOUTS", most_timeouts)
    slow_line(monkeypatch, seconds_per_part)
    output = resumed(store, large, timeout=2)
    assert output.error is not None
    assert output.error.code is Code.UNAVAILABLE
    # The part that was being sent is not lost: each attempt brings the upload further.
    sent = recorded_parts(large)
    assert 1 <= len(sent) < 5
    slow_line(monkeypatch, 0)
    monkeypatch.setattr("recorder.storage.resume._MOST_TIMEOUTS", 4)
    assert_complete(store, large, resumed(store, large))
    assert recorded_parts(large) == [2, 3, 4, 5, 1]


def test_a_store_that_is_away_leaves_everything_for_the_next_attempt(
    store: Store, half_uploaded: EgressDirectory
) -> None:
    store.stop()
    output = resumed(store, half_uploaded, timeout=1)
    assert output.saved == ()
    assert [one.path for one in output.unsaved] == ["call.ogg"]
    assert output.error is not None
    assert output.error.code is Code.UNAVAILABLE
    store.start()
    assert_complete(store, half_uploaded, resumed(store, half_uploaded))


def test_a_recording_without_a_fragment_is_lost_and_so_is_one_that_was_never_written(
    store: Store, directory: EgressDirectory
) -> None:
    (directory.media / "local.mp4").write_bytes(b"\x00\x00\x00\x24ftyp")
    queue = UploadQueue(directory, OUTPUT, Destination(Bucket(store.target())))
    queue.add_growing("call.mp4", "local.mp4", ContentType.MP4)
    queue.add_growing("call.ogg", "local.ogg", ContentType.OGG)
    queue.stop()
    output = resumed(store, directory)
    reason = "the recording has no complete fragment"
    assert output.lost == (UnsavedObject("call.mp4", reason), UnsavedObject("call.ogg", reason))
    assert (output.saved, output.error) == ((), None)
    assert store.keys() == []


def test_segments_are_uploaded_and_the_playlist_gets_its_end(
    store: Store, directory: EgressDirectory
) -> None:
    for name in ("1.ts", "2.ts", "3.ts"):
        (directory.media / name).write_bytes(name.encode())
    queue = UploadQueue(directory, OUTPUT, Destination(Bucket(store.target())))
    for number in (1, 2, 3):
        queue.add_file(f"{number}.ts", f"{number}.ts", ContentType.MPEG_TS)
        content = "".join(f"{one}.ts\n" for one in range(1, number + 1)).encode()
        queue.replace("list.m3u8", content, ContentType.PLAYLIST, after=[f"{number}.ts"])
    queue.replace("finished.m3u8", b"#EXT-X-ENDLIST\n", ContentType.PLAYLIST)
    queue.replace("thumbnail.jpeg", b"image", ContentType.JPEG)
    queue.stop()
    (directory.media / "2.ts").unlink()
    output = resumed(store, directory)
    assert output.error is None
    assert output.lost == (UnsavedObject("2.ts", "its file 2.ts is missing"),)
    assert store.content("list.m3u8") == b"1.ts\n2.ts\n3.ts\n#EXT-X-ENDLIST\n"
    assert store.content("finished.m3u8") == b"#EXT-X-ENDLIST\n"
    assert store.content("thumbnail.jpeg") == b"image"
    assert {one.path: (one.size, one.duration) for one in output.saved} == {
        "1.ts": (4, None),
        "3.ts": (4, None),
        "list.m3u8": (30, None),
        "finished.m3u8": (15, None),
        "thumbnail.jpeg": (5, None),
    }
    assert list(directory.media.iterdir()) == []


def test_files_that_a_killed_process_had_uploaded_but_not_deleted_are_deleted(
    store: Store, directory: EgressDirectory
) -> None:
    (directory.media / "1.ts").write_bytes(b"segment")
    with uploading(directory, store.target()) as queue:
        queue.add_file("1.ts", "1.ts", ContentType.MPEG_TS)
        assert queue.drain(scaled(20))
    (directory.media / "1.ts").write_bytes(b"segment")
    (directory.contents(OUTPUT) / "leftover").write_bytes(b"a content that was not recorded")
    assert [one.path for one in resumed(store, directory).saved] == ["1.ts"]
    assert list(directory.media.iterdir()) == []
    assert list(directory.contents(OUTPUT).iterdir()) == []


def test_one_output_that_fails_does_not_keep_another_one_back(
    store: Store, directory: EgressDirectory
) -> None:
    two_outputs(store, directory)
    destinations = {
        "a": Destination(Bucket(store.target(secret="wrong"))),
        "b": Destination(Bucket(store.target())),
    }
    first, second = resume(directory, destinations, timeout=scaled(20))
    assert first.output == "a"
    assert first.error is not None
    assert first.error.code is Code.INVALID_ARGUMENT
    assert first.unsaved == (UnsavedObject("a", str(first.error)),)
    assert second.output == "b"
    assert [one.path for one in second.saved] == ["b"]


def test_an_output_whose_store_is_away_does_not_use_up_the_time_of_another_one(
    store: Store, directory: EgressDirectory
) -> None:
    two_outputs(store, directory)
    destinations = {
        "a": Destination(Bucket(store.target_of_nobody(free_port()))),
        "b": Destination(Bucket(store.target())),
    }
    first, second = resume(directory, destinations, timeout=1)
    assert first.error is not None
    assert first.error.code is Code.UNAVAILABLE
    assert second.error is None
    assert [one.path for one in second.saved] == ["b"]


def test_a_recording_is_read_once_for_its_duration(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest is uploaded by a second attempt; a whole recording may take minutes to read."""
    directory, _ = killed_recording(tmp_path, "ogg", None, lambda seconds: seconds > 4)
    queue = UploadQueue(directory, OUTPUT, Destination(Bucket(store.target())))
    queue.add_growing("call", "call", ContentType.OGG)
    queue.stop()
    read: list[str] = []
    real_open = av.open

    def counted(file: str) -> object:
        read.append(file)
        return real_open(file)

    monkeypatch.setattr(av, "open", counted)
    with directory:
        first = resumed(store, directory)
        assert first.saved[0].duration is not None
        assert resumed(store, directory).saved == first.saved
    assert len(read) == 1
