"""What clients tell of the quality that they see: counted by size, so that no list of samples grows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from token_api.callers import Caller
from token_api.database.engine import add_up, insert
from token_api.database.tables import QualityCount, TelemetrySender
from token_api.domain.histogram import bucket_of
from token_api.problems import Kind, ProblemError
from token_api.use_cases import join_failures
from token_api.use_cases.standing import require_admitted, standing_of

MIN_INTERVAL_SECONDS = 5


@dataclass(frozen=True)
class Sample:
    """What a client measured since its last sample; None is what it does not know."""

    rtt_ms: int | None
    loss_permille: int | None
    freezes: int | None
    freeze_ms: int | None
    bitrate_kbps: int | None
    frames_per_second: int | None
    frame_height: int | None


async def take(
    transaction: AsyncSession,
    caller: Caller,
    stream_id: str,
    *,
    samples: Sequence[Sample],
    failures: Sequence[str],
    now: datetime,
) -> None:
    """Count what a client told. Samples of a stream that is not live are left out: there is nothing to see.

    Raises:
        ProblemError: NOT_FOUND, or why the user does not get in; RATE_LIMITED.
    """
    standing = await standing_of(transaction, caller, stream_id, now)
    require_admitted(standing)
    user_id = standing.user_id or ""
    await _require_seldom(transaction, stream_id, user_id, now)
    session_id = standing.session.id if standing.session is not None else None
    if session_id is not None:
        await count(transaction, session_id, samples)
    await join_failures.add(transaction, stream_id, session_id, failures, now)


async def count(transaction: AsyncSession, session_id: str, samples: Sequence[Sample]) -> None:
    """Count samples of a session, by metric and size."""
    counts = Counter(
        (metric, bucket_of(value))
        for sample in samples
        for metric, value in asdict(sample).items()
        if value is not None
    )
    rows = [
        {"session_id": session_id, "metric": metric, "bucket": bucket, "samples": count}
        for (metric, bucket), count in sorted(counts.items())
    ]
    await add_up(transaction, QualityCount, rows, "samples")


async def _require_seldom(transaction: AsyncSession, stream_id: str, user_id: str, now: datetime) -> None:
    """Raises ProblemError (RATE_LIMITED). One statement: of two at once, on any replica, one is taken."""
    taken = await transaction.scalar(
        insert(transaction, TelemetrySender)
        .values(stream_id=stream_id, user_id=user_id, last_at=now)
        .on_conflict_do_update(
            index_elements=["stream_id", "user_id"],
            set_={"last_at": now},
            where=TelemetrySender.last_at <= now - timedelta(seconds=MIN_INTERVAL_SECONDS),
        )
        .returning(TelemetrySender.user_id)
    )
    if taken is None:
        raise ProblemError(
            Kind.RATE_LIMITED,
            f"One request in {MIN_INTERVAL_SECONDS} seconds, with all that was measured.",
            {"Retry-After": str(MIN_INTERVAL_SECONDS)},
        )
