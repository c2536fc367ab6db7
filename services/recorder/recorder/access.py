"""How the recorder enters a room. Facts: livekit/protocol, `egress/token.go`."""

from __future__ import annotations

from datetime import timedelta

from livekit.api import AccessToken, VideoGrants

# LiveKit gives 24 hours. The recorder needs the token again whenever it has lost the room.
_TTL = timedelta(days=30)


def room_token(egress_id: str, room_name: str, api_key: str, api_secret: str) -> str:
    """A token for a hidden participant of kind EGRESS, which sees everything and publishes nothing."""
    return (
        AccessToken(api_key, api_secret)
        .with_identity(egress_id)
        .with_kind("egress")
        .with_ttl(_TTL)
        .with_grants(
            VideoGrants(
                room_join=True,
                room=room_name,
                can_subscribe=True,
                can_publish=False,
                can_publish_data=False,
                hidden=True,
                recorder=True,
            )
        )
        .to_jwt()
    )
