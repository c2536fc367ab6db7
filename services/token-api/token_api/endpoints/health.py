"""For those who operate the service: is it alive, can it work, what did it do."""

from __future__ import annotations

import asyncio
from typing import Literal

import structlog
from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from token_api.metrics import CONTENT_TYPE
from token_api.problems import Kind, Problem, ProblemError
from token_api.state import CurrentState, State

log = structlog.get_logger()
router = APIRouter(tags=["operation"])
# As long as LiveKit gets: the kubelet waits a little longer.
DATABASE_SECONDS = 2.0


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """The database and LiveKit answer, and LiveKit takes our key."""

    status: Literal["ready"] = "ready"


@router.get("/healthz")
async def healthz() -> Alive:
    """Whether this process is alive. It asks nobody else: LiveKit's outage is no reason for a restart."""
    return Alive()


@router.get(
    "/readyz", responses={503: {"model": Problem, "description": "LiveKit or the database cannot be used"}}
)
async def readyz(state: CurrentState) -> Ready:
    """Whether work can be done now: the database answers, and LiveKit does and accepts the configured key."""
    found, database = await asyncio.gather(state.probe.finding(), _database_answers(state))
    if not database:
        raise ProblemError(Kind.DATABASE_UNAVAILABLE, "The database does not answer.", {"Retry-After": "2"})
    if not found.ok:
        raise ProblemError(Kind.LIVEKIT_UNAVAILABLE, f"{found.detail}.", {"Retry-After": "2"})
    return Ready()


async def _database_answers(state: State) -> bool:
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            await state.services.database.ping()
    except (SQLAlchemyError, TimeoutError) as error:
        cause = getattr(error, "orig", None) or error
        log.warning("database_probe", error=type(cause).__name__)
        return False
    return True


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(state: CurrentState) -> Response:
    """Counters in Prometheus' text format."""
    return Response(state.metrics.render(), media_type=CONTENT_TYPE)
