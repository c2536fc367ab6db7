"""Recordings that are uploaded while they are written."""

from __future__ import annotations

import json

import pytest

from recorder.storage.bucket import Bucket
from recorder.storage.destination import Destination
from recorder.storage.spool import EgressDirectory
from recorder.storage.target import S3Target
from recorder.storage.upload_events import ContentType
from recorder.storage.upload_state import StoredObject
from recorder.storage.uploads import UploadQueue
from tests.recorder.storage.conftest import MIB, OUTPUT, Events, Store, append, noise, uploading
from tests.support.speed import scaled


def test_a_recording_is_uploaded_while_it_grows_and_is_no_object_before_its_end(
    store: Store, directory: EgressDirectory
) -> None:
    recording = directory.media / "local.mp4"
    events = Events()
    with uploading(directory, store.target(prefix="calls"), observer=events) as queue:
        queue.add_growing("call.mp4", "local.mp4", ContentType.MP4)
        append(recording, noise(11 * MIB))
        store.wait_for_parts("calls/call.mp4", [2])
        append(recording, noise(7 * MIB, seed=2))
        store.wait_for_parts("calls/call.mp4", [2, 3])
        assert store.keys() == []
        # What the muxer does at the end: it appends the index and rewrites the first bytes.
        append(recording, noise(MIB, seed=3))
        with recording.open("r+b") as file:
            file.write(b"the new first bytes")
        queue.seal("call.mp4")
        assert queue.drain(scaled(20))
        assert queue.stored() == [StoredObject("call.mp4", ContentType.MP4, 19 * MIB, backup=False)]
    assert events.objects == [StoredObject("call.mp4", ContentType.MP4, 19 * MIB, backup=False)]
    assert store.content("calls/call.mp4") == recording.read_bytes()
    assert store.uploads() == {}
    assert order_of_parts(directory) == [2, 3, 4, 1]


def order_of_parts(directory: EgressDirectory) -> list[int]:
    """In which order the store took the parts."""
    lines = directory.journal(OUTPUT).read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return [event["number"] for event in events if event["event"] == "PartStored"]


def test_a_recording_of_less_than_two_parts_is_stored_by_one_request(
    store: Store, directory: EgressDirectory
) -> None:
    content = noise(10 * MIB - 1)
    append(directory.media / "local.ogg", content)
    with uploading(directory, store.target()) as queue:
        queue.add_growing("call.ogg", "local.ogg", ContentType.OGG)
        queue.seal("call.ogg")
        assert queue.drain(scaled(20))
    assert store.content("call.ogg") == content
    head = store.root.head_object(Bucket=store.bucket, Key="call.ogg")
    assert "-" not in head["ETag"], "that of an upload in parts has one"
    assert (head["ContentType"], head["ContentDisposition"], head["Metadata"]) == ("audio/ogg", "inline", {})


@pytest.mark.parametrize("size", [1, 11 * MIB])
def test_the_properties_of_the_target_are_those_of_the_object(
    store: Store, directory: EgressDirectory, size: int
) -> None:
    target = store.target(
        "operator",
        metadata={"room": "stream_1"},
        tagging="kind=recording&keep=yes",
        content_disposition="attachment",
    )
    append(directory.media / "local.mp4", noise(size))
    with uploading(directory, target) as queue:
        queue.add_growing("call.mp4", "local.mp4", ContentType.MP4)
        queue.seal("call.mp4")
        assert queue.drain(scaled(20))
    head = store.root.head_object(Bucket=store.bucket, Key="call.mp4")
    assert (head["ContentType"], head["ContentDisposition"]) == ("video/mp4", "attachment")
    assert head["Metadata"] == {"room": "stream_1"}
    tags = store.root.get_object_tagging(Bucket=store.bucket, Key="call.mp4")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"kind": "recording", "keep": "yes"}


def test_a_proxy_of_the_environment_is_not_for_a_store_on_loopback(
    store: Store, directory: EgressDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    (directory.media / "image.jpeg").write_bytes(b"image")
    with uploading(directory, store.target()) as queue:
        queue.add_file("image.jpeg", "image.jpeg", ContentType.JPEG)
        assert queue.drain(scaled(20))


def test_a_file_that_is_stored_leaves_the_spool(store: Store, directory: EgressDirectory) -> None:
    names = [f"{number}.ts" for number in range(3)]
    for name in names:
        (directory.media / name).write_bytes(name.encode())
    with uploading(directory, store.target(prefix="a/b")) as queue:
        for name in names:
            queue.add_file(f"call/{name}", name, ContentType.MPEG_TS)
        assert queue.drain(scaled(20))
    assert store.keys() == [f"a/b/call/{name}" for name in names]
    assert store.content("a/b/call/1.ts") == b"1.ts"
    assert list(directory.media.iterdir()) == []


def test_a_path_names_one_object(directory: EgressDirectory) -> None:
    (directory.media / "1.ts").write_bytes(b"x")
    queue = UploadQueue(directory, OUTPUT, Destination(Bucket(S3Target("recordings"))))
    queue.add_file("1.ts", "1.ts", ContentType.MPEG_TS)
    with pytest.raises(ValueError, match=r"1\.ts was added before"):
        queue.add_file("1.ts", "1.ts", ContentType.MPEG_TS)
    with pytest.raises(ValueError, match=r"1\.ts is the path of a file"):
        queue.replace("1.ts", b"x", ContentType.PLAYLIST)
    with pytest.raises(ValueError, match=r"after: 2\.ts was not added"):
        queue.replace("list.m3u8", b"x", ContentType.PLAYLIST, after=["2.ts"])
    with pytest.raises(ValueError, match=r"1\.ts is complete already"):
        queue.seal("1.ts")
    with pytest.raises(ValueError, match=r"2\.ts is not the path of a file"):
        queue.seal("2.ts")
    queue.stop()
