"""How often nobody got in, and why: counted by stream, session and reason, so that it stays small."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.engine import insert
from token_api.database.tables import JoinFailure, StreamSession
from token_api.problems import Kind
from token_api.use_cases.services import Services

# A user whom nothing connects with the stream is told that there is none, and leaves no trace in it.
COUNTED = {
    kind: kind.type.rpartition(":")[2]
    for kind in (
        *(Kind.NO_GRANT, Kind.GRANT_NOT_STARTED, Kind.GRANT_EXPIRED, Kind.GRANT_CANCELLED, Kind.BANNED),
        *(Kind.ROOM_FULL, Kind.STREAM_NOT_LIVE),
    )
}

log = structlog.get_logger()


async def note_refusal(services: Services, stream_id: str, kind: Kind) -> None:
    """Count that somebody was refused a token. The refusal's own transaction is over: it changed nothing."""
    reason = COUNTED.get(kind)
    if reason is None:
        return
    services.metrics.join_failures.labels(reason).inc()
    try:
        async with services.database.begin() as transaction:
            session_id = await transaction.scalar(
                select(StreamSession.id).where(
                    StreamSession.stream_id == stream_id, StreamSession.closed_at.is_(None)
                )
            )
            await add(transaction, stream_id, session_id, [reason], services.clock.now())
    except SQLAlchemyError as error:
        # The caller is told why they do not get in, not that we could not count it.
        log.warning("join_failure_not_counted", stream_id=stream_id, error=type(error).__name__)


async def add(
    transaction: AsyncSession,
    stream_id: str,
    session_id: str | None,
    reasons: Iterable[str],
    now: datetime,
) -> None:
    """Count one failure for each of `reasons`."""
    # In one order for all: two that count the same reasons at once must not wait for each other.
    for reason in sorted(reasons):
        await transaction.execute(
            insert(transaction, JoinFailure)
            .values(stream_id=stream_id, session_id=session_id or "", reason=reason, count=1, last_at=now)
            .on_conflict_do_update(
                index_elements=["stream_id", "session_id", "reason"],
                set_={"count": JoinFailure.count + 1, "last_at": now},
            )
        )
