"""The manifest of an egress' objects."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from livekit.protocol import egress as proto

from recorder.outputs.manifest import ListedObject, Manifest, ended_at_of, manifest_key, wants_manifest
from recorder.outputs.saving import manifests_of
from recorder.requests.plan import RoomFacts
from recorder.storage.resume import ResumedOutput, SavedObject
from recorder.storage.upload_events import ContentType
from tests.unit.recorder.egress_requests import ROOM, plan, room, unified

FILE = proto.EncodedFileOutput(filepath="x")


PLAN = plan(
    room(
        file_outputs=[proto.EncodedFileOutput(filepath="d/ä.mp4")],
        segment_outputs=[proto.SegmentedFileOutput(filename_prefix="s/i", playlist_name="i.m3u8")],
        image_outputs=[proto.ImageOutput(filename_prefix="t/i", disable_manifest=True)],
    )
)
RECORDING, SEGMENTS, IMAGES = (each.output for each in PLAN.outputs)


def listed(key: str, content_type: ContentType) -> ListedObject:
    return ListedObject(key, f"https://s3/{key}", content_type)


def objects(manifest: Manifest) -> dict[str, Any]:
    """The manifest's lists of objects."""
    names = ("files", "playlists", "images")
    return {name: found for name, found in json.loads(manifest.text(2)).items() if name in names}


def test_it_lists_what_was_saved() -> None:
    manifest = Manifest(PLAN, RoomFacts(ROOM), 1)
    manifest.add_output(RECORDING, [listed("d/ä.mp4", ContentType.MP4)])
    manifest.add_output(
        SEGMENTS, [listed("s/i_00000.ts", ContentType.MPEG_TS), listed("s/i.m3u8", ContentType.PLAYLIST)]
    )
    moment = datetime(2026, 11, 30, 15, 4, 5, 678_900, UTC)
    manifest.add_output(IMAGES, [listed("t/i_00000.jpeg", ContentType.JPEG)], [("t/i_00000.jpeg", moment)])
    text = manifest.text(2)
    assert "ä.mp4" in text
    assert json.loads(text) == {
        "egress_id": "EG_1",
        "room_id": "RM_1",
        "room_name": ROOM,
        "started_at": 1,
        "ended_at": 2,
        "files": [{"filename": "d/ä.mp4", "location": "https://s3/d/ä.mp4"}],
        "playlists": [
            {
                "location": "https://s3/s/i.m3u8",
                "segments": [{"filename": "s/i_00000.ts", "location": "https://s3/s/i_00000.ts"}],
            },
        ],
        "images": [
            {
                "filename": "t/i_00000.jpeg",
                "timestamp": "2026-11-30T15:04:05.678Z",
                "location": "https://s3/t/i_00000.jpeg",
            }
        ],
    }


def test_an_image_that_was_overwritten_is_listed_at_each_of_its_moments() -> None:
    manifest = Manifest(PLAN, RoomFacts(ROOM), 1)
    moments = [("t/i.jpeg", datetime(2026, 11, 30, 15, 4, second, tzinfo=UTC)) for second in (5, 15)]
    manifest.add_output(IMAGES, [listed("t/i.jpeg", ContentType.JPEG)], moments)
    stamps = [each["timestamp"] for each in objects(manifest)["images"]]
    assert stamps == ["2026-11-30T15:04:05.000Z", "2026-11-30T15:04:15.000Z"]


def test_an_image_whose_moment_is_not_known_is_listed_without_it() -> None:
    manifest = Manifest(PLAN, RoomFacts(ROOM), 1)
    manifest.add_output(IMAGES, [listed("t/i.jpeg", ContentType.JPEG)])
    assert objects(manifest) == {"images": [{"filename": "t/i.jpeg", "location": "https://s3/t/i.jpeg"}]}


def test_what_is_not_in_the_bucket_is_not_listed() -> None:
    manifest = Manifest(PLAN, RoomFacts(ROOM), 1)
    manifest.add_output(RECORDING, [])
    manifest.add_output(IMAGES, [], [("t/i.jpeg", datetime(2026, 11, 30, tzinfo=UTC))])
    assert objects(manifest) == {}


def test_it_is_in_the_directory_of_the_output() -> None:
    assert [manifest_key(each.output, "EG_1") for each in PLAN.outputs] == [
        "d/EG_1.json",
        "s/EG_1.json",
        "t/EG_1.json",
    ]
    assert [wants_manifest(each.output) for each in PLAN.outputs] == [True, True, False]


@pytest.mark.parametrize(
    ("message", "facts", "said"),
    [
        (
            proto.ParticipantEgressRequest(room_name=ROOM, identity="ada", file_outputs=[FILE]),
            RoomFacts(ROOM),
            {"publisher_identity": "ada"},
        ),
        (
            proto.TrackCompositeEgressRequest(
                room_name=ROOM, audio_track_id="TR_A", video_track_id="TR_V", file_outputs=[FILE]
            ),
            RoomFacts(ROOM),
            {"audio_track_id": "TR_A", "video_track_id": "TR_V"},
        ),
        (
            unified(media=proto.MediaSource(video_track_id="TR_V")),
            RoomFacts(ROOM),
            {"video_track_id": "TR_V"},
        ),
        (
            proto.TrackEgressRequest(room_name=ROOM, track_id="TR_V", file=proto.DirectFileOutput()),
            RoomFacts(
                "TR_V",
                {
                    "track_id": "TR_V",
                    "track_type": "video",
                    "track_source": "camera",
                    "publisher_identity": "ada",
                },
                is_video=True,
            ),
            {
                "track_id": "TR_V",
                "track_kind": "video",
                "track_source": "camera",
                "publisher_identity": "ada",
            },
        ),
    ],
)
def test_it_says_what_was_recorded(message: Any, facts: RoomFacts, said: dict[str, str]) -> None:
    manifest = Manifest(plan(message, facts=facts), facts, 0)
    common = {"egress_id": "EG_1", "room_id": "RM_1", "room_name": ROOM, "ended_at": 2}
    assert json.loads(manifest.text(2)) == {**common, **said}


def test_it_says_when_the_recording_ended() -> None:
    info = proto.EgressInfo(ended_at=9)
    assert ended_at_of(info) == 9
    info.file_results.add()
    assert ended_at_of(info) == 9
    info.file_results[0].ended_at = 5
    info.image_results.add(ended_at=6)
    assert ended_at_of(info) == 6
    assert ended_at_of(proto.EgressInfo()) == 0


class _Queue:
    """Takes the manifests that would be uploaded."""

    def __init__(self) -> None:
        self.contents: dict[str, dict[str, Any]] = {}

    def replace(self, path: str, content: bytes, content_type: ContentType) -> None:
        assert content_type is ContentType.JSON
        self.contents[path] = json.loads(content)


def _recovered(info: proto.EgressInfo, *saved: SavedObject) -> dict[str, dict[str, Any]]:
    """The manifests that another process adds, which found these objects of the file output in the bucket."""
    results = [ResumedOutput("0-fileoutput", saved, (), (), (), None)]
    queue: Any = _Queue()
    for add in manifests_of(PLAN, RoomFacts(ROOM), info, results).values():
        add(queue, Path())
    contents: dict[str, dict[str, Any]] = queue.contents
    return contents


def _object(path: str, content_type: ContentType, *, backup: bool = False) -> SavedObject:
    return SavedObject(path, content_type, f"https://s3/{path}", 1, None, backup)


def test_another_process_says_when_the_recording_ended_and_not_when_it_was_recovered() -> None:
    recording = _object("d/ä.mp4", ContentType.MP4)
    ended = proto.EgressInfo(file_results=[proto.FileInfo(ended_at=7)])
    assert {each["ended_at"] for each in _recovered(ended, recording).values()} == {7}
    [before, *_] = {each["ended_at"] for each in _recovered(proto.EgressInfo(), recording).values()}
    assert time.time_ns() - before < 60e9


def test_another_process_does_not_replace_a_manifest() -> None:
    """The process that recorded knew more: when images were taken."""
    recording, manifest = _object("d/ä.mp4", ContentType.MP4), _object("d/EG_1.json", ContentType.JSON)
    assert set(_recovered(proto.EgressInfo(), recording)) == {"d/EG_1.json", "s/EG_1.json"}
    assert set(_recovered(proto.EgressInfo(), recording, manifest)) == {"s/EG_1.json"}
