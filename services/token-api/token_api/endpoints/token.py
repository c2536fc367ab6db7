"""LiveKit's standard token endpoint, for the host application."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import APIRouter, Security
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from token_api.endpoints.guard import ServiceKeyRoute, service_key_scheme
from token_api.problems import Problem
from token_api.state import CurrentState
from token_api.tokens import MAX_TTL_SECONDS, ApiCredentials, Participant, Role, mint

# Clients put the token into the URL of a WebSocket, and proxies commonly end a request line at 8 KiB:
# what a caller adds to the token must stay well below that once it is base64.
MAX_METADATA_BYTES = 2048
MAX_ATTRIBUTES_BYTES = 2048
MAX_BODY_BYTES = 16 * 1024

log = structlog.get_logger()
router = APIRouter(prefix="/v1", tags=["tokens"], route_class=ServiceKeyRoute)


def _short_in_bytes(text: str) -> str:
    if len(text.encode()) > MAX_METADATA_BYTES:
        raise ValueError(f"at most {MAX_METADATA_BYTES} bytes of UTF-8 are allowed")
    return text


def _own_attributes(attributes: dict[str, str]) -> dict[str, str]:
    if any(key.startswith("lk.") for key in attributes):
        raise ValueError("attributes that begin with 'lk.' are LiveKit's own")
    if (
        sum(len(key.encode()) + len(value.encode()) for key, value in attributes.items())
        > MAX_ATTRIBUTES_BYTES
    ):
        raise ValueError(f"keys and values together may have at most {MAX_ATTRIBUTES_BYTES} bytes of UTF-8")
    return attributes


def _no_room_config(value: object) -> None:
    if value is not None:
        raise ValueError("not allowed: those who join a room do not say what it is like")


RoomName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
Identity = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:@|+=-]{1,128}$")]
# No control characters: names are shown to people and written to terminals and logs.
DisplayName = Annotated[str, StringConstraints(max_length=128, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
AttributeKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]


class TokenRequest(BaseModel):
    """LiveKit's standard fields, and two of ours: `role` and `ttl_seconds`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    room_name: RoomName = Field(description="The room to join: letters, digits and _ . : -")
    participant_identity: Identity = Field(
        description="Unique in the room, and never chosen by the participant: whoever joins under an "
        "identity puts out the one who holds it. Letters, digits and _ . : @ | + = -"
    )
    participant_name: DisplayName | None = Field(None, description="Shown to others")
    participant_metadata: Annotated[str, AfterValidator(_short_in_bytes)] | None = Field(
        None, description=f"Anything, at most {MAX_METADATA_BYTES} bytes; everyone there sees it"
    )
    participant_attributes: Annotated[dict[AttributeKey, str], AfterValidator(_own_attributes)] | None = (
        Field(
            None,
            description=f"Text by key, at most {MAX_ATTRIBUTES_BYTES} bytes in all; everyone there sees it",
        )
    )
    room_config: Annotated[None, BeforeValidator(_no_room_config)] = Field(
        None, description="Not allowed: those who join a room do not say what it is like"
    )
    # Not strict: JSON has no enums.
    role: Role = Field(
        Role.VIEWER,
        strict=False,
        description="viewer: subscribes only. publisher: also publishes camera, microphone, screen and data",
    )
    ttl_seconds: int = Field(
        MAX_TTL_SECONDS, ge=1, le=MAX_TTL_SECONDS, description="For how long the token can be used to join"
    )


class TokenResponse(BaseModel):
    """What LiveKit's client SDKs expect of a token endpoint."""

    server_url: str = Field(description="What the client connects to, ws:// or wss://")
    participant_token: str = Field(description="The JWT to connect with")


@router.post(
    "/token",
    status_code=201,
    dependencies=[Security(service_key_scheme)],
    responses={
        400: {"model": Problem, "description": "The body cannot be read"},
        401: {"model": Problem, "description": "No service key, or a wrong one"},
        413: {"model": Problem, "description": f"The body is longer than {MAX_BODY_BYTES} bytes"},
        415: {"model": Problem, "description": "The body is not said to be application/json"},
        422: {"model": Problem, "description": "A field is missing, wrong, or may not be set"},
    },
)
async def create_token(wanted: TokenRequest, state: CurrentState) -> TokenResponse:
    """A token with which one participant can join one room, with exactly the grants of their role."""
    settings = state.settings
    token = mint(
        ApiCredentials(settings.livekit_api_key, settings.livekit_api_secret.get_secret_value()),
        Participant(
            identity=wanted.participant_identity,
            name=wanted.participant_name or "",
            metadata=wanted.participant_metadata or "",
            attributes=wanted.participant_attributes or {},
        ),
        room=wanted.room_name,
        role=wanted.role,
        ttl_seconds=wanted.ttl_seconds,
    )
    state.metrics.tokens.labels(wanted.role.value).inc()
    log.info(
        "token_issued",
        room=wanted.room_name,
        identity=wanted.participant_identity,
        role=wanted.role.value,
        ttl_seconds=wanted.ttl_seconds,
    )
    return TokenResponse(server_url=settings.server_url, participant_token=token)
