"""Rooms of POST /v1/token. No join creates a room, so this service creates them, and recreates them.

LiveKit removes rooms that are empty for long, and the rooms of an SFU that stops. Clients may still have
tokens for them: those that this service issued, and those that LiveKit itself renews for each participant.
All of them expire after MAX_TTL_SECONDS, so a room is wanted for that long after the last token, and after a
participant was last seen in it.

A room that the host application removed stays removed for the same time. A join that passed LiveKit's check
before the removal may create the room after it; then it is deleted again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy import BindParameter, ColumnElement, null, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.engine import insert
from token_api.database.tables import CallRoom
from token_api.failures import Failures
from token_api.livekit_api.values import NewRoom
from token_api.problems import Kind, ProblemError
from token_api.tokens import MAX_TTL_SECONDS
from token_api.use_cases.services import Services

_HELD = timedelta(seconds=MAX_TTL_SECONDS)
# Times are written that much later than necessary, so that one token in this time writes and not each.
_WRITTEN_EVERY = timedelta(minutes=2)

log = structlog.get_logger()


async def provide(services: Services, room_name: str) -> None:
    """Ensure that LiveKit has the room as long as a token that is issued now is valid.

    Raises:
        ProblemError: as the gateway. Then the room may not be there.
    """
    if await _wanted_until(services, room_name) >= services.clock.now() + _HELD:
        return
    async with services.locks.hold(_lock(room_name)):
        wanted_until, now = await _wanted_until(services, room_name), services.clock.now()
        if wanted_until >= now + _HELD:
            return
        if wanted_until <= now:
            # LiveKit has the room before the table says so.
            await services.livekit.create_room(_new(room_name))
        async with services.database.begin() as transaction:
            await _want(transaction, room_name, now + _HELD + _WRITTEN_EVERY)


async def remove(services: Services, room_name: str) -> None:
    """Remove a room and all its participants, and do not recreate it for the tokens that were issued.

    Raises:
        ProblemError: NOT_FOUND, if neither this service nor LiveKit has the room; as the gateway.
    """
    async with services.locks.hold(_lock(room_name)):
        now = services.clock.now()
        async with services.database.begin() as transaction:
            found = await transaction.get(CallRoom, room_name, with_for_update=True)
            was_wanted = found is not None and found.wanted_until > now
            if found is not None:
                found.wanted_until, found.removed_until = now, now + _HELD + _WRITTEN_EVERY
        was_there = await services.livekit.delete_room(room_name)
    if not was_wanted and not was_there:
        raise ProblemError(Kind.NOT_FOUND, "There is no such room.")


async def concerns(services: Services, room_name: str, event_type: str) -> bool:
    """Whether an event of LiveKit's calls for `react`. Other events of these rooms need no reaction."""
    if event_type not in {"room_started", "room_finished"}:
        return False
    async with services.database.read() as transaction:
        found = await transaction.get(CallRoom, room_name)
    now = services.clock.now()
    if found is None:
        return False
    return _is_removed(found, now) if event_type == "room_started" else found.wanted_until > now


async def react(services: Services, room_name: str, event_type: str) -> None:
    """Recreate a room that LiveKit removed, or delete one that came back. Raises as the gateway."""
    if event_type == "room_started":
        await _remove_again(services, room_name)
    else:
        await _restore(services, room_name)


async def _restore(services: Services, room_name: str) -> None:
    """Recreate a room if a valid token for it may exist."""
    async with services.locks.hold(_lock(room_name)):
        if await _wanted_until(services, room_name) > services.clock.now():
            await services.livekit.create_room(_new(room_name))
            log.info("call_room_restored", room=room_name)


async def _remove_again(services: Services, room_name: str) -> None:
    """Delete a room that came back after its removal. Its participants have tokens that LiveKit renewed."""
    async with services.locks.hold(_lock(room_name)):
        now = services.clock.now()
        async with services.database.begin() as transaction:
            found = await transaction.get(CallRoom, room_name, with_for_update=True)
            if found is None or not _is_removed(found, now):
                return
            found.removed_until = now + _HELD + _WRITTEN_EVERY
        if await services.livekit.delete_room(room_name):
            log.info("call_room_removed_again", room=room_name)


async def reconcile(services: Services) -> None:
    """Recreate wanted rooms that LiveKit does not have, delete removed ones that it has, and write down which
    have participants.

    Raises:
        ProblemError: LiveKit gives no list of its rooms.
    """
    now = services.clock.now()
    async with services.database.read() as transaction:
        known = {
            room.room_name: room
            for room in await transaction.scalars(select(CallRoom).where(is_watched_at(now)))
        }
    if not known:
        return
    rooms = await services.livekit.rooms(list(known))
    there = {room.name for room in rooms}
    # A room that LiveKit refuses does not keep the others from being repaired. The next round tries it again.
    failures = Failures()
    for name, row in known.items():
        if (name in there) == _is_removed(row, now):
            with failures.apart("call_room_not_repaired", room=name):
                await (_remove_again if name in there else _restore)(services, name)
    # Each participant has a token that LiveKit renewed.
    occupied = {room.name for room in rooms if room.participants}
    late = [name for name in occupied if now < known[name].wanted_until < now + _HELD]
    if late:
        async with services.database.begin() as transaction:
            await transaction.execute(
                update(CallRoom)
                .where(CallRoom.room_name.in_(late), CallRoom.removed_until.is_(None))
                .values(wanted_until=now + _HELD + _WRITTEN_EVERY)
            )


def is_watched_at(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """Whether a valid token for a room may exist, wanted or removed."""
    return or_(CallRoom.wanted_until > now, CallRoom.removed_until > now)


def _is_removed(room: CallRoom, now: datetime) -> bool:
    return room.removed_until is not None and room.removed_until > now


def _lock(room_name: str) -> str:
    return f"call-room {room_name}"


async def _wanted_until(services: Services, room_name: str) -> datetime:
    """Until when the room is wanted; now, if it is not."""
    async with services.database.read() as transaction:
        found = await transaction.get(CallRoom, room_name)
    return found.wanted_until if found is not None else services.clock.now()


async def _want(transaction: AsyncSession, room_name: str, until: datetime) -> None:
    await transaction.execute(
        insert(transaction, CallRoom)
        .values(room_name=room_name, wanted_until=until)
        .on_conflict_do_update(
            index_elements=["room_name"], set_={"wanted_until": until, "removed_until": null()}
        )
    )


def _new(room_name: str) -> NewRoom:
    # An empty room stays for as long as a token is valid, so it seldom has to be recreated.
    return NewRoom(
        name=room_name,
        metadata="",
        max_participants=0,
        empty_timeout=MAX_TTL_SECONDS,
        departure_timeout=MAX_TTL_SECONDS,
    )
