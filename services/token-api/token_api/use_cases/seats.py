"""Seats: who may be in a session at once. A token takes one, also before its holder has come in."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, func, null, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.tables import Participant, Stream, StreamSession
from token_api.domain.roles import SEATED, StreamRole
from token_api.problems import Kind, ProblemError


def _taking(insert: Callable[[Any], Any]) -> Any:
    statement = insert(Participant.__table__)
    again = {name: statement.excluded[name] for name in ("user_id", "name", "role", "reserved_until")}
    # What happened to their last token is no matter of the new one.
    again |= {"removed_at": null(), "permissions_reset_at": null()}
    return statement.on_conflict_do_update(index_elements=["session_id", "identity"], set_=again)


# By dialect, and made once: every token takes a seat, and making the statement takes longer than this.
_TAKE = {"sqlite": _taking(sqlite.insert), "postgresql": _taking(postgresql.insert)}


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
    user_id: str,
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
        taken = await _taken_by_others(transaction, session.id, identity, now)
        if taken >= stream.capacity:
            raise ProblemError(
                Kind.ROOM_FULL, f"All {stream.capacity} seats are taken.", {"Retry-After": "30"}
            )
    values: dict[str, Any] = {"user_id": user_id, "name": name, "role": role, "reserved_until": until}
    values |= {"session_id": session.id, "identity": identity, "first_issued_at": now, "watched_seconds": 0}
    await transaction.execute(_TAKE[transaction.get_bind().dialect.name], values)


async def is_lost(transaction: AsyncSession, stream: Stream, row: Participant, now: datetime) -> bool:
    """Whether somebody who left gave their seat up, and all are taken by others."""
    if stream.capacity is None or row.role not in SEATED or row.reserved_until > now:
        return False
    return await _taken_by_others(transaction, row.session_id, row.identity, now) >= stream.capacity


async def _taken_by_others(transaction: AsyncSession, session_id: str, identity: str, now: datetime) -> int:
    found = await transaction.scalar(
        select(func.count())
        .select_from(Participant)
        .where(Participant.session_id == session_id, Participant.identity != identity, holds_seat(now))
    )
    return found or 0
