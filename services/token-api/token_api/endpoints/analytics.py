"""What became of a stream, in figures."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from token_api.endpoints.common import STREAM_PROBLEMS, problems
from token_api.endpoints.guard import FOR_ALL, CallerRoute, CurrentCaller
from token_api.page_safe import to_json
from token_api.state import CurrentState
from token_api.use_cases import analytics
from token_api.use_cases.services import Services

router = APIRouter(prefix="/v1/streams", tags=["analytics"], route_class=CallerRoute, dependencies=FOR_ALL)


class PointView(BaseModel):
    """That from `at` on there were `viewers`, until the next point."""

    at: datetime
    viewers: int


class QuantilesView(BaseModel):
    """Of `samples` values, what 50, 95 and 99 in a hundred do not exceed. From 64 on, up to 3 % too much."""

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
        description="each change of the number, by the second, and less exactly later in a long session; "
        "of very many the highest of neighbours"
    )
    quality: dict[str, QuantilesView] = Field(
        description="by what clients measured: rtt_ms, loss_permille, freezes, freeze_ms, bitrate_kbps, "
        "frames_per_second, frame_height; over all samples of the session"
    )


class AnalyticsResponse(AudienceView):
    """Figures of a stream: over all its sessions, and of each, the newest first."""

    stream_id: str
    at: datetime
    sessions: list[SessionView]


def _session(figures: analytics.SessionFigures) -> SessionView:
    return SessionView(
        session_id=figures.session.id,
        opened_at=figures.session.opened_at,
        closed_at=figures.session.closed_at,
        viewers_now=figures.viewers_now,
        viewers=[
            PointView(at=figures.session.requested_at + timedelta(seconds=age), viewers=viewers)
            for age, viewers in figures.audience.curve
        ],
        join_failures=dict(figures.join_failures),
        quality={metric: QuantilesView(**vars(value)) for metric, value in figures.quality.items()},
        unique_viewers=figures.audience.unique,
        peak_viewers=figures.audience.peak,
        watch_seconds=figures.audience.watch_seconds,
    )


@router.get("/{stream_id}/analytics", response_model=AnalyticsResponse, responses=problems(*STREAM_PROBLEMS))
async def read_analytics(stream_id: str, state: CurrentState, caller: CurrentCaller) -> Response:
    """Figures of a stream, for its owner and team: how many, how long, how well. Never who.

    They may be a second old.
    """
    await analytics.require_reader(state.services, caller, stream_id)
    # Many may watch the same figures: they are made once for all of them, so that tokens wait for none.
    body = await state.services.recent.get(
        f"analytics {stream_id}", partial(_render, state.services, stream_id)
    )
    return Response(body, media_type="application/json")


async def _render(services: Services, stream_id: str) -> bytes:
    figures = await analytics.figures(services, stream_id)
    found = AnalyticsResponse(
        stream_id=stream_id,
        at=figures.at,
        join_failures=dict(figures.join_failures),
        sessions=[_session(session) for session in figures.sessions],
        unique_viewers=figures.unique_viewers,
        peak_viewers=figures.peak_viewers,
        watch_seconds=figures.watch_seconds,
    )
    return to_json(found.model_dump(mode="json")).encode()
