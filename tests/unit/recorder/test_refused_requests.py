"""What cannot be recorded gets the API's own error, which names the field."""

from __future__ import annotations

import re
from typing import Any

import pytest
from livekit.protocol import egress as proto

from recorder.errors import EgressError
from recorder.requests.plan import plan_of
from tests.unit.recorder.egress_requests import (
    NOW,
    ROOM,
    SETTINGS,
    file_output,
    media,
    plan,
    request,
    room,
    unified,
)

STREAM_URL = "rtmp://host/app/key"
FILE = proto.EncodedFileOutput(filepath="x")
# A number of an enum that only a newer protocol may have.
NEWER: Any = 9


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (proto.WebEgressRequest(url="https://x"), "web egress is not yet supported"),
        (unified(web=proto.WebSource(url="https://x")), "web egress is not yet supported"),
        (room(room_name=""), "room_name is '', allowed is a room's name"),
        (room(layout="circle"), "layout is 'circle', allowed is one of speaker"),
        (room(custom_base_url="https://x"), "custom_base_url is not yet supported"),
        (room(audio_only=True, video_only=True), "audio_only and video_only is 'both true'"),
        (room(audio_mixing=NEWER), "audio_mixing is 9, allowed is DEFAULT_MIXING, DUAL_CHANNEL_AGENT"),
        (proto.ParticipantEgressRequest(room_name=ROOM), "identity is ''"),
        (proto.TrackCompositeEgressRequest(room_name=ROOM), "audio_track_id or video_track_id is ''"),
        (proto.TrackEgressRequest(room_name=ROOM), "track_id is ''"),
        (proto.TrackEgressRequest(room_name=ROOM, track_id="TR_A"), "output is ''"),
        (
            proto.TrackEgressRequest(room_name=ROOM, track_id="TR_A", websocket_url="wss://x"),
            "websocket output is not yet supported",
        ),
        (proto.StartEgressRequest(room_name=ROOM, outputs=[file_output()]), "source is ''"),
        (media(), "audio or video is ''"),
        (media(audio=proto.AudioConfig()), "audio or video is ''"),
        (media(video_track_id=""), "video_track_id is ''"),
        (media(participant_video=proto.ParticipantVideo()), "participant_video.identity is ''"),
        (media(audio=proto.AudioConfig(routes=[proto.AudioRoute()])), "audio.routes.match is ''"),
        (
            media(audio=proto.AudioConfig(routes=[proto.AudioRoute(track_id="")])),
            "audio.routes.track_id is ''",
        ),
        (
            media(audio=proto.AudioConfig(routes=[proto.AudioRoute(track_id="TR_A", channel=NEWER)])),
            "audio.routes.channel is 9, allowed is AUDIO_CHANNEL_BOTH",
        ),
        (unified(preset=proto.PASSTHROUGH), "passthrough preset is not yet supported"),
        (proto.RoomCompositeEgressRequest(room_name=ROOM), "output is '', allowed is at least one output"),
        (room(file_outputs=[FILE, FILE]), "multiple file outputs is '2 outputs', allowed is at most one"),
        (unified(file_output(), file_output()), "multiple file outputs is '2 outputs'"),
        (unified(proto.Output()), "outputs.config is '', allowed is file, stream, segments, images"),
        (room(audio_only=True, image_outputs=[proto.ImageOutput()]), "image_outputs is 'audio only'"),
        (room(image_outputs=[proto.ImageOutput()] * 2), "filename_prefix is"),
        (room(image_outputs=[proto.ImageOutput(width=5000)]), "width is 5000, allowed is 16 to 4096"),
        (room(image_outputs=[proto.ImageOutput(filename_suffix=NEWER)]), "filename_suffix is 9"),
        (room(image_outputs=[proto.ImageOutput(image_codec=NEWER)]), "image codec 9 is not yet supported"),
        (
            room(segment_outputs=[proto.SegmentedFileOutput(segment_duration=61)]),
            "segment_duration is 61, allowed is 1 to 60",
        ),
        (room(segment_outputs=[proto.SegmentedFileOutput(protocol=NEWER)]), "segment protocol 9 is not yet"),
        (
            room(segment_outputs=[proto.SegmentedFileOutput(filename_suffix=NEWER)]),
            "filename_suffix is 9, allowed is INDEX, TIMESTAMP",
        ),
        (room(file_outputs=[proto.EncodedFileOutput(file_type=NEWER)]), "file type 9 is not yet supported"),
        (
            room(file_outputs=[proto.EncodedFileOutput(file_type=proto.OGG)]),
            "format audio/ogg incompatible with codec video/h264",
        ),
        (room(stream_outputs=[proto.StreamOutput(protocol=proto.SRT)]), "stream protocol 2 is not yet"),
        (room(stream_outputs=[proto.StreamOutput(protocol=proto.RTMP)]), "stream url is ''"),
        (room(file_outputs=[FILE], stream_outputs=[proto.StreamOutput()]), "stream url is ''"),
        (room(stream_outputs=[proto.StreamOutput(urls=[STREAM_URL] * 2)]), "the same address twice"),
        (
            room(file_outputs=[proto.EncodedFileOutput(gcp=proto.GCPUpload(bucket="b"))]),
            "storage in a request is disabled for this account",
        ),
    ],
)
def test_what_cannot_be_recorded_is_refused(message: Any, text: str) -> None:
    with pytest.raises(EgressError, match=re.escape(text)):
        plan(message)


@pytest.mark.parametrize("field", ["egress_id", "request"])
def test_a_request_without_its_main_fields_is_refused(field: str) -> None:
    given = request(room())
    given.ClearField(field)
    with pytest.raises(EgressError, match=f"missing or invalid field: {field}"):
        plan_of(given, SETTINGS, NOW)
