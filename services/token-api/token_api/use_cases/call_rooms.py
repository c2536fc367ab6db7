"""Rooms of POST /v1/token. A join makes no room, so this service makes them, and makes them again.

LiveKit removes a room that is empty for long, and the rooms of an SFU that stops. Clients may still have
tokens for them: those that this service issued, and those that LiveKit itself renews for whoever is in the
room. All of them expire after MAX_TTL_SECONDS, so a room is wanted for that long after the last token, and
after somebody was last seen in it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy import BindParameter, ColumnElement, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.engine import insert
from token_api.database.tables import CallRoom
from token_api.livekit_api.values import NewRoom
from token_api.problems import Kind, ProblemError
from token_api.tokens import MAX_TTL_SECONDS
from token_api.use_cases.services import Services

_HELD = timedelta(seconds=MAX_TTL_SECONDS)
# `wanted_until` is that much later than it must be, so that it is written once in this time and not with
# each token.
_WRITTEN_EVERY = timedelta(minutes=2)

log = structlog.get_logger()


async def provide(services: Services, room_name: str) -> None:
    """See to it that LiveKit has the room as long as a token that is issued now can be used.

    Raises:
        ProblemError: as the gateway. Then the room may not be there.
    """
    if await _wanted_until(services, room_name) >= services.clock.now() + _HELD:
        return
    async with services.locks.hold(f"call-room {room_name}"):
        wanted_until, now = await _wanted_until(services, room_name), services.clock.now()
        if wanted_until >= now + _HELD:
            return
        if wanted_until <= now:
            # Made before it is written down: what is written down is taken to be there.
            await services.livekit.create_room(_new(room_name))
        async with services.database.begin() as transaction:
            await _want(transaction, room_name, now + _HELD + _WRITTEN_EVERY)


async def remove(services: Services, room_name: str) -> None:
    """Remove a room, with all who are in it, and do not make it again for the tokens that there are.

    Raises:
        ProblemError: NOT_FOUND, if neither this service nor LiveKit knows the room; as the gateway.
    """
    async with services.locks.hold(f"call-room {room_name}"):
        async with services.database.begin() as transaction:
            gone = delete(CallRoom).where(CallRoom.room_name == room_name).returning(CallRoom.room_name)
            was_wanted = await transaction.scalar(gone) is not None
        was_there = await services.livekit.delete_room(room_name)
    if not was_wanted and not was_there:
        raise ProblemError(Kind.NOT_FOUND, "There is no such room.")


async def is_wanted(services: Services, room_name: str) -> bool:
    """Whether somebody may have a token for this room of POST /v1/token."""
    return await _wanted_until(services, room_name) > services.clock.now()


async def restore(services: Services, room_name: str) -> None:
    """Make a room again that LiveKit removed, if somebody may have a token for it. Raises as the gateway."""
    if await is_wanted(services, room_name):
        await services.livekit.create_room(_new(room_name))
        log.info("call_room_restored", room=room_name)


async def reconcile(services: Services) -> None:
    """Make all rooms that are wanted and that LiveKit does not have; write down which have participants.

    Raises:
        ProblemError: LiveKit gives no list of its rooms.
    """
    now = services.clock.now()
    async with services.database.read() as transaction:
        wanted = {
            room.room_name: room
            for room in await transaction.scalars(select(CallRoom).where(is_wanted_at(now)))
        }
    if not wanted:
        return
    rooms = await services.livekit.rooms(list(wanted))
    for name in wanted.keys() - {room.name for room in rooms}:
        try:
            await restore(services, name)
        except ProblemError as error:
            log.warning("call_room_not_restored", room=name, kind=error.kind.name)
    # Whoever is in a room has a token that LiveKit renewed.
    occupied = [room.name for room in rooms if room.participants]
    late = sorted(name for name in occupied if wanted[name].wanted_until < now + _HELD)
    if late:
        async with services.database.begin() as transaction:
            for name in late:
                await _want(transaction, name, now + _HELD + _WRITTEN_EVERY)


def is_wanted_at(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """Whether somebody may have a token for a room."""
    return CallRoom.wanted_until > now


async def _wanted_until(services: Services, room_name: str) -> datetime:
    """Until when the room is wanted; now, if it is not."""
    async with services.database.read() as transaction:
        found = await transaction.get(CallRoom, room_name)
    return found.wanted_until if found is not None else services.clock.now()


async def _want(transaction: AsyncSession, room_name: str, until: datetime) -> None:
    await transaction.execute(
        insert(transaction, CallRoom)
        .values(room_name=room_name, wanted_until=until)
        .on_conflict_do_update(index_elements=["room_name"], set_={"wanted_until": until})
    )


def _new(room_name: str) -> NewRoom:
    # An empty room stays for as long as a token can be used: then LiveKit seldom has to make it again.
    return NewRoom(
        name=room_name,
        metadata="",
        max_participants=0,
        empty_timeout=MAX_TTL_SECONDS,
        departure_timeout=MAX_TTL_SECONDS,
    )
