"""Those who are in a stream's room: list, remove, mute, promote and demote them. For owner and team."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from token_api.domain.paging import DEFAULT_LIMIT, Cursor
from token_api.domain.roles import StreamRole
from token_api.endpoints.common import (
    LIVEKIT_PROBLEMS,
    STREAM_PROBLEMS,
    Body,
    Key,
    Limit,
    alike,
    answer,
    cursor_of,
    problems,
)
from token_api.endpoints.guard import FOR_ALL, CallerRoute, CurrentCaller
from token_api.livekit_api.values import Track
from token_api.problems import Kind
from token_api.state import CurrentState
from token_api.use_cases import moderation
from token_api.use_cases.idempotency import Answer

router = APIRouter(prefix="/v1/streams", tags=["moderation"], route_class=CallerRoute, dependencies=FOR_ALL)

Identity = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9_.:@|+=-]{1,130}$", description="In LiveKit: u:<user id> for a user")
]


class TrackView(BaseModel):
    """What somebody publishes."""

    sid: str
    source: str = Field(description="camera, microphone, screen_share, screen_share_audio or unknown")
    kind: str = Field(description="audio or video")
    muted: bool


class ParticipantView(BaseModel):
    """Somebody who is in."""

    identity: str
    user_id: str | None = Field(description="null for those whom the host application named itself")
    name: str
    role: StreamRole | None = Field(description="null for a stranger, who is about to be put out")
    joined_at: datetime
    tracks: list[TrackView]


class ParticipantPage(BaseModel):
    """Some of those who are in, from the first who came."""

    items: list[ParticipantView]
    next_cursor: str | None


class MuteRequest(Body):
    """What to mute."""

    track_sid: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = Field(
        None, description="One track; null: all their audio"
    )


class MuteResponse(BaseModel):
    """What somebody publishes, after the change."""

    tracks: list[TrackView]


class PermissionsRequest(Body):
    """What somebody is to be."""

    role: Literal["guest", "viewer"] = Field(
        description="guest: may publish camera and microphone. viewer: may not, and what they publish ends"
    )


class PermissionsResponse(BaseModel):
    """What somebody is."""

    identity: str
    role: StreamRole


def _track_view(track: Track) -> TrackView:
    return TrackView(sid=track.sid, source=track.source, kind=track.kind, muted=track.muted)


@router.get("/{stream_id}/participants", responses=problems(*STREAM_PROBLEMS))
async def list_participants(
    *,
    stream_id: str,
    state: CurrentState,
    caller: CurrentCaller,
    cursor: Annotated[Cursor | None, Depends(cursor_of)],
    limit: Limit = DEFAULT_LIMIT,
) -> ParticipantPage:
    """Who is in, with what they publish. While LiveKit is away: as its events told, without tracks."""
    page = await moderation.present(state.services, caller, stream_id, cursor, limit)
    items = [
        ParticipantView(
            identity=someone.identity,
            user_id=someone.user_id,
            name=someone.name,
            role=someone.role,
            joined_at=someone.joined_at,
            tracks=[_track_view(track) for track in someone.tracks],
        )
        for someone in page.items
    ]
    return ParticipantPage(items=items, next_cursor=page.next_cursor)


@router.delete(
    "/{stream_id}/participants/{identity}",
    status_code=204,
    response_class=Response,
    responses=problems(*STREAM_PROBLEMS, *LIVEKIT_PROBLEMS),
)
async def remove_participant(
    stream_id: str, identity: Identity, state: CurrentState, caller: CurrentCaller
) -> Response:
    """Put somebody out. The token that they have is no longer good; a ban keeps them from a new one."""
    await moderation.remove(state.services, caller, stream_id, identity)
    return Response(status_code=204)


@router.post(
    "/{stream_id}/participants/{identity}/mute",
    response_model=MuteResponse,
    responses=problems(*STREAM_PROBLEMS, *LIVEKIT_PROBLEMS, Kind.MEDIA_TYPE),
)
async def mute_participant(
    *,
    stream_id: str,
    identity: Identity,
    request: Request,
    state: CurrentState,
    caller: CurrentCaller,
    wanted: MuteRequest | None = None,
    key: Key = None,
) -> JSONResponse:
    """Mute one track, or all audio, of somebody who is in. They can unmute themselves."""
    track_sid = wanted.track_sid if wanted is not None else None

    async def change() -> Answer:
        tracks = await moderation.mute(state.services, caller, stream_id, identity, track_sid)
        return answer(200, MuteResponse(tracks=[_track_view(track) for track in tracks]))

    return await alike(state, request, caller, change, key=key, body=wanted)


@router.patch(
    "/{stream_id}/participants/{identity}/permissions",
    responses=problems(*STREAM_PROBLEMS, *LIVEKIT_PROBLEMS, Kind.CONFLICT, Kind.MEDIA_TYPE),
)
async def set_permissions(
    stream_id: str,
    identity: Identity,
    wanted: PermissionsRequest,
    state: CurrentState,
    caller: CurrentCaller,
) -> PermissionsResponse:
    """Promote a viewer to guest, or make a guest a viewer again; it holds for their later tokens, too."""
    role = await moderation.set_role(state.services, caller, stream_id, identity, StreamRole(wanted.role))
    return PermissionsResponse(identity=identity, role=role)
