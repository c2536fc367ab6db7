"""Seats: who may be in a session at once. A token takes one, also before its holder has come in.

If a stream has a capacity, one transaction at a time counts the seats and takes one: each locks the session's
row. A request that waits for that row holds a connection to the database. `in_turn` lets one request of each
process do so, and the others wait without a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, and_, func, null, select, union
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from token_api.database.engine import POOL_SECONDS
from token_api.database.tables import Participant, Stream, StreamSession
from token_api.domain.roles import SEATED, StreamRole
from token_api.keyed_locks import KeyedLocks
from token_api.problems import Kind, ProblemError
from token_api.use_cases.services import Services

T = TypeVar("T")


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


def _holding(now: datetime) -> tuple[tuple[ColumnElement[bool], InstrumentedAttribute[Any]], ...]:
    """A participant who meets any of these takes a seat: they are in the room, or have a token for it.

    An index answers each. For an OR of both, the database would read all participants of the session, past
    ones too. It may do so for one condition as well, unless the result is in the order of its index.
    """
    has_token = and_(Participant.reserved_until > now, Participant.removed_at.is_(None))
    return (is_present(), Participant.joined_at), (has_token, Participant.reserved_until)


class NotTheirTurn(Exception):
    """The stream's seats are limited, so its tokens are issued one at a time: see `in_turn`."""


async def in_turn(services: Services, stream_id: str, ask: Callable[[bool], Awaitable[T]]) -> T:
    """The result of `ask`, which takes a seat of the stream. Its argument is `is_turn` of `take`.

    It is called at once. If the seats are limited, it is called again in its turn.

    Raises:
        sqlalchemy.exc.TimeoutError: its turn did not come in time.
    """
    with suppress(NotTheirTurn):
        return await ask(False)
    async with _turn(services.locks, stream_id):
        return await ask(True)


@asynccontextmanager
async def _turn(locks: KeyedLocks, stream_id: str) -> AsyncIterator[None]:
    async with AsyncExitStack() as held:
        try:
            async with asyncio.timeout(POOL_SECONDS):
                await held.enter_async_context(locks.hold(f"seats {stream_id}"))
        except TimeoutError as error:
            raise PoolTimeout(f"others took seats of the stream for {POOL_SECONDS} s") from error
        yield


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
    is_turn: bool = True,
) -> None:
    """Note that `identity` gets a token that can be used until `until`.

    Args:
        is_turn: False: only where no other transaction has to be waited for.

    Raises:
        NotTheirTurn: the seats are limited, and `is_turn` is False. Nothing has changed.
        ProblemError: ROOM_FULL, where the stream's other seats are all taken.
    """
    if stream.capacity is not None and role in SEATED:
        if not is_turn:
            raise NotTheirTurn
        # One at a time: the last seat is counted and taken by one before the next counts.
        await transaction.execute(
            select(StreamSession.id).where(StreamSession.id == session.id).with_for_update()
        )
        if await _others_fill(transaction, session.id, identity, stream.capacity, now):
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
    return await _others_fill(transaction, row.session_id, row.identity, stream.capacity, now)


async def _others_fill(
    transaction: AsyncSession, session_id: str, identity: str, capacity: int, now: datetime
) -> bool:
    """Whether others take all seats. It reads no more than `capacity` rows for each of `_holding`."""
    others = (
        select(Participant.identity)
        .where(Participant.session_id == session_id, Participant.identity != identity)
        .where(Participant.role.in_(SEATED))
        .limit(capacity)
    )
    parts = [others.where(holds).order_by(column).subquery() for holds, column in _holding(now)]
    taken = union(*(select(part.c.identity) for part in parts)).subquery()
    found = await transaction.scalar(select(func.count()).select_from(taken))
    return (found or 0) >= capacity
