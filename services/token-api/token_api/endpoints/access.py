"""Passes and teams, for the host application alone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, model_validator
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.tables import AccessGrant, TeamMember
from token_api.domain.access import GrantStatus, status_of
from token_api.domain.paging import DEFAULT_LIMIT, Cursor
from token_api.domain.vocabulary import GrantScope, TeamRole
from token_api.endpoints.common import (
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
from token_api.endpoints.guard import FOR_SERVICE, CurrentService, ServiceRoute
from token_api.problems import Kind
from token_api.state import CurrentState
from token_api.use_cases import access, chat_bans
from token_api.use_cases.idempotency import Answer

router = APIRouter(prefix="/v1", tags=["access"], route_class=ServiceRoute, dependencies=FOR_SERVICE)


class GrantRequest(Body):
    """A pass to be given."""

    user_id: HostId
    scope: GrantScope = Field(strict=False, description="what it opens: one stream, an experience, a space")
    scope_id: HostId
    starts_at: Moment | None = Field(None, strict=False, description="null: at once")
    expires_at: Moment | None = Field(None, strict=False, description="null: never")

    @model_validator(mode="after")
    def _in_order(self) -> GrantRequest:
        if self.starts_at and self.expires_at and self.expires_at <= self.starts_at:
            raise ValueError("expires_at must be after starts_at")
        return self


class GrantView(BaseModel):
    """A pass. `status` is what it is now."""

    id: str
    user_id: str
    scope: GrantScope
    scope_id: str
    status: GrantStatus
    starts_at: datetime | None
    expires_at: datetime | None
    cancelled_at: datetime | None
    created_at: datetime


class GrantPage(BaseModel):
    """Some passes, newest first."""

    items: list[GrantView]
    next_cursor: str | None


class MemberRequest(Body):
    """What a user is to be in a team."""

    role: TeamRole = Field(TeamRole.MODERATOR, strict=False)


class MemberView(BaseModel):
    """A member of a team."""

    space_id: str
    user_id: str
    role: TeamRole
    created_at: datetime


class Team(BaseModel):
    """The team of a space."""

    items: list[MemberView]


def grant_view(grant: AccessGrant, now: datetime) -> GrantView:
    """A pass as callers see it at `now`."""
    return GrantView(
        id=grant.id,
        user_id=grant.user_id,
        scope=grant.scope,
        scope_id=grant.scope_id,
        status=status_of(access.window_of(grant), now),
        starts_at=grant.starts_at,
        expires_at=grant.expires_at,
        cancelled_at=grant.cancelled_at,
        created_at=grant.created_at,
    )


def member_view(member: TeamMember) -> MemberView:
    """A member as callers see them."""
    return MemberView(
        space_id=member.space_id, user_id=member.user_id, role=member.role, created_at=member.created_at
    )


@router.post(
    "/access-grants",
    status_code=201,
    response_model=GrantView,
    responses=problems(Kind.ROLE_FORBIDDEN, Kind.MEDIA_TYPE),
)
async def create_grant(
    wanted: GrantRequest, request: Request, state: CurrentState, caller: CurrentService, key: Key = None
) -> JSONResponse:
    """Give a user a pass. It lets them in from this answer on."""

    async def change(transaction: AsyncSession, now: datetime) -> Answer:
        new = access.NewGrant(
            wanted.user_id, wanted.scope, wanted.scope_id, wanted.starts_at, wanted.expires_at
        )
        grant = await access.give(transaction, caller, new, now)
        return answer(201, grant_view(grant, now), location=f"/v1/access-grants/{grant.id}")

    return await once(state, request, caller, change, key=key, body=wanted)


@router.get("/access-grants", responses=problems(Kind.ROLE_FORBIDDEN))
async def list_grants(
    *,
    state: CurrentState,
    cursor: Annotated[Cursor | None, Depends(cursor_of)],
    user_id: HostId | None = None,
    scope: GrantScope | None = None,
    scope_id: HostId | None = None,
    limit: Limit = DEFAULT_LIMIT,
) -> GrantPage:
    """Passes, newest first."""
    now = state.services.clock.now()
    async with state.services.database.read() as transaction:
        page = await access.page(
            transaction, user_id=user_id, scope=scope, scope_id=scope_id, cursor=cursor, limit=limit
        )
    return GrantPage(items=[grant_view(grant, now) for grant in page.items], next_cursor=page.next_cursor)


@router.get("/access-grants/{grant_id}", responses=problems(Kind.ROLE_FORBIDDEN, Kind.NOT_FOUND))
async def read_grant(grant_id: str, state: CurrentState) -> GrantView:
    """One pass."""
    async with state.services.database.read() as transaction:
        return grant_view(await access.get(transaction, grant_id), state.services.clock.now())


@router.post("/access-grants/{grant_id}/cancel", responses=problems(Kind.ROLE_FORBIDDEN, Kind.NOT_FOUND))
async def cancel_grant(grant_id: str, state: CurrentState, caller: CurrentService) -> GrantView:
    """Cancel a pass: its owner gets no token by it anymore, and is put out of the rooms that it opened."""
    now = state.services.clock.now()
    async with state.services.database.begin() as transaction:
        return grant_view(await access.cancel(transaction, caller, grant_id, now), now)


@router.get("/spaces/{space_id}/team", responses=problems(Kind.ROLE_FORBIDDEN))
async def list_team(space_id: HostId, state: CurrentState) -> Team:
    """Who works for a space."""
    async with state.services.database.read() as transaction:
        found = await access.members(transaction, space_id)
    return Team(items=[member_view(member) for member in found])


@router.put(
    "/spaces/{space_id}/team/{user_id}",
    responses={
        201: {"model": MemberView, "description": "The user is new in the team"},
        **problems(Kind.ROLE_FORBIDDEN, Kind.MEDIA_TYPE),
    },
)
async def put_member(
    *,
    space_id: HostId,
    user_id: HostId,
    wanted: MemberRequest,
    response: Response,
    state: CurrentState,
    caller: CurrentService,
) -> MemberView:
    """Make a user a member of a team, or change what they are in it."""
    now = state.services.clock.now()
    async with state.services.database.begin() as transaction:
        member, made = await access.put_member(
            transaction, caller, space_id=space_id, user_id=user_id, role=wanted.role, now=now
        )
        await chat_bans.on_user(transaction, state.services.settings, user_id, space_id, now)
    response.status_code = 201 if made else 200
    return member_view(member)


@router.delete(
    "/spaces/{space_id}/team/{user_id}",
    status_code=204,
    response_class=Response,
    responses=problems(Kind.ROLE_FORBIDDEN),
)
async def delete_member(
    space_id: HostId, user_id: HostId, state: CurrentState, caller: CurrentService
) -> Response:
    """Take a user out of a team. They are put out of its rooms, unless something else lets them in."""
    async with state.services.database.begin() as transaction:
        now = state.services.clock.now()
        await access.remove_member(transaction, caller, space_id, user_id, now)
        await chat_bans.on_user(transaction, state.services.settings, user_id, space_id, now)
    return Response(status_code=204)
