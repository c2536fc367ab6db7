"""Sends chat packets to the rooms. A packet is written in the transaction of the change, and sent afterwards.

Each room is sent its packets in their order, by one process at a time: a process claims the first packet of a
room, and with it the room. Rooms do not wait for each other.

A participant may get a packet twice. Each packet has a revision, by which clients sort packets and drop those
that they know. A packet that could not be sent in time is dropped: a client that misses a revision asks for
the changes `after` the last one that it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Select, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.engine import wake
from token_api.database.tables import ChatRelay, StreamSession
from token_api.domain.vocabulary import SessionState
from token_api.livekit_api.gateway import NotInLiveKit
from token_api.page_safe import to_json
from token_api.problems import ProblemError
from token_api.use_cases.services import Services
from token_api.work_off import Job, work_off

TOPIC = "chat"
# Of one replica. A room that waits for LiveKit uses neither a connection to the database nor the processor.
ROOMS_AT_ONCE = 32
# Of these, rooms whose last packet failed. They may wait long for LiveKit, and must not take all places.
FAILED_AT_ONCE = 8
# A room's turn: so many packets, and no packet is begun after so many seconds. Then other rooms have a turn.
BATCH = 50
TURN_SECONDS = 5
# Longer than a turn and the last packet in it: the gateway calls LiveKit up to four times for a packet.
CLAIM_SECONDS = 30
# The pause of a room whose packet LiveKit did not take.
RETRY_SECONDS = 2
# Clients have asked by themselves after so long.
GIVE_UP_SECONDS = 300

# Made once: it is asked in every round.
_ANY = select(ChatRelay.position).limit(1)
# The first packet of each room.
_FIRST = select(func.min(ChatRelay.position)).group_by(ChatRelay.session_id)

log = structlog.get_logger()


@dataclass(frozen=True)
class _Packet:
    position: int
    payload: str


@dataclass(frozen=True)
class _Turn:
    """The packets of a room that this process has claimed `until` then."""

    session_id: str
    room: str
    packets: Sequence[_Packet]
    until: datetime


@dataclass(frozen=True)
class _Outcome:
    """How many packets of a turn need nothing more, and whether LiveKit did not take the next one."""

    done: int
    failed: bool = False


def tell(transaction: AsyncSession, session_id: str, payload: Mapping[str, Any], now: datetime) -> None:
    """Have `payload` sent to the room of a session, once the transaction is committed."""
    transaction.add(ChatRelay(session_id=session_id, payload=to_json(payload), created_at=now))
    wake(transaction, "chat")


async def relay_due(services: Services, is_stopping: Callable[[], bool] = lambda: False) -> bool:
    """Send all packets that are due, also those that are written meanwhile. Any replica may do so.

    Args:
        is_stopping: once it is true, no room gets another turn.

    Returns:
        Whether packets are left: LiveKit did not take them, or another replica sends them.
    """
    if not await _has_some(services):
        return False
    relay = _Relay(services, is_stopping)
    await work_off(relay.take, services.wakeups.chat, at_once=ROOMS_AT_ONCE)
    return await _has_some(services)


async def _has_some(services: Services) -> bool:
    async with services.database.read() as transaction:
        return await transaction.scalar(_ANY) is not None


class _Relay:
    """Gives turns to rooms, by the ids of their sessions: one after another, and from the start again."""

    def __init__(self, services: Services, is_stopping: Callable[[], bool]) -> None:
        self._services = services
        self._is_stopping = is_stopping
        # Rooms that have their turn now, and whether their last packet failed.
        self._having: dict[str, bool] = {}
        self._last = ""

    async def take(self, places: int) -> list[Job]:
        """Turns of rooms that have none now."""
        if self._is_stopping():
            return []
        failed_places = min(places, FAILED_AT_ONCE - sum(self._having.values()))
        now = self._services.clock.now()
        async with self._services.database.read() as transaction:
            failed = list(await transaction.scalars(self._failed(now, failed_places)))
            others = list(await transaction.scalars(self._others(places - len(failed))))
        self._last = others[-1] if others else self._last
        self._having |= dict.fromkeys(failed, True) | dict.fromkeys(others, False)
        return [partial(self._have_turn, session_id) for session_id in (*failed, *others)]

    def _failed(self, now: datetime, limit: int) -> Select[str]:
        """Rooms whose first packet failed, or whose process died, from the one that waits longest."""
        wanted = self._rooms().where(ChatRelay.claimed_until <= now)
        return wanted.order_by(ChatRelay.claimed_until).limit(limit)

    def _others(self, limit: int) -> Select[str]:
        """Rooms that come after the last one that had a turn, then those before it."""
        wanted = self._rooms().where(ChatRelay.claimed_until.is_(None))
        return wanted.order_by((ChatRelay.session_id > self._last).desc(), ChatRelay.session_id).limit(limit)

    def _rooms(self) -> Select[str]:
        return select(ChatRelay.session_id).where(
            ChatRelay.position.in_(_FIRST), ChatRelay.session_id.not_in(list(self._having))
        )

    async def _have_turn(self, session_id: str) -> None:
        try:
            turn = await _claim(self._services, session_id)
            if turn is not None:
                await _settle(self._services, turn, await _send(self._services, turn))
        except Exception:
            # The database, for example. If the room is claimed, the claim ends by itself.
            log.exception("chat_relay_failed", session_id=session_id)
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            del self._having[session_id]


async def _claim(services: Services, session_id: str) -> _Turn | None:
    """A turn of a room; None if another process has the room, or nothing is to be sent to it."""
    now = services.clock.now()
    async with services.database.begin() as transaction:
        if await transaction.scalar(_lock_first(session_id, now)) is None:
            return None
        session = await transaction.get_one(StreamSession, session_id)
        await _drop_undeliverable(services, transaction, session, now)
        packets = (await transaction.scalars(_of(session_id).limit(BATCH))).all()
        if not packets:
            return None
        until = now + timedelta(seconds=CLAIM_SECONDS)
        packets[0].claimed_until = until
    found = [_Packet(packet.position, packet.payload) for packet in packets]
    return _Turn(session_id, session.room_name, found, until)


def _lock_first(session_id: str, now: datetime) -> Select[int]:
    """The room's first packet, unless it is claimed: the process that locks it has all of them."""
    first = select(func.min(ChatRelay.position)).where(ChatRelay.session_id == session_id).scalar_subquery()
    is_free = or_(ChatRelay.claimed_until.is_(None), ChatRelay.claimed_until <= now)
    wanted = select(ChatRelay.position).where(ChatRelay.position == first, is_free)
    return wanted.with_for_update(skip_locked=True)


def _of(session_id: str) -> Select[ChatRelay]:
    return select(ChatRelay).where(ChatRelay.session_id == session_id).order_by(ChatRelay.position)


async def _drop_undeliverable(
    services: Services, transaction: AsyncSession, session: StreamSession, now: datetime
) -> None:
    """Drop packets that are too old, and all of a session that is not open: its room has no participants.

    A packet to a room that LiveKit has deleted costs seconds, and must never bring the room back.
    """
    if session.state is not SessionState.OPEN:
        lost = await _drop(transaction, ChatRelay.session_id == session.id)
        services.metrics.chat_relays.labels("no_room").inc(lost)
        return
    too_old = ChatRelay.created_at < now - timedelta(seconds=GIVE_UP_SECONDS)
    if lost := await _drop(transaction, ChatRelay.session_id == session.id, too_old):
        services.metrics.chat_relays.labels("given_up").inc(lost)
        log.warning("chat_relays_given_up", room=session.room_name, count=lost)


async def _drop(transaction: AsyncSession, *which: ColumnElement[bool]) -> int:
    dropped = await transaction.scalars(delete(ChatRelay).where(*which).returning(ChatRelay.position))
    return len(dropped.all())


async def _send(services: Services, turn: _Turn) -> _Outcome:
    """Send the packets of a turn in their order."""
    counted = services.metrics.chat_relays
    ends = services.clock.now() + timedelta(seconds=TURN_SECONDS)
    for done, packet in enumerate(turn.packets):
        if services.clock.now() > ends:
            return _Outcome(done)
        try:
            await services.livekit.send_data(turn.room, packet.payload.encode(), topic=TOPIC)
        except NotInLiveKit:
            # No participant was there to receive these. LiveKit takes seconds for each answer of this kind.
            counted.labels("no_room").inc(len(turn.packets) - done)
            break
        except ProblemError:
            # Later packets must not overtake this one.
            counted.labels("failed").inc()
            return _Outcome(done, failed=True)
        counted.labels("sent").inc()
    return _Outcome(len(turn.packets))


async def _settle(services: Services, turn: _Turn, outcome: _Outcome) -> None:
    """Delete the packets that need nothing more, and give the room back."""
    done, left = turn.packets[: outcome.done], turn.packets[outcome.done :]
    async with services.database.begin() as transaction:
        await _drop(transaction, ChatRelay.position.in_([packet.position for packet in done]))
        if left:
            pause = timedelta(seconds=RETRY_SECONDS)
            # Not if this took too long and another process has the room by now.
            is_ours = or_(ChatRelay.claimed_until.is_(None), ChatRelay.claimed_until == turn.until)
            await transaction.execute(
                update(ChatRelay)
                .where(ChatRelay.position == left[0].position, is_ours)
                .values(claimed_until=services.clock.now() + pause if outcome.failed else None)
            )
