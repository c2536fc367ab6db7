"""LiveKit's standard token endpoint: the host application names all, users name a room."""

from __future__ import annotations

from typing import Annotated

import structlog
from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from token_api.callers import UserCaller
from token_api.domain.room_names import RESERVED, USER_PREFIX, has_reserved_prefix, is_users
from token_api.endpoints.common import LIVEKIT_PROBLEMS, problems
from token_api.endpoints.guard import FOR_ALL, ON_BEHALF_OF, CallerRoute, CurrentCaller
from token_api.endpoints.video import REFUSALS
from token_api.problems import Kind
from token_api.state import CurrentState, State
from token_api.tokens import MAX_TTL_SECONDS, Participant, Role, mint
from token_api.use_cases import call_rooms, tokens

# Clients put the token into the URL of a WebSocket, and proxies commonly end a request line at 8 KiB:
# what a caller adds to the token must stay well below that once it is base64.
MAX_METADATA_BYTES = 2048
MAX_ATTRIBUTES_BYTES = 2048
MAX_BODY_BYTES = 16 * 1024

log = structlog.get_logger()
router = APIRouter(prefix="/v1", tags=["tokens"], route_class=CallerRoute, dependencies=FOR_ALL)
# For a user, their standing decides these and not the body.
_NOT_FOR_USERS = ("participant_identity", "participant_metadata", "participant_attributes", "role")


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
    participant_identity: Identity | None = Field(
        None,
        description="Required of the host application, refused for users. Unique in the room, and "
        "never chosen by the participant: whoever joins under an identity replaces the one who has it. "
        "Letters, digits and _ . : @ | + = -; not u: at the beginning, which is for users of streams",
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
    responses=problems(*REFUSALS, Kind.STREAM_NOT_LIVE, Kind.ROOM_FULL, Kind.MEDIA_TYPE, *LIVEKIT_PROBLEMS),
)
async def create_token(wanted: TokenRequest, state: CurrentState, caller: CurrentCaller) -> TokenResponse:
    """A token with which one participant can join one room, with exactly the grants of their role.

    The host application names room and participant, but not the rooms of streams and the identities of
    users: their access is decided by grants and bans. A user, or the host application on behalf of one,
    names the room of a stream that the user may enter. Identity and role follow from the user.

    LiveKit has the room before the token is issued, and as long as the token can be used.
    """
    if caller.user_id is None:
        identity = _host_identity(wanted)
        await call_rooms.provide(state.services, wanted.room_name)
        return _for_host(state, wanted, identity)
    fixed = _NOT_FOR_USERS + (("participant_name",) if isinstance(caller, UserCaller) else ())
    refused = [field for field in fixed if field in wanted.model_fields_set]
    if refused:
        raise _wrong(dict.fromkeys(refused, "not allowed for a user's token"), wanted)
    made = await tokens.token_for_room(
        state.services, caller, wanted.room_name, wanted.ttl_seconds, name=wanted.participant_name or ""
    )
    return TokenResponse(server_url=made.server_url, participant_token=made.participant_token)


def _host_identity(wanted: TokenRequest) -> str:
    """The identity that the host application names. Raises RequestValidationError for what is reserved."""
    if wanted.participant_identity is None:
        raise _wrong({"participant_identity": "Field required"}, wanted)
    wrong = {}
    if has_reserved_prefix(wanted.room_name):
        wrong["room_name"] = (
            f"{RESERVED}; POST /v1/streams/{{id}}/video-token with {ON_BEHALF_OF} gives tokens for them"
        )
    if is_users(wanted.participant_identity):
        wrong["participant_identity"] = f"identities that begin with {USER_PREFIX} belong to users of streams"
    if wrong:
        raise _wrong(wrong, wanted)
    return wanted.participant_identity


def _for_host(state: State, wanted: TokenRequest, identity: str) -> TokenResponse:
    token = mint(
        state.services.credentials,
        Participant(
            identity=identity,
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
        identity=identity,
        role=wanted.role.value,
        ttl_seconds=wanted.ttl_seconds,
    )
    return TokenResponse(server_url=state.settings.server_url, participant_token=token)


def _wrong(fields: dict[str, str], wanted: TokenRequest) -> RequestValidationError:
    """What FastAPI raises for wrong fields, for those that only the caller makes wrong."""
    return RequestValidationError(
        [
            {"type": "value_error", "loc": ("body", field), "msg": message, "input": getattr(wanted, field)}
            for field, message in fields.items()
        ]
    )
