"""What became of a stream: who watched, who did not get in, and how good it was. Never who they were.

All figures are counted when something happens (`viewers`, `telemetry`, `join_failures`). So reading costs the
same for a large audience as for a small one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Executable, Row, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.callers import Caller
from token_api.database.tables import AudienceStep, JoinFailure, QualityCount, StreamSession
from token_api.domain.audience import MILLISECOND, Audience, curve_of, peak_of, thinned
from token_api.domain.histogram import Quantiles, quantiles_of
from token_api.use_cases.services import Services
from token_api.use_cases.standing import require_steering, standing_of

# The newest; a stream has more than one only where it failed, and was taken up again.
MAX_SESSIONS = 20


@dataclass(frozen=True)
class SessionFigures:
    """Figures of one session. `quality` has what clients told of, by metric."""

    session: StreamSession
    viewers_now: int
    audience: Audience
    join_failures: Mapping[str, int]
    quality: Mapping[str, Quantiles]


@dataclass(frozen=True)
class Figures:
    """Figures of a stream: `sessions` are the newest, and the viewers are theirs.

    `join_failures` are of all sessions, and of the time before them.
    """

    at: datetime
    unique_viewers: int
    peak_viewers: int
    watch_seconds: int
    join_failures: Mapping[str, int]
    sessions: Sequence[SessionFigures]


async def require_reader(services: Services, caller: Caller, stream_id: str) -> None:
    """Raises ProblemError: NOT_FOUND, ROLE_FORBIDDEN, for who may not see a stream's figures."""
    async with services.database.read() as transaction:
        require_steering(await standing_of(transaction, caller, stream_id, services.clock.now()))


async def figures(services: Services, stream_id: str) -> Figures:
    """A stream's figures as of now."""
    now = services.clock.now()
    async with services.database.read() as transaction:
        sessions = list(
            await transaction.scalars(
                select(StreamSession)
                .where(StreamSession.stream_id == stream_id)
                .order_by(StreamSession.requested_at.desc())
                .limit(MAX_SESSIONS)
            )
        )
        ids = [session.id for session in sessions]
        steps = await _steps(transaction, ids)
        failures = await _failures(transaction, stream_id, ids)
        all_failures = await _all_failures(transaction, stream_id)
        quality = await _quality(transaction, ids)
    audiences = {session.id: _audience(session, steps.get(session.id, {}), now) for session in sessions}
    return Figures(
        at=now,
        unique_viewers=sum(session.viewers_new for session in sessions),
        peak_viewers=max((audience.peak for audience in audiences.values()), default=0),
        watch_seconds=sum(audience.watch_seconds for audience in audiences.values()),
        join_failures=all_failures,
        sessions=[
            SessionFigures(
                session=session,
                viewers_now=0 if session.closed_at is not None else session.viewers_now,
                audience=audiences[session.id],
                join_failures=failures.get(session.id, {}),
                quality=quality.get(session.id, {}),
            )
            for session in sessions
        ],
    )


def _audience(session: StreamSession, steps: Mapping[int, int], now: datetime) -> Audience:
    age = ((session.closed_at or now) - session.requested_at) // MILLISECOND
    has_ended = session.closed_at is not None
    # LiveKit's clock may be ahead of ours: what it told for a time after the end counts as of the end.
    late = {place: by for place, by in steps.items() if has_ended and place * 1000 > age}
    too_much = sum(by * (age - place * 1000) for place, by in late.items())
    on_time = {place: by for place, by in steps.items() if place not in late} if late else steps
    curve = curve_of(on_time, age // 1000 if has_ended else None)
    return Audience(
        unique=session.viewers_unique,
        # The curve has the most at its places, whatever the order of the events. Between two places of a long
        # session there may have been more.
        peak=max(session.viewers_peak, peak_of(curve)),
        # The area below the curve: each who came has been there since, but for those who left.
        watch_seconds=round(max(0, session.viewers_now * age - session.viewer_moments - too_much) / 1000),
        curve=thinned(curve),
    )


async def _steps(transaction: AsyncSession, sessions: Sequence[str]) -> dict[str, dict[int, int]]:
    """Changes of the number of viewers by place, by session."""
    columns = (AudienceStep.session_id, AudienceStep.place, AudienceStep.change)
    found: dict[str, dict[int, int]] = defaultdict(dict)
    wanted = select(*columns).where(AudienceStep.session_id.in_(sessions))
    for session_id, place, change in await _rows(transaction, wanted):
        found[session_id][place] = change
    return found


async def _rows(transaction: AsyncSession, wanted: Executable) -> Sequence[Row[*tuple[Any, ...]]]:
    # By the connection: of thousands of rows the session would make objects one by one.
    return (await (await transaction.connection()).execute(wanted)).all()


async def _failures(
    transaction: AsyncSession, stream_id: str, sessions: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Counts by reason, by session."""
    rows = await transaction.execute(
        select(JoinFailure.session_id, JoinFailure.reason, JoinFailure.count).where(
            JoinFailure.stream_id == stream_id, JoinFailure.session_id.in_(sessions)
        )
    )
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for session_id, reason, count in rows:
        found[session_id][reason] = count
    return found


async def _all_failures(transaction: AsyncSession, stream_id: str) -> dict[str, int]:
    """Counts by reason."""
    rows = await transaction.execute(
        select(JoinFailure.reason, func.sum(JoinFailure.count))
        .where(JoinFailure.stream_id == stream_id)
        .group_by(JoinFailure.reason)
    )
    return {reason: int(count) for reason, count in rows}


async def _quality(transaction: AsyncSession, sessions: Sequence[str]) -> dict[str, dict[str, Quantiles]]:
    """Quantiles by metric, by session."""
    columns = (QualityCount.session_id, QualityCount.metric, QualityCount.bucket, QualityCount.samples)
    counts: dict[str, dict[str, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
    wanted = select(*columns).where(QualityCount.session_id.in_(sessions))
    for session_id, metric, bucket, samples in await _rows(transaction, wanted):
        counts[session_id][metric][bucket] = samples
    return {
        session_id: {metric: quantiles_of(of) for metric, of in sorted(by_metric.items())}
        for session_id, by_metric in counts.items()
    }
