"""Access tokens for clients: asked of the token-api as an application does, or made with the API key."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from livekit import api
from pydantic import SecretStr

from loadtest.outputs import StackOutputs
from loadtest.resolving import edge_client

_LIFE = timedelta(minutes=5)


@dataclass(frozen=True)
class Admission:
    """What a client needs to join: the signalling URL and the token."""

    url: str
    token: SecretStr = field(repr=False)


class TokenRefused(Exception):
    """The token-api gave no token. The message has its answer."""


def make_admission(outputs: StackOutputs, *, url: str, room: str, identity: str) -> Admission:
    """An admission made with the stack's API key, to publish and subscribe, by any signalling URL."""
    grants = api.VideoGrants(
        room_join=True, room=room, can_publish=True, can_subscribe=True, can_publish_data=False
    )
    token = (
        api.AccessToken(outputs.livekit_api_key, outputs.livekit_api_secret.get_secret_value())
        .with_identity(identity)
        .with_ttl(_LIFE)
        .with_grants(grants)
    )
    return Admission(url, SecretStr(token.to_jwt()))


def request_admission(
    outputs: StackOutputs, *, room: str, identity: str, role: Literal["viewer", "publisher"]
) -> Admission:
    """An admission from the token-api: the URL that it gives, and its token.

    Raises:
        TokenRefused: the answer was not 201 with URL and token.
        httpx.TransportError: the API could not be reached.
    """
    key = outputs.api_service_key.get_secret_value()
    with edge_client(outputs, headers={"Authorization": f"Bearer {key}"}) as client:
        response = client.post(
            f"{outputs.api_url}/v1/token",
            json={"room_name": room, "participant_identity": identity, "role": role},
        )
    if response.status_code != 201:
        raise TokenRefused(f"POST {outputs.api_url}/v1/token: {response.status_code} {response.text[:1000]}")
    body = response.json()
    return Admission(body["server_url"], SecretStr(body["participant_token"]))
