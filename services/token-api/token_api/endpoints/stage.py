"""Raised hands: viewers ask to speak; owner and team list the requests, accept and decline them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.tables import StageRequest
from token_api.domain.paging import DEFAULT_LIMIT, Cursor
from token_api.domain.vocabulary import StageRequestState
from token_api.endpoints.common import (
    LIVEKIT_PROBLEMS,
    STREAM_PROBLEMS,
    Key,
    Limit,
    alike,
    answer,
    cursor_of,
    once,
    problems,
)
from token_api.endpoints.guard import FOR_ALL, CallerRoute, CurrentCaller
from token_api.endpoints.video import REFUSALS
from token_api.problems import Kind
from token_api.state import CurrentState, State
from token_api.use_cases import stage
from token_api.use_cases.idempotency import Answer

router = APIRouter(
    prefix="/v1/streams/{stream_id}/stage/requests",
    tags=["moderation"],
    route_class=CallerRoute,
    dependencies=FOR_ALL,
)


class StageRequestView(BaseModel):
    """A raised hand."""

    id: str
    user_id: str
    state: StageRequestState
    created_at: datetime
    decided_at: datetime | None
    decided_by: str | None = Field(description="a user's id, or `service`")


class StageRequestPage(BaseModel):
    """Some raised hands, oldest first."""

    items: list[StageRequestView]
    next_cursor: str | None


def _view(found: StageRequest) -> StageRequestView:
    return StageRequestView(
        id=found.id,
        user_id=found.user_id,
        state=found.state,
        created_at=found.created_at,
        decided_at=found.decided_at,
        decided_by=found.decided_by,
    )


@router.post(
    "",
    status_code=201,
    response_model=StageRequestView,
    responses={
        200: {"model": StageRequestView, "description": "The hand was up already"},
        **problems(*REFUSALS, Kind.STREAM_NOT_LIVE, Kind.CONFLICT),
    },
)
async def raise_hand(
    stream_id: str, request: Request, state: CurrentState, caller: CurrentCaller, key: Key = None
) -> JSONResponse:
    """Ask to speak. For viewers of a stream that is on air; each has one request that waits."""

    async def change(transaction: AsyncSession, now: datetime) -> Answer:
        found, made = await stage.request(transaction, caller, stream_id, now)
        return answer(201 if made else 200, _view(found))

    return await once(state, request, caller, change, key=key)


@router.get("", responses=problems(*STREAM_PROBLEMS))
async def list_requests(
    *,
    stream_id: str,
    state: CurrentState,
    caller: CurrentCaller,
    cursor: Annotated[Cursor | None, Depends(cursor_of)],
    status: StageRequestState = StageRequestState.WAITING,
    limit: Limit = DEFAULT_LIMIT,
) -> StageRequestPage:
    """Who asks to speak, from the first who did. For owner and team."""
    async with state.services.database.read() as transaction:
        page = await stage.page(
            transaction,
            caller,
            stream_id,
            state.services.clock.now(),
            state=status,
            cursor=cursor,
            limit=limit,
        )
    return StageRequestPage(items=[_view(found) for found in page.items], next_cursor=page.next_cursor)


@router.delete(
    "/{request_id}",
    status_code=204,
    response_class=Response,
    responses=problems(*STREAM_PROBLEMS, Kind.CONFLICT),
)
async def lower_hand(stream_id: str, request_id: str, state: CurrentState, caller: CurrentCaller) -> Response:
    """Take back a request that waits: for who made it, and for owner and team."""
    async with state.services.database.begin() as transaction:
        await stage.withdraw(transaction, caller, stream_id, request_id, state.services.clock.now())
    return Response(status_code=204)


@router.post(
    "/{request_id}/accept",
    response_model=StageRequestView,
    responses=problems(*STREAM_PROBLEMS, *LIVEKIT_PROBLEMS, Kind.CONFLICT),
)
async def accept(
    *,
    stream_id: str,
    request_id: str,
    request: Request,
    state: CurrentState,
    caller: CurrentCaller,
    key: Key = None,
) -> JSONResponse:
    """Let who asked speak: they are a guest from now on, as by PATCH of their permissions."""
    return await _decide(
        state, request, caller, stream_id=stream_id, request_id=request_id, key=key, accept=True
    )


@router.post(
    "/{request_id}/decline",
    response_model=StageRequestView,
    responses=problems(*STREAM_PROBLEMS, Kind.CONFLICT),
)
async def decline(
    *,
    stream_id: str,
    request_id: str,
    request: Request,
    state: CurrentState,
    caller: CurrentCaller,
    key: Key = None,
) -> JSONResponse:
    """Do not let them speak this time; they can ask again."""
    return await _decide(
        state, request, caller, stream_id=stream_id, request_id=request_id, key=key, accept=False
    )


async def _decide(
    state: State,
    request: Request,
    caller: CurrentCaller,
    *,
    stream_id: str,
    request_id: str,
    key: str | None,
    accept: bool,
) -> JSONResponse:
    async def change() -> Answer:
        return answer(
            200, _view(await stage.decide(state.services, caller, stream_id, request_id, accept=accept))
        )

    return await alike(state, request, caller, change, key=key)
