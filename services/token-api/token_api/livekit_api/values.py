"""What LiveKit tells, as values of our own: no protobuf goes above this package."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from livekit.protocol import egress as proto_egress
from livekit.protocol import models as proto

from token_api.domain.roles import Permissions

_NANOSECONDS = 1_000_000_000
# `details` of an egress that was stopped through the API (livekit/egress, `EndReasonAPI`).
_STOPPED = "End reason: StopEgress API"


@dataclass(frozen=True)
class NewRoom:
    """A room to be made. Times in seconds; `max_participants` 0 is without limit."""

    name: str
    metadata: str
    max_participants: int
    empty_timeout: int
    departure_timeout: int


@dataclass(frozen=True)
class Room:
    """A room that LiveKit has."""

    name: str
    sid: str
    metadata: str
    participants: int
    max_participants: int
    created_at: datetime


@dataclass(frozen=True)
class Track:
    """What a participant publishes. `source` as in tokens: camera, microphone, screen_share, …, unknown."""

    sid: str
    source: str
    kind: str
    muted: bool


@dataclass(frozen=True)
class RoomParticipant:
    """Somebody, or something (`kind`: standard, egress, ingress, sip, agent, …), that is in a room."""

    identity: str
    sid: str
    name: str
    kind: str
    active: bool
    joined_at: datetime
    permissions: Permissions
    hidden: bool
    tracks: tuple[Track, ...]


@dataclass(frozen=True)
class EgressState:
    """A recording as LiveKit sees it.

    Attributes:
        status: starting, active, ending, complete, failed, aborted, limit_reached.
        reported_at: when the recorder last reported, by its own clock.
        size_bytes: of the file that was uploaded; None if none was. `duration_seconds` alike.
        in_backup: whether the file was uploaded to the recorder's backup storage, and not to the bucket.
        ended_on_purpose: whether it was stopped through LiveKit's API, or reached a limit.
        object_key: the key that was asked for; empty where it is no recording of a whole room into one file.
    """

    egress_id: str
    room_name: str
    status: str
    error: str
    started_at: datetime | None
    ended_at: datetime | None
    reported_at: datetime | None
    size_bytes: int | None
    duration_seconds: int | None
    in_backup: bool
    ended_on_purpose: bool
    object_key: str


def room_of(message: proto.Room) -> Room:
    return Room(
        name=message.name,
        sid=message.sid,
        metadata=message.metadata,
        participants=message.num_participants,
        max_participants=message.max_participants,
        created_at=datetime.fromtimestamp(message.creation_time, UTC),
    )


def participant_of(message: proto.ParticipantInfo) -> RoomParticipant:
    permission = message.permission
    sources = tuple(source_name(source) for source in permission.can_publish_sources)
    # LiveKit: no list of sources is all of them.
    publishes = (sources or ("any",)) if permission.can_publish else ()
    return RoomParticipant(
        identity=message.identity,
        sid=message.sid,
        name=message.name,
        kind=proto.ParticipantInfo.Kind.Name(message.kind).lower(),
        active=message.state == proto.ParticipantInfo.State.ACTIVE,
        joined_at=datetime.fromtimestamp(message.joined_at_ms / 1000 or message.joined_at, UTC),
        permissions=Permissions(publishes, permission.can_publish_data, permission.can_subscribe),
        hidden=permission.hidden,
        tracks=tuple(
            Track(track.sid, source_name(track.source), proto.TrackType.Name(track.type).lower(), track.muted)
            for track in message.tracks
        ),
    )


def permission_of(permissions: Permissions) -> proto.ParticipantPermission:
    return proto.ParticipantPermission(
        can_subscribe=permissions.subscribe,
        can_publish=permissions.publish,
        can_publish_data=permissions.publish_data,
        can_publish_sources=[source.upper() for source in permissions.publish_sources],
        hidden=False,
        can_update_metadata=False,
    )


def source_name(source: proto.TrackSource) -> str:
    return proto.TrackSource.Name(source).lower()


def egress_of(message: proto_egress.EgressInfo) -> EgressState:
    # A recorder lists its files from the start: the size is set by the upload.
    files = [file for file in message.file_results if file.size]
    status = proto_egress.EgressStatus.Name(message.status)
    return EgressState(
        egress_id=message.egress_id,
        room_name=message.room_name,
        status=status.removeprefix("EGRESS_").lower(),
        error=message.error,
        started_at=_moment(message.started_at),
        ended_at=_moment(message.ended_at),
        reported_at=_moment(message.updated_at),
        size_bytes=sum(file.size for file in files) if files else None,
        duration_seconds=sum(file.duration for file in files) // _NANOSECONDS if files else None,
        in_backup=message.backup_storage_used,
        ended_on_purpose=message.details == _STOPPED
        or message.status == proto_egress.EgressStatus.EGRESS_LIMIT_REACHED,
        object_key=outputs[0].filepath if len(outputs := message.room_composite.file_outputs) == 1 else "",
    )


def _moment(nanoseconds: int) -> datetime | None:
    return datetime.fromtimestamp(nanoseconds / _NANOSECONDS, UTC) if nanoseconds else None
