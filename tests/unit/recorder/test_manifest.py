"""The manifest of an egress' objects."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from livekit.protocol import egress as proto

from recorder.outputs.manifest import Manifest
from recorder.requests.plan import RoomFacts
from tests.unit.recorder.egress_requests import ROOM, plan, room, unified

FILE = proto.EncodedFileOutput(filepath="x")


def test_it_lists_what_was_saved() -> None:
    manifest = Manifest(plan(room()), RoomFacts(ROOM), 1)
    manifest.add_file("ä.mp4", "https://s3/%C3%A4.mp4")
    manifest.add_playlist("https://s3/i.m3u8", [("i_0.ts", "https://s3/i_0.ts")])
    manifest.add_playlist("https://s3/j.m3u8", [])
    manifest.add_image("i.jpeg", "https://s3/i.jpeg", datetime(2026, 11, 30, 15, 4, 5, 678_900, UTC))
    text = manifest.text(2)
    assert "ä.mp4" in text
    assert json.loads(text) == {
        "egress_id": "EG_1",
        "room_id": "RM_1",
        "room_name": ROOM,
        "started_at": 1,
        "ended_at": 2,
        "files": [{"filename": "ä.mp4", "location": "https://s3/%C3%A4.mp4"}],
        "playlists": [
            {
                "location": "https://s3/i.m3u8",
                "segments": [{"filename": "i_0.ts", "location": "https://s3/i_0.ts"}],
            },
            {"location": "https://s3/j.m3u8"},
        ],
        "images": [
            {
                "filename": "i.jpeg",
                "timestamp": "2026-11-30T15:04:05.678Z",
                "location": "https://s3/i.jpeg",
            }
        ],
    }


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
