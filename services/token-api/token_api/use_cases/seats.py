"""Seats: who may be in a session at once. A token takes one, also before its holder has come in."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.tables import Participant, Stream, StreamSession
from token_api.domain.roles import SEATED, StreamRole
from token_api.problems import Kind, ProblemError


def is_present() -> ColumnElement[bool]:
    """Whether a participant is in the room, as far as LiveKit's events told."""
    return and_(Participant.joined_at.is_not(None), Participant.left_at.is_(None))


def holds_seat(now: datetime) -> ColumnElement[bool]:
    """Whether a participant takes a seat: they are in, or have a token with which they can come in."""
    return and_(
        Participant.role.in_(SEATED),
        or_(is_present(), and_(Participant.reserved_until > now, Participant.removed_at.is_(None))),
    )


async def take(
    transaction: AsyncSession,
    stream: Stream,
    session: StreamSession,
    *,
    identity: str,
    user_id: str | None,
    name: str,
    role: StreamRole,
    until: datetime,
    now: datetime,
) -> None:
    """Note that `identity` gets a token that can be used until `until`.

    Raises:
        ProblemError: ROOM_FULL, where the stream's other seats are all taken.
    """
    if stream.capacity is not None and role in SEATED:
        # One at a time: the last seat is counted and taken by one before the next counts.
        await transaction.execute(
            select(StreamSession.id).where(StreamSession.id == session.id).with_for_update()
        )
        taken = await transaction.scalar(
            select(func.count())
            .select_from(Participant)
            .where(Participant.session_id == session.id, Participant.identity != identity, holds_seat(now))
        )
        if (taken or 0) >= stream.capacity:
            raise ProblemError(
                Kind.ROOM_FULL, f"All {stream.capacity} seats are taken.", {"Retry-After": "30"}
            )
    values = {"user_id": user_id, "name": name, "role": role, "reserved_until": until, "removed_at": None}
    insert = sqlite.insert if transaction.get_bind().dialect.name == "sqlite" else postgresql.insert
    await transaction.execute(
        insert(Participant)
        .values(session_id=session.id, identity=identity, first_issued_at=now, watched_seconds=0, **values)
        .on_conflict_do_update(index_elements=["session_id", "identity"], set_=values)
    )
