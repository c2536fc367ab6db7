"""What a LiveKit access token lets its holder do, and the token itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from livekit.api import AccessToken, VideoGrants

from token_api.domain.roles import ALL_SOURCES, StreamRole, permissions_of

# LiveKit cannot revoke a token, so its life bounds how long a leaked one can be used to join.
MAX_TTL_SECONDS = 600

PUBLISHER_SOURCES = ALL_SOURCES


class Role(StrEnum):
    """What the host application may name a participant of a room that it names too."""

    VIEWER = "viewer"
    PUBLISHER = "publisher"


@dataclass(frozen=True)
class ApiCredentials:
    """A LiveKit API key and its secret; the secret is in no repr."""

    key: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Participant:
    """Who the token is for. `attributes` are LiveKit's participant attributes."""

    identity: str
    name: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


def join_grants(role: Role | StreamRole, room: str) -> VideoGrants:
    """What `role` may do in `room`.

    Every permission of a participant is said outright: the SDK's and the server's defaults let a
    token that says nothing publish media and data. Administrative grants are never given here.
    """
    permissions = permissions_of(StreamRole(role.value))
    return VideoGrants(
        room_join=True,
        room=room,
        can_subscribe=permissions.subscribe,
        can_publish=permissions.publish,
        can_publish_data=permissions.publish_data,
        can_publish_sources=list(permissions.publish_sources) or None,
        hidden=False,
        # Names, metadata and attributes come from the host application: others may trust them.
        can_update_own_metadata=False,
    )


def mint(
    credentials: ApiCredentials,
    participant: Participant,
    *,
    room: str,
    role: Role | StreamRole,
    ttl_seconds: int,
) -> str:
    """A signed JWT with which `participant` can join `room` within `ttl_seconds`.

    Raises:
        ValueError: the lifetime is not within 1 to MAX_TTL_SECONDS, or room or identity is empty.
    """
    if not 1 <= ttl_seconds <= MAX_TTL_SECONDS:
        raise ValueError(f"ttl_seconds: {ttl_seconds} given; allowed: 1 to {MAX_TTL_SECONDS}")
    token = (
        AccessToken(credentials.key, credentials.secret)
        .with_identity(participant.identity)
        .with_name(participant.name)
        .with_metadata(participant.metadata)
        .with_ttl(timedelta(seconds=ttl_seconds))
        .with_grants(join_grants(role, room))
    )
    if participant.attributes:
        token = token.with_attributes(dict(participant.attributes))
    return token.to_jwt()
