"""Looks, many times a minute, for what cannot wait for the reconciler's next round.

It makes rooms again that LiveKit removed: an SFU that stops tells nobody of it, and its clients try to join
again at once. It judges who is in a room where a right has just ended, or where somebody who was removed may
come back: events that tell who joins may get lost. An unused service has one query in each look.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import bindparam, exists, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.columns import UtcDateTime
from token_api.database.tables import AccessGrant, Participant, StreamSession
from token_api.failures import Failures
from token_api.use_cases import call_rooms, grant_expiry, healing
from token_api.use_cases.services import Services

# How long those who were put out are looked for: as long as LiveKit's refreshed tokens hold, and some more.
WATCHED = timedelta(minutes=15)
# Made once: whether there is a pass to tell of, and whether anybody can be in a room of either kind.
_NEWS = select(
    exists().where(grant_expiry.is_news(bindparam("now", type_=UtcDateTime))),
    exists().where(StreamSession.closed_at.is_(None)),
    exists().where(call_rooms.is_watched_at(bindparam("now", type_=UtcDateTime))),
)


async def look(services: Services, since: datetime) -> datetime:
    """Report passes that are over, recreate rooms that are gone, and judge who is in the watched rooms.

    A failure of one of these does not stop the others.

    Args:
        since: until when grants that ended were seen to: what this returned the last time.

    Raises:
        ProblemError: as the gateway; one, after everything else. Look again from the same time on.
    """
    now = services.clock.now()
    # The reconciler's rounds see to what has failed for longer.
    since = max(since, now - WATCHED)
    async with services.database.read() as transaction:
        has_expired, has_sessions, has_calls = (await transaction.execute(_NEWS, {"now": now})).one()
        rooms = await _rooms(transaction, since, now) if has_sessions else []
    failures = Failures()
    if has_expired:
        with failures.apart("expiry_not_told"):
            await grant_expiry.tell_expired(services)
    if has_sessions:
        with failures.apart("rooms_not_restored"):
            await healing.restore_rooms(services)
    if has_calls:
        with failures.apart("call_rooms_not_compared"):
            await call_rooms.reconcile(services)
    with failures.apart("rooms_not_swept"):
        await healing.sweep(services, rooms)
    failures.raise_one()
    return now


async def _rooms(transaction: AsyncSession, since: datetime, now: datetime) -> list[str]:
    """Rooms in which somebody's grant has ended after `since`, or which somebody was put out of who may still
    have a token that LiveKit takes."""
    has_ended = exists().where(
        AccessGrant.user_id == Participant.user_id,
        AccessGrant.expires_at > since,
        AccessGrant.expires_at <= now,
    )
    wanted = (
        select(StreamSession.room_name)
        .join(Participant, Participant.session_id == StreamSession.id)
        .where(
            StreamSession.closed_at.is_(None),
            or_(Participant.removed_at > now - WATCHED, has_ended),
        )
        .distinct()
    )
    return list((await transaction.scalars(wanted)).all())
