"""What became of a stream, in figures."""

from __future__ import annotations

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, Field

from token_api.domain.audience import Audience
from token_api.endpoints.common import STREAM_PROBLEMS, problems
from token_api.endpoints.guard import FOR_ALL, CallerRoute, CurrentCaller
from token_api.state import CurrentState
from token_api.use_cases import analytics

router = APIRouter(prefix="/v1/streams", tags=["analytics"], route_class=CallerRoute, dependencies=FOR_ALL)


class PointView(BaseModel):
    """That from `at` on there were `viewers`, until the next point."""

    at: datetime
    viewers: int


class QuantilesView(BaseModel):
    """Of `samples` values, what 50, 95 and 99 in a hundred do not exceed."""

    samples: int
    p50: int
    p95: int
    p99: int


class AudienceView(BaseModel):
    """Viewers and guests; the creator and the team are not counted."""

    unique_viewers: int
    peak_viewers: int = Field(description="the most that were in at once")
    watch_seconds: int = Field(description="all viewers' time together, so far")
    join_failures: dict[str, int] = Field(
        description="by reason: the problem's kind for refused tokens, `client-…` for what clients told"
    )


class SessionView(AudienceView):
    """One time that the stream was on air."""

    session_id: str
    opened_at: datetime | None
    closed_at: datetime | None
    viewers_now: int
    viewers: list[PointView] = Field(
        description="each change of the number; of very many the highest of neighbours"
    )
    quality: dict[str, QuantilesView] = Field(
        description="by what clients measured: rtt_ms, loss_permille, freeze_ms, bitrate_kbps, "
        "frames_per_second; over samples of the last 7 days"
    )


class AnalyticsResponse(AudienceView):
    """Figures of a stream: over all its sessions, and of each, the newest first."""

    stream_id: str
    at: datetime
    sessions: list[SessionView]


def _audience(audience: Audience) -> dict[str, int]:
    return {
        "unique_viewers": audience.unique,
        "peak_viewers": audience.peak,
        "watch_seconds": audience.watch_seconds,
    }


def _session(figures: analytics.SessionFigures) -> SessionView:
    return SessionView(
        session_id=figures.session.id,
        opened_at=figures.session.opened_at,
        closed_at=figures.session.closed_at,
        viewers_now=figures.viewers_now,
        viewers=[PointView(at=point.at, viewers=point.viewers) for point in figures.audience.curve],
        join_failures=dict(figures.join_failures),
        quality={metric: QuantilesView(**vars(value)) for metric, value in figures.quality.items()},
        **_audience(figures.audience),
    )


@router.get("/{stream_id}/analytics", responses=problems(*STREAM_PROBLEMS))
async def read_analytics(stream_id: str, state: CurrentState, caller: CurrentCaller) -> AnalyticsResponse:
    """Figures of a stream, for its owner and team: how many, how long, how well. Never who."""
    figures = await analytics.figures(state.services, caller, stream_id)
    return AnalyticsResponse(
        stream_id=stream_id,
        at=figures.at,
        join_failures=dict(figures.join_failures),
        sessions=[_session(session) for session in figures.sessions],
        **_audience(figures.audience),
    )
