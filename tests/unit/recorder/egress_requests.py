"""Requests, as livekit-server passes them to a worker, and the plans that are made of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from livekit.protocol import egress as proto

from recorder.requests.plan import Plan, RoomFacts, plan_of
from recorder.requests.rpc import StartEgressRequest
from recorder.settings import Settings, parse

NOW = datetime(2026, 11, 30, 15, 4, 5, 678_000, UTC)
STAMP = "2026-11-30T150405"
ROOM = "daily"
MINIMAL = """
redis: {address: "redis:6379"}
api_key: key
api_secret: secret
ws_url: ws://livekit:7880
storage: {prefix: calls, s3: {bucket: recordings, secret: bucket-secret, max_retries: 9}}
"""
SETTINGS = parse(MINIMAL, {})
WITH_REQUEST_STORAGE = parse(f"{MINIMAL}\nrecorder: {{allow_request_storage: true}}", {})
_FIELDS = {
    proto.RoomCompositeEgressRequest: "room_composite",
    proto.ParticipantEgressRequest: "participant",
    proto.TrackCompositeEgressRequest: "track_composite",
    proto.TrackEgressRequest: "track",
    proto.StartEgressRequest: "egress",
    proto.WebEgressRequest: "web",
}


def request(message: Any, **fields: Any) -> StartEgressRequest:
    """The request that holds `message`; `fields` are others of rpc.StartEgressRequest."""
    defaults = {"egress_id": "EG_1", "room_id": "RM_1"}
    return StartEgressRequest(
        **{_FIELDS[type(message)]: message.SerializeToString()}, **{**defaults, **fields}
    )


def plan(message: Any, settings: Settings = SETTINGS, facts: RoomFacts | None = None, **fields: Any) -> Plan:
    """The plan of a request that holds `message`."""
    return plan_of(request(message, **fields), settings, NOW, facts)


def room(**fields: Any) -> proto.RoomCompositeEgressRequest:
    """A request for a whole room; without outputs, into one file."""
    if not any(name.endswith("_outputs") or name in {"file", "stream", "segments"} for name in fields):
        fields["file_outputs"] = [proto.EncodedFileOutput(filepath="x.mp4")]
    return proto.RoomCompositeEgressRequest(**{"room_name": ROOM, **fields})


def unified(*outputs: proto.Output, **fields: Any) -> proto.StartEgressRequest:
    """A request of the unified API; without a source, for a whole room."""
    if not {"template", "media", "web"} & fields.keys():
        fields["template"] = proto.TemplateSource(layout="grid")
    given = outputs or (file_output(),)
    return proto.StartEgressRequest(**{"room_name": ROOM, "outputs": given, **fields})


def media(**fields: Any) -> proto.StartEgressRequest:
    """A request of the unified API for certain tracks."""
    return unified(media=proto.MediaSource(**fields))


def file_output(**fields: Any) -> proto.Output:
    """A file of the unified API."""
    return proto.Output(file=proto.FileOutput(filepath="x.mp4"), **fields)
