"""Bans in GetStream's chat, which knows nothing of ours: it has to be told of each.

A token of GetStream's is good for all of its channels, so who is banned from one stream can still connect.
What is to be told is written down with the change (`ChatBanDue`), and told at once, again and again until
GetStream has taken it. One process at a time tells of one user in one stream, and it tells what holds then.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, and_, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.chat import getstream
from token_api.chat.getstream_api import GetStreamApi, GetStreamAway, GetStreamRefused
from token_api.database.engine import insert, wake
from token_api.database.tables import Ban, ChatBanDue, Stream
from token_api.domain.access import BanWindow, bans_that_hold, in_force_clause
from token_api.domain.vocabulary import StreamStatus
from token_api.settings import Settings
from token_api.use_cases.services import Services
from token_api.use_cases.standing import find_stream, relation_of

# For so long one process has the only right to tell: more than GetStream's longest answers take.
_CLAIM = timedelta(seconds=90)
_AGAIN = timedelta(seconds=1)
# What it refuses it will refuse again, unless somebody changes the app's settings.
_REFUSED_AGAIN = timedelta(minutes=10)
# Rows of one INSERT: a statement takes some thousand values at most.
_AT_ONCE = 500

log = structlog.get_logger()


async def begin(services: Services) -> None:
    """All bans in force are to be told, also those of a time when GetStream was not used."""
    async with services.database.begin() as transaction:
        now = services.clock.now()
        concerned = or_(Ban.stream_id == Stream.id, and_(Ban.space_id == Stream.space_id, _is_used()))
        rows = await transaction.execute(
            select(Stream.id, Ban.user_id)
            .join(Ban, concerned)
            .where(in_force_clause(Ban.until, Ban.lifted_at, now))
        )
        await _write_down(transaction, [(stream_id, user_id) for stream_id, user_id in rows], now)


def _is_used() -> ColumnElement[bool]:
    return Stream.status != StreamStatus.ENDED


async def on_ban(transaction: AsyncSession, settings: Settings, ban: Ban, now: datetime) -> None:
    """A ban was made, changed or lifted: it is to be told for each stream that it concerns."""
    if settings.chat_provider != "getstream":
        return
    streams = [ban.stream_id]
    if ban.space_id is not None:
        # Also those that have ended since: a lifted ban is to be lifted there, too.
        told = or_(_is_used(), Stream.ended_at >= ban.created_at)
        of_space = select(Stream.id).where(Stream.space_id == ban.space_id, told)
        streams = list((await transaction.scalars(of_space)).all())
    await _write_down(transaction, [(stream_id or "", ban.user_id) for stream_id in streams], now)


async def on_stream(transaction: AsyncSession, settings: Settings, stream: Stream, now: datetime) -> None:
    """A stream was made: the bans of its space are to be told for its channel, too."""
    if settings.chat_provider != "getstream":
        return
    in_force = in_force_clause(Ban.until, Ban.lifted_at, now)
    users = await transaction.scalars(
        select(Ban.user_id).where(Ban.space_id == stream.space_id, in_force).distinct()
    )
    await _write_down(transaction, [(stream.id, user_id) for user_id in users.all()], now)


async def on_user(
    transaction: AsyncSession, settings: Settings, user_id: str, space_id: str, now: datetime
) -> None:
    """A user joined or left the team of a space, or is not the owner of a stream there any more, or is now.

    Owner and team are kept out by bans of the host application only: an older ban of theirs may hold now, or
    hold no longer.
    """
    if settings.chat_provider != "getstream":
        return
    bans = select(Ban.id).where(
        Ban.user_id == user_id,
        or_(Ban.stream_id == Stream.id, Ban.space_id == Stream.space_id),
        in_force_clause(Ban.until, Ban.lifted_at, now),
    )
    of_space = select(Stream.id).where(Stream.space_id == space_id, _is_used(), bans.exists())
    streams = (await transaction.scalars(of_space)).all()
    await _write_down(transaction, [(stream_id, user_id) for stream_id in streams], now)


async def _write_down(transaction: AsyncSession, due: list[tuple[str, str]], now: datetime) -> None:
    rows = [
        {"stream_id": stream_id, "user_id": user_id, "version": 1, "since": now, "due_at": now}
        for stream_id, user_id in sorted(set(due))
    ]
    changed = {"version": ChatBanDue.version + 1, "since": now, "due_at": now}
    for start in range(0, len(rows), _AT_ONCE):
        statement = insert(transaction, ChatBanDue).values(rows[start : start + _AT_ONCE])
        key = ["stream_id", "user_id"]
        await transaction.execute(statement.on_conflict_do_update(index_elements=key, set_=changed))
    if rows:
        wake(transaction, "chat_bans")


async def tell_due(services: Services, api: GetStreamApi) -> bool:
    """Tell GetStream all that is due. Any number of replicas may do so at once.

    Returns:
        Whether GetStream took all, or refused it. False: it is away, and the rest is tried again soon.
    """
    while (due := await _take(services)) is not None:
        try:
            await _tell(services, api, due.stream_id, due.user_id)
        except GetStreamAway as error:
            log.warning("getstream_away", error=str(error))
            await _settle(services, due, again=_AGAIN)
            return False
        except GetStreamRefused as error:
            log.error("getstream_refused", error=str(error), stream_id=due.stream_id, user_id=due.user_id)
            await _settle(services, due, again=_REFUSED_AGAIN)
        else:
            await _settle(services, due, again=None)
    return True


async def _take(services: Services) -> ChatBanDue | None:
    """One that is due and that nobody is telling, claimed; None where there is none."""
    async with services.database.begin() as transaction:
        now = services.clock.now()
        found: ChatBanDue | None = await transaction.scalar(
            select(ChatBanDue)
            .where(ChatBanDue.due_at <= now)
            .where(or_(ChatBanDue.claimed_until.is_(None), ChatBanDue.claimed_until <= now))
            .order_by(ChatBanDue.due_at)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if found is not None:
            found.claimed_until = now + _CLAIM
        return found


async def _tell(services: Services, api: GetStreamApi, stream_id: str, user_id: str) -> None:
    if not getstream.takes(user_id):
        # GetStream cannot have such a user, so nobody has a token for one.
        return
    now = services.clock.now()
    async with services.database.read() as transaction:
        stream, session = await find_stream(transaction, stream_id)
        relation = await relation_of(transaction, stream, session, user_id)
    bans = bans_that_hold(relation, now)
    if bans:
        await api.ban(user_id, stream_id, _minutes(bans, now))
    else:
        await api.lift(user_id, stream_id)
    log.info("getstream_told", stream_id=stream_id, user_id=user_id, banned=bool(bans))


def _minutes(bans: list[BanWindow], now: datetime) -> int | None:
    """Until the last of them ends, in whole minutes; None: one of them never does."""
    ends = [ban.until for ban in bans]
    last = [end for end in ends if end is not None]
    return math.ceil((max(last) - now).total_seconds() / 60) if len(last) == len(ends) else None


async def _settle(services: Services, due: ChatBanDue, *, again: timedelta | None) -> None:
    """Told, or due again. One that has changed meanwhile is due as the change says."""
    row = and_(ChatBanDue.stream_id == due.stream_id, ChatBanDue.user_id == due.user_id)
    unchanged = ChatBanDue.version == due.version
    async with services.database.begin() as transaction:
        if again is None:
            await transaction.execute(delete(ChatBanDue).where(row, unchanged))
        else:
            later = services.clock.now() + again
            await transaction.execute(update(ChatBanDue).where(row, unchanged).values(due_at=later))
        await transaction.execute(update(ChatBanDue).where(row).values(claimed_until=None))
