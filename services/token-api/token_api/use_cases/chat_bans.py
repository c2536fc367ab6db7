"""Bans in GetStream's chat, which knows nothing of ours: it has to be told of each.

A token of GetStream's is good for all of its channels, so who is banned from one stream can still connect.
What is to be told is written down with the change (`ChatBanDue`), and told at once, again and again until
GetStream has taken it. One process at a time tells of one user in one stream, and it tells what holds then.

A ban of a space concerns many streams. GetStream gets it for a draft when the draft goes live. Streams on air
come first, and spaces take turns: many bans in one space do not delay a ban in another.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.chat import getstream
from token_api.chat.getstream_api import GetStreamApi, GetStreamAway, GetStreamRefused
from token_api.database.engine import insert, wake
from token_api.database.tables import Ban, ChatBanDue, Stream, StreamSession
from token_api.domain.access import BanWindow, bans_that_hold, in_force_clause
from token_api.domain.lifecycle import ON_AIR
from token_api.domain.vocabulary import SessionState, StreamStatus
from token_api.failures import Failures
from token_api.settings import Settings
from token_api.use_cases.services import Services
from token_api.use_cases.standing import find_stream, relation_of
from token_api.work_off import Job, work_off

# Requests to GetStream at the same time, of one replica.
AT_ONCE = 4
# Version of rows that no change wrote. They are sent last.
_BACKLOG = 0
# For so long one process has the only right to tell: more than GetStream's longest answers take.
_CLAIM = timedelta(seconds=90)
_AGAIN = timedelta(seconds=1)
# What it refuses it will refuse again, unless somebody changes the app's settings.
_REFUSED_AGAIN = timedelta(minutes=10)
# A new leader looks at sessions that opened in this time. No replica leads for less time after a leader died.
_RECENT = timedelta(minutes=5)
# Rows of one INSERT: a statement takes some thousand values at most.
_INSERTED_AT_ONCE = 500
# The order of what is due is read for so many rows at once, and is good for so many seconds.
_ORDERED_AT_ONCE = 64
_ORDERED_SECONDS = 0.5

log = structlog.get_logger()


@dataclass
class Turns:
    """The space whose ban was sent last. The next turn is another space's."""

    last: str = ""


@dataclass(frozen=True)
class _Due:
    """A ban that is to be sent. `version`: as it was claimed."""

    stream_id: str
    user_id: str
    space_id: str
    version: int

    @property
    def row(self) -> ColumnElement[bool]:
        return and_(ChatBanDue.stream_id == self.stream_id, ChatBanDue.user_id == self.user_id)


async def begin(services: Services) -> None:
    """Schedule all bans in force, including those of a time when GetStream was not used.

    Later changes are sent before these.
    """
    now = services.clock.now()
    concerned = or_(Ban.stream_id == Stream.id, and_(Ban.space_id == Stream.space_id, _was_on_air()))
    wanted = select(Stream.id, Ban.user_id).join(Ban, concerned)
    async with services.database.read() as transaction:
        found = await transaction.execute(wanted.where(in_force_clause(Ban.until, Ban.lifted_at, now)))
        due = sorted({(stream_id, user_id) for stream_id, user_id in found})
    for start in range(0, len(due), _INSERTED_AT_ONCE):
        # Others may write in between.
        async with services.database.begin() as transaction:
            rows = _rows(due[start : start + _INSERTED_AT_ONCE], _BACKLOG, now)
            await transaction.execute(insert(transaction, ChatBanDue).values(rows).on_conflict_do_nothing())
            wake(transaction, "chat_bans")


def _is_used() -> ColumnElement[bool]:
    return Stream.status != StreamStatus.ENDED


def _was_on_air() -> ColumnElement[bool]:
    """Whether a stream is on air, may be in a moment, or was and may be again."""
    has_session = exists().where(StreamSession.stream_id == Stream.id, StreamSession.closed_at.is_(None))
    return or_(Stream.status.not_in((StreamStatus.DRAFT, StreamStatus.ENDED)), has_session)


async def on_ban(transaction: AsyncSession, settings: Settings, ban: Ban, now: datetime) -> None:
    """A ban was made, changed or lifted: it is to be told for each stream that it concerns."""
    if settings.chat_provider != "getstream":
        return
    streams = [ban.stream_id]
    if ban.space_id is not None:
        # Also those that have ended since: a lifted ban is to be lifted there, too.
        told = or_(_was_on_air(), Stream.ended_at >= ban.created_at)
        of_space = select(Stream.id).where(Stream.space_id == ban.space_id, told)
        streams = list((await transaction.scalars(of_space)).all())
    await _write_down(transaction, [(stream_id or "", ban.user_id) for stream_id in streams], now)


async def on_stream(transaction: AsyncSession, settings: Settings, stream: Stream, now: datetime) -> None:
    """A stream was created, or went live. Unless it is a draft, schedule the bans of its space for it."""
    if settings.chat_provider != "getstream" or stream.status is StreamStatus.DRAFT:
        return
    # Earlier releases sent bans for drafts, too. GetStream must learn which of them were lifted since.
    concern = or_(in_force_clause(Ban.until, Ban.lifted_at, now), Ban.lifted_at >= stream.created_at)
    users = await transaction.scalars(
        select(Ban.user_id).where(Ban.space_id == stream.space_id, concern).distinct()
    )
    await _write_down(transaction, [(stream.id, user_id) for user_id in users.all()], now)


async def on_air(services: Services, known: frozenset[str] | None) -> frozenset[str]:
    """Schedule the bans of spaces for streams that went live. The leading replica calls this repeatedly.

    Args:
        known: the sessions that were handled: the result of the last call. None: this replica has not called
            it yet, so another one may have handled all sessions that did not open recently.

    Returns:
        The open sessions that were handled. Failures are logged, and are retried by the next call.
    """
    settings, now = services.settings, services.clock.now()
    if settings.chat_provider != "getstream":
        return frozenset()
    columns = (StreamSession.id, StreamSession.stream_id, StreamSession.opened_at)
    async with services.database.read() as transaction:
        sessions = (
            await transaction.execute(select(*columns).where(StreamSession.state == SessionState.OPEN))
        ).all()
    seen: set[str] = set()
    failures = Failures()
    for session_id, stream_id, opened_at in sessions:
        is_new = session_id not in known if known is not None else (opened_at or now) > now - _RECENT
        with failures.apart("bans_not_due", stream_id=stream_id):
            if is_new:
                async with services.database.begin() as transaction:
                    stream, _ = await find_stream(transaction, stream_id)
                    await on_stream(transaction, settings, stream, now)
            seen.add(session_id)
    return frozenset(seen)


async def on_user(
    transaction: AsyncSession, settings: Settings, user_id: str, space_id: str, now: datetime
) -> None:
    """A user joined or left the team of a space, or is not the owner of a stream there any more, or is now.

    Owner and team are kept out by bans of the host application only: an older ban of theirs may hold now, or
    hold no longer.
    """
    if settings.chat_provider != "getstream":
        return
    told = or_(Ban.stream_id == Stream.id, and_(Ban.space_id == Stream.space_id, _was_on_air()))
    bans = select(Ban.id).where(Ban.user_id == user_id, told, in_force_clause(Ban.until, Ban.lifted_at, now))
    of_space = select(Stream.id).where(Stream.space_id == space_id, _is_used(), bans.exists())
    streams = (await transaction.scalars(of_space)).all()
    await _write_down(transaction, [(stream_id, user_id) for stream_id in streams], now)


async def _write_down(transaction: AsyncSession, due: list[tuple[str, str]], now: datetime) -> None:
    rows = _rows(sorted(set(due)), _BACKLOG + 1, now)
    changed = {"version": ChatBanDue.version + 1, "since": now, "due_at": now}
    for start in range(0, len(rows), _INSERTED_AT_ONCE):
        statement = insert(transaction, ChatBanDue).values(rows[start : start + _INSERTED_AT_ONCE])
        key = ["stream_id", "user_id"]
        await transaction.execute(statement.on_conflict_do_update(index_elements=key, set_=changed))
    if rows:
        wake(transaction, "chat_bans")


def _rows(due: Sequence[tuple[str, str]], version: int, now: datetime) -> list[dict[str, object]]:
    return [
        {"stream_id": stream_id, "user_id": user_id, "version": version, "since": now, "due_at": now}
        for stream_id, user_id in due
    ]


async def tell_due(
    services: Services,
    api: GetStreamApi,
    turns: Turns | None = None,
    is_stopping: Callable[[], bool] = lambda: False,
) -> bool:
    """Send GetStream all bans that are due, also those that are written meanwhile. Any replica may do so.

    Args:
        turns: of the spaces, kept from call to call.
        is_stopping: once it is true, nothing more is sent.

    Returns:
        Whether GetStream took or refused all of them. False: it is away, and the rest is sent later.
    """
    teller = _Teller(services, api, turns or Turns(), is_stopping)
    await work_off(teller.take, services.wakeups.chat_bans, at_once=AT_ONCE)
    return not teller.is_away


class _Teller:
    """Sends what is due until nothing is left, or GetStream is away."""

    def __init__(
        self, services: Services, api: GetStreamApi, turns: Turns, is_stopping: Callable[[], bool]
    ) -> None:
        self._services = services
        self._api = api
        self._turns = turns
        self._is_stopping = is_stopping
        self._next: deque[_Due] = deque()
        self._ordered_at = -math.inf
        self.is_away = False

    async def take(self, places: int) -> list[Job]:
        """Claim the bans that are sent next."""
        jobs: list[Job] = []
        while len(jobs) < places and not self.is_away and not self._is_stopping():
            due = await self._first()
            if due is None:
                break
            self._turns.last = due.space_id
            claimed = await _claim(self._services, due)
            if claimed is not None:
                jobs.append(partial(self._do, claimed))
        return jobs

    async def _first(self) -> _Due | None:
        if not self._next or time.monotonic() > self._ordered_at + _ORDERED_SECONDS:
            self._next = deque(await _in_order(self._services, self._turns.last))
            self._ordered_at = time.monotonic()
        return self._next.popleft() if self._next else None

    async def _do(self, due: _Due) -> None:
        try:
            await _settle(self._services, due, again=await self._try(due))
        except Exception:
            # The database, for example. The claim ends by itself, and another try follows.
            log.exception("ban_not_told", stream_id=due.stream_id, user_id=due.user_id)

    async def _try(self, due: _Due) -> timedelta | None:
        """Send a ban. Returns the time until the next attempt; None if GetStream took it."""
        try:
            await _tell(self._services, self._api, due.stream_id, due.user_id)
        except GetStreamAway as error:
            log.warning("getstream_away", error=str(error))
            self.is_away = True
            return _AGAIN
        except GetStreamRefused as error:
            log.error("getstream_refused", error=str(error), stream_id=due.stream_id, user_id=due.user_id)
            return _REFUSED_AGAIN
        return None


def _is_free(now: datetime) -> ColumnElement[bool]:
    is_unclaimed = or_(ChatBanDue.claimed_until.is_(None), ChatBanDue.claimed_until <= now)
    return and_(ChatBanDue.due_at <= now, is_unclaimed)


async def _in_order(services: Services, last: str) -> list[_Due]:
    """The bans that are due, in the order in which they are sent; not all, if there are many.

    Changes come before the backlog, and streams on air before others. Among these each space has one turn
    after another, beginning after the space `last`.
    """
    is_late, is_off_air = ChatBanDue.version == _BACKLOG, Stream.status.not_in(ON_AIR)
    turn = func.row_number().over(
        partition_by=[is_late, is_off_air, Stream.space_id], order_by=ChatBanDue.due_at
    )
    due = (
        select(
            *(ChatBanDue.stream_id, ChatBanDue.user_id, Stream.space_id, ChatBanDue.version),
            *(is_late.label("is_late"), is_off_air.label("is_off_air"), turn.label("turn")),
        )
        .join(Stream, Stream.id == ChatBanDue.stream_id)
        .where(_is_free(services.clock.now()))
        .subquery()
    )
    wanted = (
        select(due.c.stream_id, due.c.user_id, due.c.space_id, due.c.version)
        .order_by(due.c.is_late, due.c.is_off_air, due.c.turn, due.c.space_id <= last, due.c.space_id)
        .limit(_ORDERED_AT_ONCE)
    )
    async with services.database.read() as transaction:
        return [_Due(*row) for row in await transaction.execute(wanted)]


async def _claim(services: Services, due: _Due) -> _Due | None:
    """Claim a ban; None if another process has claimed it, or sent it already."""
    now = services.clock.now()
    async with services.database.begin() as transaction:
        version = await transaction.scalar(
            update(ChatBanDue)
            .where(due.row, _is_free(now))
            .values(claimed_until=now + _CLAIM)
            .returning(ChatBanDue.version)
        )
    return _Due(due.stream_id, due.user_id, due.space_id, version) if version is not None else None


async def _tell(services: Services, api: GetStreamApi, stream_id: str, user_id: str) -> None:
    if not getstream.takes(user_id):
        # GetStream cannot have such a user, so nobody has a token for one.
        return
    now = services.clock.now()
    async with services.database.read() as transaction:
        stream, session = await find_stream(transaction, stream_id)
        relation = await relation_of(transaction, stream, session, user_id, now)
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


async def _settle(services: Services, due: _Due, *, again: timedelta | None) -> None:
    """Told, or due again. One that has changed meanwhile is due as the change says."""
    unchanged = ChatBanDue.version == due.version
    async with services.database.begin() as transaction:
        if again is None:
            await transaction.execute(delete(ChatBanDue).where(due.row, unchanged))
        else:
            later = services.clock.now() + again
            await transaction.execute(update(ChatBanDue).where(due.row, unchanged).values(due_at=later))
        await transaction.execute(update(ChatBanDue).where(due.row).values(claimed_until=None))
