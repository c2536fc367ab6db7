"""The kinds of requests, and the message that each of them holds."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from livekit.protocol import egress as proto

from recorder.errors import invalid_field, not_supported
from recorder.requests.fields import listed
from recorder.requests.rpc import StartEgressRequest

EncodedRequest: TypeAlias = (
    proto.RoomCompositeEgressRequest | proto.ParticipantEgressRequest | proto.TrackCompositeEgressRequest
)
EgressRequest: TypeAlias = EncodedRequest | proto.TrackEgressRequest | proto.StartEgressRequest


class Kind(StrEnum):
    """Kinds of requests, by livekit/egress' names in metrics."""

    ROOM_COMPOSITE = "room_composite"
    PARTICIPANT = "participant"
    TRACK_COMPOSITE = "track_composite"
    TRACK = "track"
    TEMPLATE = "template"
    MEDIA = "media"


def message_of(request: StartEgressRequest) -> EgressRequest:
    """The message that a request holds.

    Raises:
        EgressError: this worker does not support the kind.
        google.protobuf.message.DecodeError: the message cannot be read.
    """
    match request.WhichOneof("request"):
        case "room_composite":
            return proto.RoomCompositeEgressRequest.FromString(request.room_composite)
        case "participant":
            return proto.ParticipantEgressRequest.FromString(request.participant)
        case "track_composite":
            return proto.TrackCompositeEgressRequest.FromString(request.track_composite)
        case "track":
            return proto.TrackEgressRequest.FromString(request.track)
        case "egress":
            return proto.StartEgressRequest.FromString(request.egress)
        case None:
            raise invalid_field("request", "", listed(Kind))
        case other:
            raise not_supported(f"{other} egress")
