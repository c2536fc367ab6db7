"""What somebody is to a stream, and what that lets them do in its room."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

# LiveKit's names of track sources, as tokens spell them.
CAMERA_AND_MICROPHONE = ("camera", "microphone")
ALL_SOURCES = (*CAMERA_AND_MICROPHONE, "screen_share", "screen_share_audio")


class StreamRole(StrEnum):
    """What a user is to a stream; `publisher` is for those whom only the host application knows."""

    CREATOR = "creator"
    TEAM = "team"
    GUEST = "guest"
    VIEWER = "viewer"
    PUBLISHER = "publisher"


# Who may steer a stream: go live, moderate, record.
STEERING = frozenset({StreamRole.CREATOR, StreamRole.TEAM})
# Who takes one of the seats that a stream's capacity counts.
SEATED = frozenset({StreamRole.VIEWER, StreamRole.GUEST})


@dataclass(frozen=True)
class Permissions:
    """What a participant may do in a room. Nothing is left to LiveKit's defaults, which permit."""

    publish_sources: tuple[str, ...] = ()
    publish_data: bool = False
    subscribe: bool = True

    @property
    def publish(self) -> bool:
        return bool(self.publish_sources)


# Nobody in a stream's room sends data: the service alone does, so clients can trust chat packets. The sender
# of a packet is no help, because SDKs show none if they do not know the participant yet.
_PERMISSIONS = {
    StreamRole.CREATOR: Permissions(ALL_SOURCES),
    StreamRole.PUBLISHER: Permissions(ALL_SOURCES, publish_data=True),
    # They moderate through our API: a browser's token never carries LiveKit's room_admin.
    StreamRole.TEAM: Permissions(),
    StreamRole.GUEST: Permissions(CAMERA_AND_MICROPHONE),
    StreamRole.VIEWER: Permissions(),
}


def permissions_of(role: StreamRole) -> Permissions:
    """What `role` may do in a room."""
    return _PERMISSIONS[role]
