"""How a user gets into a stream's room: a token for it, and what else a client needs to know."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from token_api.domain.roles import StreamRole, permissions_of
from token_api.domain.vocabulary import StreamKind, StreamStatus
from token_api.endpoints.common import Body, DisplayName, problems
from token_api.endpoints.guard import FOR_ALL, CallerRoute, CurrentCaller
from token_api.endpoints.streams import view_of
from token_api.problems import Kind
from token_api.state import CurrentState
from token_api.tokens import MAX_TTL_SECONDS
from token_api.use_cases import tokens

REFUSALS = (
    *(Kind.NO_GRANT, Kind.GRANT_NOT_STARTED, Kind.GRANT_EXPIRED, Kind.GRANT_CANCELLED, Kind.BANNED),
    Kind.NOT_FOUND,
)
router = APIRouter(prefix="/v1/streams", tags=["tokens"], route_class=CallerRoute, dependencies=FOR_ALL)


class VideoTokenRequest(Body):
    """What may be wished of a token; nothing needs to be."""

    ttl_seconds: Annotated[int, Field(ge=1, le=MAX_TTL_SECONDS)] = MAX_TTL_SECONDS
    participant_name: DisplayName = Field(
        "", description="Shown to others. Taken from the host application alone: users' are in their JWT"
    )


class VideoTokenResponse(BaseModel):
    """LiveKit's standard answer, and what the token is for."""

    server_url: str = Field(description="What the client connects to, ws:// or wss://")
    participant_token: str = Field(description="The JWT to connect with")
    room_name: str
    identity: str = Field(
        description="The user's in LiveKit: one for all their devices, the last of which stays"
    )
    role: StreamRole
    expires_at: datetime = Field(description="Until when the token can be used to join")


class ConnectionInfo(BaseModel):
    """How a client connects; the token is asked for at `token_path`, when it is needed."""

    server_url: str
    room_name: str | None = Field(description="null while there is no room")
    identity: str
    token_path: str
    can_publish: bool
    publish_sources: list[str]
    can_publish_data: bool


class StreamInfoResponse(BaseModel):
    """What a client shows of a stream, and connects by."""

    id: str
    title: str
    kind: StreamKind
    status: StreamStatus
    metadata: dict[str, Any]
    started_at: datetime | None
    viewer_count: int = Field(description="viewers and guests that are in")
    capacity: int | None
    role: StreamRole
    connection: ConnectionInfo
    chat_enabled: bool
    chat_slow_mode_seconds: int
    chat_max_length: int
    chat_messages_path: str = Field(description="The chat's history, and where to write")
    chat_token_path: str


@router.post(
    "/{stream_id}/video-token",
    status_code=201,
    responses=problems(*REFUSALS, Kind.STREAM_NOT_LIVE, Kind.ROOM_FULL, Kind.MEDIA_TYPE),
)
async def create_video_token(
    stream_id: str, state: CurrentState, caller: CurrentCaller, wanted: VideoTokenRequest | None = None
) -> VideoTokenResponse:
    """A token with which the caller's user joins the stream's room, as what they are to the stream."""
    wanted = wanted or VideoTokenRequest.model_validate({})
    made = await tokens.video_token(
        state.services, caller, stream_id, ttl_seconds=wanted.ttl_seconds, name=wanted.participant_name
    )
    return VideoTokenResponse(
        server_url=made.server_url,
        participant_token=made.participant_token,
        room_name=made.room_name,
        identity=made.identity,
        role=made.role,
        expires_at=made.expires_at,
    )


@router.get("/{stream_id}/stream-info", responses=problems(*REFUSALS))
async def read_stream_info(stream_id: str, state: CurrentState, caller: CurrentCaller) -> StreamInfoResponse:
    """What the caller's user needs to connect. Of others it tells how many, not who."""
    services = state.services
    async with services.database.read() as transaction:
        info = await tokens.stream_info(transaction, caller, stream_id, services.clock.now())
    view = view_of(info.stream, info.session)
    may = permissions_of(info.role)
    return StreamInfoResponse(
        id=view.id,
        title=view.title,
        kind=view.kind,
        status=view.status,
        metadata=view.metadata,
        started_at=view.started_at,
        viewer_count=info.viewer_count,
        capacity=view.capacity,
        role=info.role,
        connection=ConnectionInfo(
            server_url=services.settings.server_url,
            room_name=view.room_name,
            identity=info.identity,
            token_path=f"/v1/streams/{view.id}/video-token",
            can_publish=may.publish,
            publish_sources=list(may.publish_sources),
            can_publish_data=may.publish_data,
        ),
        chat_enabled=view.chat_enabled,
        chat_slow_mode_seconds=view.chat_slow_mode_seconds,
        chat_max_length=info.stream.chat_max_length,
        chat_messages_path=f"/v1/streams/{view.id}/chat/messages",
        chat_token_path=f"/v1/streams/{view.id}/chat-token",
    )
