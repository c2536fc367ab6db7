"""LiveKit's events as values of our own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.json_format import Parse, ParseError
from livekit.protocol import webhook as proto

from token_api.livekit_api.values import (
    EgressState,
    RoomParticipant,
    egress_of,
    participant_of,
    source_name,
)

# LiveKit tells in whole seconds when something happened, and rounds down.
_ROUNDED = timedelta(seconds=1)


class NoEvent(ValueError):
    """The text is no event of LiveKit's."""


@dataclass(frozen=True)
class LiveKitEvent:
    """Something that happened in a room; of the parts, those are set that the type has."""

    type: str
    room_name: str
    happened_at: datetime | None
    participant: RoomParticipant | None = None
    track_source: str | None = None
    egress: EgressState | None = None

    def moment(self, received_at: datetime) -> datetime:
        """When it happened, as exactly as can be known of what came in at `received_at`.

        Within the second that LiveKit tells, the receipt is nearer: of somebody who was in for half a second
        nothing would be left otherwise.
        """
        if self.happened_at is None:
            return received_at
        return min(max(received_at, self.happened_at), self.happened_at + _ROUNDED)


def event_of(body: str) -> LiveKitEvent:
    """The event that a webhook's JSON is; fields that this version does not know are left out.

    Raises:
        NoEvent: it is none.
    """
    try:
        message = Parse(body, proto.WebhookEvent(), ignore_unknown_fields=True)
        return LiveKitEvent(
            type=message.event,
            room_name=message.room.name or message.egress_info.room_name,
            happened_at=datetime.fromtimestamp(message.created_at, UTC) if message.created_at else None,
            participant=participant_of(message.participant) if message.HasField("participant") else None,
            track_source=source_name(message.track.source) if message.HasField("track") else None,
            egress=egress_of(message.egress_info) if message.HasField("egress_info") else None,
        )
    except (ParseError, ValueError, OverflowError, OSError, RecursionError) as error:
        raise NoEvent(f"{type(error).__name__}: {error}"[:200]) from error
