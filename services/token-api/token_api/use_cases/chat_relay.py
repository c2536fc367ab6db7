"""Telling a room of its chat: written down in the change's transaction, sent afterwards, and tried again.

Whoever is in the room may get a packet twice, or two replicas' packets in another order than they were
written: each carries its revision, by which clients sort, and drop what they know. What could not be sent
in time is not sent: a client that misses a revision asks for what is `after` the last one that it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.engine import wake
from token_api.database.tables import ChatRelay, StreamSession
from token_api.livekit_api.gateway import NotInLiveKit
from token_api.page_safe import to_json
from token_api.problems import ProblemError
from token_api.use_cases.services import Services

TOPIC = "chat"
# Longer than LiveKit is given to answer for all of a room's packets in a round.
CLAIM_SECONDS = 30
# After that long a client has asked by itself.
GIVE_UP_SECONDS = 300
BATCH = 200

# Made once: it is asked in every round.
_FIRST = select(ChatRelay.position).limit(1)

log = structlog.get_logger()


@dataclass(frozen=True)
class _Due:
    """A packet that this process has claimed."""

    position: int
    room: str
    payload: str


def tell(transaction: AsyncSession, session_id: str, payload: Mapping[str, Any], now: datetime) -> None:
    """Have the room of a session told `payload`, once the transaction is committed."""
    transaction.add(ChatRelay(session_id=session_id, payload=to_json(payload), created_at=now))
    wake(transaction, "chat")


async def relay_due(services: Services) -> bool:
    """Send all that is due. What LiveKit does not take stays, for the next round.

    Returns:
        Whether something stays: that, or what another replica is sending.
    """
    while await _has_some(services):
        due = await _claim(services)
        if not due:
            return True
        by_room: dict[str, list[_Due]] = {}
        for packet in due:
            by_room.setdefault(packet.room, []).append(packet)
        results = await asyncio.gather(*(_send(services, room, by_room[room]) for room in by_room))
        done = [position for result in results for position in result]
        left = [packet.position for packet in due if packet.position not in set(done)]
        async with services.database.begin() as transaction:
            await transaction.execute(delete(ChatRelay).where(ChatRelay.position.in_(done)))
            await transaction.execute(
                update(ChatRelay).where(ChatRelay.position.in_(left)).values(claimed_until=None)
            )
        if left:
            return True
    return False


async def _has_some(services: Services) -> bool:
    async with services.database.read() as transaction:
        # Most rounds find nothing: they need not wait for the writer.
        return await transaction.scalar(_FIRST) is not None


async def _claim(services: Services) -> list[_Due]:
    """The oldest packets that nobody else is sending."""
    now = services.clock.now()
    async with services.database.begin() as transaction:
        given_up = await transaction.execute(
            delete(ChatRelay).where(ChatRelay.created_at < now - timedelta(seconds=GIVE_UP_SECONDS))
        )
        if lost := int(getattr(given_up, "rowcount", 0)):
            services.metrics.chat_relays.labels("given_up").inc(lost)
            log.warning("chat_relays_given_up", count=lost)
        rows = (
            await transaction.execute(
                select(ChatRelay.position, StreamSession.room_name, ChatRelay.payload)
                .join(StreamSession, StreamSession.id == ChatRelay.session_id)
                .where(or_(ChatRelay.claimed_until.is_(None), ChatRelay.claimed_until <= now))
                .order_by(ChatRelay.position)
                .limit(BATCH)
                .with_for_update(of=ChatRelay, skip_locked=True)
            )
        ).all()
        due = [_Due(*row) for row in rows]
        if due:
            await transaction.execute(
                update(ChatRelay)
                .where(ChatRelay.position.in_([packet.position for packet in due]))
                .values(claimed_until=now + timedelta(seconds=CLAIM_SECONDS))
            )
    return due


async def _send(services: Services, room: str, packets: Sequence[_Due]) -> list[int]:
    """Send a room's packets in their order; the positions of those that are done with."""
    done: list[int] = []
    for packet in packets:
        try:
            await services.livekit.send_data(room, packet.payload.encode(), topic=TOPIC)
            outcome = "sent"
        except NotInLiveKit:
            # Nobody is there to be told.
            outcome = "no_room"
        except ProblemError:
            # What comes after it must not overtake it.
            services.metrics.chat_relays.labels("failed").inc()
            return done
        services.metrics.chat_relays.labels(outcome).inc()
        done.append(packet.position)
    return done
