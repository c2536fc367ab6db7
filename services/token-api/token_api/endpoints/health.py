"""For those who operate the service: is it alive, can it work, what did it do."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from token_api.metrics import CONTENT_TYPE
from token_api.problems import Kind, Problem, ProblemError
from token_api.state import CurrentState

router = APIRouter(tags=["operation"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """LiveKit answers, and takes our key."""

    status: Literal["ready"] = "ready"


@router.get("/healthz")
async def healthz() -> Alive:
    """Whether this process is alive. It asks nobody else: LiveKit's outage is no reason for a restart."""
    return Alive()


@router.get("/readyz", responses={503: {"model": Problem, "description": "LiveKit cannot be used"}})
async def readyz(state: CurrentState) -> Ready:
    """Whether tokens handed out now can be used: LiveKit answers and accepts the configured key."""
    found = await state.probe.finding()
    if not found.ok:
        raise ProblemError(Kind.LIVEKIT_UNAVAILABLE, f"{found.detail}.", {"Retry-After": "2"})
    return Ready()


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(state: CurrentState) -> Response:
    """Counters in Prometheus' text format."""
    return Response(state.metrics.render(), media_type=CONTENT_TYPE)
