"""Access tokens for clients: asked of the token-api as an application does, or made with the API key."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address
from typing import Literal, TypeAlias

import httpx
from livekit import api
from pydantic import BaseModel, ConfigDict, SecretStr, field_serializer

from loadtest.targets.outputs import StackOutputs
from loadtest.targets.resolving import edge_client

_LIFE = timedelta(minutes=5)

Role: TypeAlias = Literal["viewer", "publisher"]


@dataclass(frozen=True)
class Admission:
    """What a client needs to join: the signalling URL and the token.

    Attributes:
        token_ms: how long asking for the token took; None where it was made with the API key.
    """

    url: str
    token: SecretStr = field(repr=False)
    token_ms: float | None = None


@dataclass(frozen=True)
class ApiKey:
    """What LiveKit's configuration has in `keys`: who holds it may do anything."""

    name: str
    secret: SecretStr


class TokenEndpoint(BaseModel):
    """A token-api, and how to reach it.

    Attributes:
        url: of the endpoint itself.
        names, ca_certificate: as `http_session` takes them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    service_key: SecretStr
    names: Mapping[str, IPv4Address]
    ca_certificate: str

    def room_url(self, room: str) -> str:
        """Where a room is deleted for which this endpoint gave tokens."""
        return f"{self.url.removesuffix('/token')}/rooms/{room}"

    @field_serializer("service_key", when_used="json")
    def _shown_to_the_generator(self, key: SecretStr) -> str:
        """JSON of it goes to one place: the stdin of the process that makes the load on it."""
        return key.get_secret_value()


class TokenRefused(Exception):
    """The token-api gave no token. The message has its answer."""


def make_admission(
    outputs: StackOutputs, *, url: str, room: str, identity: str, publish: bool = True
) -> Admission:
    """An admission made with the stack's API key, to subscribe and maybe publish, by any signalling URL."""
    key = ApiKey(outputs.livekit_api_key, outputs.livekit_api_secret)
    return admission_by_key(key, url=url, room=room, identity=identity, publish=publish, subscribe=True)


def admission_by_key(
    key: ApiKey, *, url: str, room: str, identity: str, publish: bool, subscribe: bool
) -> Admission:
    """An admission made here, with exactly these grants. It can be used to join for five minutes.

    A join with it creates the room. A join with a token of token-api does not: token-api creates its rooms.
    """
    grants = api.VideoGrants(
        room_create=True,
        room_join=True,
        room=room,
        can_publish=publish,
        can_subscribe=subscribe,
        can_publish_data=False,
    )
    token = (
        api.AccessToken(key.name, key.secret.get_secret_value())
        .with_identity(identity)
        .with_ttl(_LIFE)
        .with_grants(grants)
    )
    return Admission(url, SecretStr(token.to_jwt()))


def request_admission(outputs: StackOutputs, *, room: str, identity: str, role: Role) -> Admission:
    """An admission from the stack's token-api: the URL that it gives, and its token.

    Raises:
        TokenRefused, httpx.TransportError: as `ask_admission`.
    """
    with edge_client(outputs, headers=service_headers(outputs.api_service_key)) as client:
        return ask_admission(client, token_url(outputs), room=room, identity=identity, role=role)


def ask_admission(client: httpx.Client, url: str, *, room: str, identity: str, role: Role) -> Admission:
    """An admission from a token endpoint; the time counts from here to its answer.

    Args:
        client: that sends the service key with each request.

    Raises:
        TokenRefused: the answer was not 201 with URL and token.
        httpx.TransportError: the API could not be reached.
    """
    asked = time.monotonic()
    response = client.post(url, json=token_request(room=room, identity=identity, role=role))
    took_ms = (time.monotonic() - asked) * 1000
    if response.status_code != 201:
        raise TokenRefused(f"POST {url}: {response.status_code} {response.text[:1000]}")
    body = response.json()
    return Admission(body["server_url"], SecretStr(body["participant_token"]), took_ms)


def token_url(outputs: StackOutputs) -> str:
    return f"{outputs.api_url}/v1/token"


def token_request(*, room: str, identity: str, role: Role) -> dict[str, str]:
    """The body of a request for a token."""
    return {"room_name": room, "participant_identity": identity, "role": role}


def service_headers(key: SecretStr) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.get_secret_value()}"}
