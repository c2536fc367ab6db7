"""Every field of what a client of the Egress API gets, from a real LiveKit server.

The expected fields are those of livekit/protocol's `livekit_egress.proto`. A field more or less fails.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from livekit import rtc
from livekit.protocol import egress as proto

from tests.recorder.conftest import Egresses, Studio
from tests.recorder.marked import marked
from tests.token_api.object_store import BUCKET

_SMALL = proto.EncodingOptions(width=320, height=180, framerate=15, video_bitrate=500)
# Two segments and two images.
_SECONDS = 2.5
_NUMBERS = frozenset({"size", "duration", "segmentCount", "imageCount"})


def _fields(info: proto.EgressInfo, since: int) -> dict[str, Any]:
    """The fields that are set. Times, sizes and counts are checked, and replaced by words.

    `since`: when the test began, in nanoseconds since 1970.
    """

    def worded(value: Any, path: str) -> Any:
        if isinstance(value, list):
            return [worded(each, path) for each in value]
        if not isinstance(value, dict):
            return value
        return {name: one_field(name, each, f"{path}.{name}") for name, each in value.items()}

    def one_field(name: str, value: Any, path: str) -> Any:
        if name.endswith("At"):
            assert since <= int(value) <= time.time_ns(), f"{path} is {value}"
            return "a time"
        if name in _NUMBERS:
            assert int(value) > 0, f"{path} is {value}"
            return "a number"
        return worded(value, path)

    found: dict[str, Any] = worded(MessageToDict(info), "info")
    return found


@pytest.mark.usefixtures("worker")
async def test_a_rooms_info_from_start_to_end(studio: Studio, egresses: Egresses) -> None:
    since = time.time_ns()
    room = studio.new_room()
    await egresses.create_room(room)
    wanted: dict[str, Any] = {
        "layout": "speaker",
        "advanced": _SMALL,
        "file_outputs": [proto.EncodedFileOutput(filepath=f"{room}/whole.mp4")],
        "segment_outputs": [
            proto.SegmentedFileOutput(
                filename_prefix=f"{room}/part", playlist_name=f"{room}/all.m3u8", segment_duration=1
            )
        ],
        "image_outputs": [proto.ImageOutput(capture_interval=1, filename_prefix=f"{room}/image")],
    }
    async with marked(studio.livekit.url, "alice", room) as alice:
        started = await egresses.record_room(room, **wanted)
        active = await egresses.becomes(started.egress_id, proto.EGRESS_ACTIVE)
        await asyncio.sleep(_SECONDS)
        stopping = await egresses.stop(started.egress_id)
        ended = await egresses.ends(started.egress_id)
        room_id = await alice.room.sid
    egress_id = started.egress_id
    assert egress_id.startswith("EG_")
    file = {"filename": f"{room}/whole.mp4"}
    segments = {"playlistName": f"{room}/all.m3u8"}
    images = {"filenamePrefix": f"{room}/image"}
    expected = {
        "egressId": egress_id,
        "roomId": room_id,
        "roomName": room,
        "roomComposite": MessageToDict(proto.RoomCompositeEgressRequest(room_name=room, **wanted)),
        "startedAt": "a time",
        "updatedAt": "a time",
        "fileResults": [file],
        "segmentResults": [segments],
        "imageResults": [images],
    }
    assert _fields(started, since) == expected

    begun = {"startedAt": "a time"}
    expected |= {
        "status": "EGRESS_ACTIVE",
        "fileResults": [file | begun],
        "segmentResults": [segments | begun],
        "imageResults": [images | begun],
    }
    assert _fields(active, since) == expected

    assert stopping.status == proto.EGRESS_ENDING
    over = {"startedAt": "a time", "endedAt": "a time"}
    saved = {"duration": "a number", "size": "a number"}
    where = f"https://{studio.store.endpoint.removeprefix('http://')}/{BUCKET}/{room}"
    parts = {"segmentCount": "a number", "playlistLocation": f"{where}/all.m3u8"}
    expected |= {
        "status": "EGRESS_COMPLETE",
        "endedAt": "a time",
        "details": "End reason: StopEgress API",
        "fileResults": [file | over | saved | {"location": f"{where}/whole.mp4"}],
        "segmentResults": [segments | over | saved | parts],
        "imageResults": [images | over | {"imageCount": "a number"}],
        "manifestLocation": f"{where}/{egress_id}.json",
    }
    assert _fields(ended, since) == expected


@pytest.mark.usefixtures("worker")
async def test_the_infos_of_a_participant_and_of_tracks(studio: Studio, egresses: Egresses) -> None:
    """Each kind's request, its source and its file, also as the deprecated single result."""
    since = time.time_ns()
    room = studio.new_room()
    await egresses.create_room(room)
    async with marked(studio.livekit.url, "alice", room) as alice:
        video, audio = alice.track_id(rtc.TrackKind.KIND_VIDEO), alice.track_id(rtc.TrackKind.KIND_AUDIO)
        participant: dict[str, Any] = {
            "advanced": _SMALL,
            "screen_share": False,
            "file_outputs": [proto.EncodedFileOutput(filepath=f"{room}/participant.mp4")],
        }
        tracks: dict[str, Any] = {
            "advanced": _SMALL,
            "audio_track_id": audio,
            "video_track_id": video,
            "file_outputs": [proto.EncodedFileOutput(filepath=f"{room}/tracks.mp4")],
        }
        track = proto.TrackEgressRequest(
            room_name=room, track_id=audio, file=proto.DirectFileOutput(filepath=f"{room}/track.ogg")
        )
        requests = {
            "participant": proto.ParticipantEgressRequest(room_name=room, identity="alice", **participant),
            "trackComposite": proto.TrackCompositeEgressRequest(room_name=room, **tracks),
            "track": track,
        }
        started = await asyncio.gather(
            egresses.record_participant(room, "alice", **participant),
            egresses.record_tracks(room, **tracks),
            egresses.record_track(room, audio, track.file.filepath),
        )
        for info in started:
            await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
        await asyncio.sleep(_SECONDS)
        await asyncio.gather(*(egresses.stop(info.egress_id) for info in started))
        ended = [await egresses.ends(info.egress_id) for info in started]
        room_id = await alice.room.sid
    names = ["participant.mp4", "tracks.mp4", "track.ogg"]
    where = f"https://{studio.store.endpoint.removeprefix('http://')}/{BUCKET}/{room}"
    for (kind, request), name, info in zip(requests.items(), names, ended, strict=True):
        file = {
            "filename": f"{room}/{name}",
            "startedAt": "a time",
            "endedAt": "a time",
            "duration": "a number",
            "size": "a number",
            "location": f"{where}/{name}",
        }
        assert _fields(info, since) == {
            "egressId": info.egress_id,
            "roomId": room_id,
            "roomName": room,
            "sourceType": "EGRESS_SOURCE_TYPE_SDK",
            "status": "EGRESS_COMPLETE",
            kind: MessageToDict(request),
            "startedAt": "a time",
            "updatedAt": "a time",
            "endedAt": "a time",
            "details": "End reason: StopEgress API",
            "file": file,
            "fileResults": [file],
            "manifestLocation": f"{where}/{info.egress_id}.json",
        }
