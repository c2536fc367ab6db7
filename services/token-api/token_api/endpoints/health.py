"""For those who operate the service: is it alive, can it work, what did it do."""

from __future__ import annotations

import asyncio
from typing import Literal

import structlog
from fastapi import APIRouter, Response
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from token_api.livekit_probe import Verdict
from token_api.metrics import CONTENT_TYPE
from token_api.problems import Kind, Problem, ProblemError
from token_api.state import CurrentState, State

log = structlog.get_logger()
router = APIRouter(tags=["operation"])
# As long as LiveKit gets: the kubelet waits a little longer.
DATABASE_SECONDS = 2.0
# LiveKit's outage: it passes, all replicas have it, and what needs no LiveKit goes on. Any other finding
# is a mistake of ours, and a rollout that brings it must stop.
_OUTAGES = frozenset({Verdict.UNREACHABLE, Verdict.UNHEALTHY})


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Requests can be served. Those that need LiveKit get 503 while it is unavailable."""

    status: Literal["ready"] = "ready"
    livekit: Literal["available", "unavailable"]


@router.get("/healthz")
async def healthz() -> Alive:
    """Whether this process is alive. It asks nobody else: LiveKit's outage is no reason for a restart."""
    return Alive()


@router.get(
    "/readyz",
    responses={
        503: {
            "model": Problem,
            "description": "The database is away, LiveKit refuses our key, or the service is about to stop",
        }
    },
)
async def readyz(state: CurrentState) -> Ready:
    """Whether requests can be served: the database answers, and LiveKit, if it does, accepts our key.

    Not for a service that is told to stop: it serves on meanwhile, but new requests are to go elsewhere.
    """
    if state.draining.begun:
        raise ProblemError(Kind.STOPPING, "The service was told to stop.", {"Retry-After": "2"})
    found, database = await asyncio.gather(state.probe.finding(), _database_answers(state))
    if not database:
        raise ProblemError(Kind.DATABASE_UNAVAILABLE, "The database does not answer.", {"Retry-After": "2"})
    if not found.ok and found.verdict not in _OUTAGES:
        raise ProblemError(Kind.LIVEKIT_UNAVAILABLE, f"{found.detail}.", {"Retry-After": "2"})
    return Ready(livekit="available" if found.ok else "unavailable")


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
