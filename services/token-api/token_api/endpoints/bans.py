"""Bans of users from a stream or from all of its space. For owner and team."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, Field, StringConstraints, model_validator
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.tables import Ban
from token_api.domain.paging import DEFAULT_LIMIT, Cursor
from token_api.endpoints.common import (
    STREAM_PROBLEMS,
    Body,
    HostId,
    Key,
    Limit,
    Moment,
    answer,
    cursor_of,
    once,
    problems,
)
from token_api.endpoints.guard import FOR_ALL, CallerRoute, CurrentCaller
from token_api.problems import Kind, ProblemError
from token_api.state import CurrentState
from token_api.use_cases import bans, chat_bans, enforcement
from token_api.use_cases.idempotency import Answer

router = APIRouter(prefix="/v1/streams", tags=["moderation"], route_class=CallerRoute, dependencies=FOR_ALL)

_YEAR_SECONDS = 365 * 24 * 3600


def _is_utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("it holds half a character (a lone surrogate)") from error
    return text


Reason = Annotated[
    str,
    StringConstraints(max_length=500, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$"),
    AfterValidator(_is_utf8),
]


class BanRequest(Body):
    """Whom to ban, from what, and for how long."""

    user_id: HostId
    scope: Literal["stream", "space"] = Field(
        "stream", description="space: all streams of the stream's space"
    )
    until: Moment | None = Field(None, strict=False, description="when it ends; null: never")
    duration_seconds: Annotated[int, Field(ge=1, le=_YEAR_SECONDS)] | None = Field(
        None, description="instead of `until`"
    )
    reason: Reason = Field("", description="for owner and team; the banned do not see it")

    @model_validator(mode="after")
    def _one_end(self) -> BanRequest:
        if self.until is not None and self.duration_seconds is not None:
            raise ValueError("until and duration_seconds may not both be given")
        return self


class BanView(BaseModel):
    """A ban."""

    id: str
    user_id: str
    scope: Literal["stream", "space"]
    reason: str
    banned_by: str = Field(description="a user's id, or `service`")
    by_host: bool = Field(
        description="the host application made it: it also keeps out owner and team, and only it lifts it"
    )
    created_at: datetime
    until: datetime | None
    lifted_at: datetime | None


class BanPage(BaseModel):
    """Some bans that are in force, newest first."""

    items: list[BanView]
    next_cursor: str | None


def _view(ban: Ban) -> BanView:
    return BanView(
        id=ban.id,
        user_id=ban.user_id,
        scope="stream" if ban.stream_id is not None else "space",
        reason=ban.reason,
        banned_by=ban.banned_by,
        by_host=ban.by_host,
        created_at=ban.created_at,
        until=ban.until,
        lifted_at=ban.lifted_at,
    )


@router.post(
    "/{stream_id}/bans",
    status_code=201,
    response_model=BanView,
    responses={
        200: {"model": BanView, "description": "The user was banned already; the ban is as wanted now"},
        **problems(*STREAM_PROBLEMS, Kind.CONFLICT, Kind.MEDIA_TYPE),
    },
)
async def create_ban(
    *,
    stream_id: str,
    wanted: BanRequest,
    request: Request,
    state: CurrentState,
    caller: CurrentCaller,
    key: Key = None,
) -> JSONResponse:
    """Ban a user: they get no token, and are removed from the room at once and whenever they join again.

    Only the host application, acting for itself, can ban the stream's owner and its team.
    """
    space_id = None

    async def change(transaction: AsyncSession, now: datetime) -> Answer:
        nonlocal space_id
        until = wanted.until
        if wanted.duration_seconds is not None:
            until = now + timedelta(seconds=wanted.duration_seconds)
        if until is not None and until <= now:
            raise ProblemError(Kind.VALIDATION, "until: it is over already.")
        new = bans.NewBan(wanted.user_id, wanted.scope == "space", until, wanted.reason)
        ban, made = await bans.ban(transaction, caller, stream_id, new, now)
        await chat_bans.on_ban(transaction, state.services.settings, ban, now)
        space_id = ban.space_id
        location = f"/v1/streams/{stream_id}/bans/{ban.id}"
        return answer(201 if made else 200, _view(ban), location=location if made else None)

    response = await once(state, request, caller, change, key=key, body=wanted)
    stream = stream_id if space_id is None else None
    await enforcement.on_changed(state.services, wanted.user_id, stream, space_id)
    return response


@router.get("/{stream_id}/bans", responses=problems(*STREAM_PROBLEMS))
async def list_bans(
    *,
    stream_id: str,
    state: CurrentState,
    caller: CurrentCaller,
    cursor: Annotated[Cursor | None, Depends(cursor_of)],
    limit: Limit = DEFAULT_LIMIT,
) -> BanPage:
    """The bans in force that keep users out of the stream, its space's among them."""
    async with state.services.database.read() as transaction:
        page = await bans.page(
            transaction, caller, stream_id, state.services.clock.now(), cursor=cursor, limit=limit
        )
    return BanPage(items=[_view(ban) for ban in page.items], next_cursor=page.next_cursor)


@router.get("/{stream_id}/bans/{ban_id}", responses=problems(*STREAM_PROBLEMS))
async def read_ban(stream_id: str, ban_id: str, state: CurrentState, caller: CurrentCaller) -> BanView:
    """One ban, also one that is over or lifted."""
    async with state.services.database.read() as transaction:
        return _view(await bans.get(transaction, caller, stream_id, ban_id, state.services.clock.now()))


@router.delete(
    "/{stream_id}/bans/{ban_id}",
    status_code=204,
    response_class=Response,
    responses=problems(*STREAM_PROBLEMS),
)
async def lift_ban(stream_id: str, ban_id: str, state: CurrentState, caller: CurrentCaller) -> Response:
    """Lift a ban: the user can get a token again, if a grant of theirs lets them in."""
    async with state.services.database.begin() as transaction:
        now = state.services.clock.now()
        ban = await bans.lift(transaction, caller, stream_id, ban_id, now)
        await chat_bans.on_ban(transaction, state.services.settings, ban, now)
    return Response(status_code=204)
