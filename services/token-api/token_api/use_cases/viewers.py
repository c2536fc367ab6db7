"""The viewers of a session, counted when one comes or goes, so that nobody reads all visits to count them.

LiveKit's events come late, twice and in any order. So each change of a visit is turned into changes of the
counts, by the visits of the same person before and after it. Any order of the events gives the same counts.
"""

from __future__ import annotations

from collections import Counter

from sqlalchemy import and_, case, exists, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.engine import add_up
from token_api.database.tables import AudienceStep, StreamSession, Visit
from token_api.domain.audience import MILLISECOND, Stay, change, place_of


async def count(transaction: AsyncSession, session: StreamSession, visit: Visit, before: Stay | None) -> None:
    """Count what a visit changes.

    Args:
        visit: as it is now.
        before: what it was; None if it is new.
    """
    previous, following = await _neighbours(transaction, visit)
    after = Stay(visit.joined_at, visit.left_at, visit.counts)
    around = [stay for stay in (previous, before, following) if stay is not None]
    steps = change(around, [stay for stay in (previous, after, following) if stay is not None])
    is_first = before is None and visit.counts and not any(stay.counts for stay in around)
    is_new = is_first and not await _was_in_another_session(transaction, session, visit.identity)
    if not steps and not is_first:
        return
    now = StreamSession.viewers_now + sum(steps.values())
    moments = sum(by * ((at - session.requested_at) // MILLISECOND) for at, by in steps.items())
    await transaction.execute(
        update(StreamSession)
        .where(StreamSession.id == session.id)
        .values(
            viewers_now=now,
            viewers_peak=case((now > StreamSession.viewers_peak, now), else_=StreamSession.viewers_peak),
            viewers_unique=StreamSession.viewers_unique + int(is_first),
            viewers_new=StreamSession.viewers_new + int(is_new),
            viewer_moments=StreamSession.viewer_moments + moments,
        )
        .execution_options(synchronize_session=False)
    )
    by_place: Counter[int] = Counter()
    for at, by in steps.items():
        by_place[place_of(at - session.requested_at)] += by
    rows = [
        {"session_id": session.id, "place": place, "change": by} for place, by in sorted(by_place.items())
    ]
    await add_up(transaction, AudienceStep, rows, "change")


async def _neighbours(transaction: AsyncSession, visit: Visit) -> tuple[Stay | None, Stay | None]:
    """The visits of the same person before and after this one."""
    columns = (Visit.joined_at, Visit.left_at, Visit.counts)
    own = select(*columns).where(Visit.session_id == visit.session_id, Visit.identity == visit.identity)
    at_once = Visit.joined_at == visit.joined_at
    earlier = or_(Visit.joined_at < visit.joined_at, and_(at_once, Visit.livekit_sid < visit.livekit_sid))
    later = or_(Visit.joined_at > visit.joined_at, and_(at_once, Visit.livekit_sid > visit.livekit_sid))
    found = []
    for wanted in (
        own.where(earlier).order_by(Visit.joined_at.desc(), Visit.livekit_sid.desc()),
        own.where(later).order_by(Visit.joined_at, Visit.livekit_sid),
    ):
        row = (await transaction.execute(wanted.limit(1))).first()
        found.append(Stay(row.joined_at, row.left_at, row.counts) if row is not None else None)
    previous, following = found
    return previous, following


async def _was_in_another_session(transaction: AsyncSession, session: StreamSession, identity: str) -> bool:
    others = select(StreamSession.id).where(
        StreamSession.stream_id == session.stream_id, StreamSession.id != session.id
    )
    was_there = exists().where(Visit.session_id.in_(others), Visit.identity == identity, Visit.counts)
    return bool(await transaction.scalar(select(was_there)))
