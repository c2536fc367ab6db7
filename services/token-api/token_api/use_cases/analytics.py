"""What became of a stream: who watched, who did not get in, and how good it was. Never who they were."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from token_api.callers import Caller
from token_api.database.tables import JoinFailure, Participant, QosSample, StreamSession, Visit
from token_api.domain import audience
from token_api.domain.audience import Audience, audience_of
from token_api.domain.roles import SEATED
from token_api.use_cases.services import Services
from token_api.use_cases.standing import require_steering, standing_of

# The newest; a stream has more than one only where it failed, and was taken up again.
MAX_SESSIONS = 20
METRICS: Mapping[str, InstrumentedAttribute[int | None]] = {
    "rtt_ms": QosSample.rtt_ms,
    "loss_permille": QosSample.loss_permille,
    "freeze_ms": QosSample.freeze_ms,
    "bitrate_kbps": QosSample.bitrate_kbps,
    "frames_per_second": QosSample.frames_per_second,
}
_PERCENTS = (50, 95, 99)


@dataclass(frozen=True)
class Quantiles:
    """Of `samples` values, what half of them, 95 and 99 in a hundred, do not exceed."""

    samples: int
    p50: int
    p95: int
    p99: int


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
    """Figures of a stream; `audience` and `join_failures` are over all its sessions, and before them."""

    at: datetime
    audience: Audience
    join_failures: Mapping[str, int]
    sessions: Sequence[SessionFigures]


async def figures(services: Services, caller: Caller, stream_id: str) -> Figures:
    """A stream's figures as of now.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN.
    """
    now = services.clock.now()
    async with services.database.read() as transaction:
        standing = await standing_of(transaction, caller, stream_id, now)
        require_steering(standing)
        sessions = list(
            await transaction.scalars(
                select(StreamSession)
                .where(StreamSession.stream_id == stream_id)
                .order_by(StreamSession.requested_at.desc())
                .limit(MAX_SESSIONS)
            )
        )
        visits = await _visits(transaction, sessions, now)
        failures = await _failures(transaction, stream_id)
        quality = await _quality(transaction, stream_id)
    # A full house is ten thousands of visits: others are served meanwhile.
    return await asyncio.to_thread(_figures, now, sessions, visits, failures, quality)


@dataclass(frozen=True)
class _Seen:
    visit: audience.Visit
    is_in: bool


def _figures(
    now: datetime,
    sessions: Sequence[StreamSession],
    visits: Mapping[str, Sequence[_Seen]],
    failures: Mapping[str, Mapping[str, int]],
    quality: Mapping[str, Mapping[str, Quantiles]],
) -> Figures:
    total: dict[str, int] = defaultdict(int)
    for counts in failures.values():
        for reason, count in counts.items():
            total[reason] += count
    return Figures(
        at=now,
        audience=audience_of(seen.visit for session in sessions for seen in visits.get(session.id, ())),
        join_failures=total,
        sessions=[
            SessionFigures(
                session=session,
                viewers_now=len({seen.visit.who for seen in visits.get(session.id, ()) if seen.is_in}),
                audience=audience_of(seen.visit for seen in visits.get(session.id, ())),
                join_failures=failures.get(session.id, {}),
                quality=quality.get(session.id, {}),
            )
            for session in sessions
        ],
    )


async def _visits(
    transaction: AsyncSession, sessions: Sequence[StreamSession], now: datetime
) -> dict[str, list[_Seen]]:
    """Viewers' and guests' visits, by session. None lasts longer than until now, or the session's end."""
    rows = await transaction.execute(
        select(Visit.session_id, Visit.identity, Visit.joined_at, Visit.left_at)
        .join(
            Participant,
            (Participant.session_id == Visit.session_id) & (Participant.identity == Visit.identity),
        )
        .where(Visit.session_id.in_([session.id for session in sessions]), Participant.role.in_(SEATED))
    )
    closed = {session.id: session.closed_at for session in sessions}
    found: dict[str, list[_Seen]] = defaultdict(list)
    for session_id, identity, joined_at, left_at in rows:
        # LiveKit's clock, by which they come and leave, may be a little ahead of ours. Of a leaving that it
        # could not tell of, nothing may be known.
        end = min((moment for moment in (left_at, closed[session_id]) if moment), default=None)
        visit = audience.Visit(identity, joined_at, max(end or now, joined_at))
        found[session_id].append(_Seen(visit, end is None))
    return found


async def _failures(transaction: AsyncSession, stream_id: str) -> dict[str, dict[str, int]]:
    """Counts by reason, by session; under "" those of when there was none."""
    rows = await transaction.execute(
        select(JoinFailure.session_id, JoinFailure.reason, JoinFailure.count).where(
            JoinFailure.stream_id == stream_id
        )
    )
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for session_id, reason, count in rows:
        found[session_id][reason] = count
    return found


async def _quality(transaction: AsyncSession, stream_id: str) -> dict[str, dict[str, Quantiles]]:
    """Quantiles by metric, by session, over the samples that are still kept."""
    found: dict[str, dict[str, Quantiles]] = defaultdict(dict)
    for metric, column in METRICS.items():
        for session_id, quantiles in (await _quantiles(transaction, stream_id, column)).items():
            found[session_id][metric] = quantiles
    return found


def _rank(percent: int, count: Any) -> Any:
    """The nearest rank of a percentile, from 1; also over columns."""
    return (count * percent + 99) // 100


async def _quantiles(
    transaction: AsyncSession, stream_id: str, column: InstrumentedAttribute[int | None]
) -> dict[str, Quantiles]:
    # By rank, since SQLite has no percentile_disc; the sample's own order makes ties definite.
    ranked = (
        select(
            QosSample.session_id.label("session_id"),
            column.label("value"),
            func.row_number()
            .over(partition_by=QosSample.session_id, order_by=(column, QosSample.id))
            .label("rank"),
            func.count().over(partition_by=QosSample.session_id).label("samples"),
        )
        .where(QosSample.stream_id == stream_id, column.is_not(None), QosSample.session_id.is_not(None))
        .subquery()
    )
    rows = await transaction.execute(
        select(ranked.c.session_id, ranked.c.value, ranked.c.rank, ranked.c.samples).where(
            or_(*(ranked.c.rank == _rank(percent, ranked.c.samples) for percent in _PERCENTS))
        )
    )
    values: dict[str, dict[int, int]] = defaultdict(dict)
    counts: dict[str, int] = {}
    for session_id, value, rank, samples in rows:
        values[session_id][rank] = value
        counts[session_id] = samples
    return {
        session_id: Quantiles(count, *(values[session_id][_rank(percent, count)] for percent in _PERCENTS))
        for session_id, count in counts.items()
    }
