"""What we know and what LiveKit has, made to agree: events get lost, and either may have been away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from token_api.database.tables import Participant, Stream, StreamSession, Visit
from token_api.domain.healing import Healing, Patience, SessionFacts, diagnose
from token_api.domain.lifecycle import ON_AIR
from token_api.domain.roles import StreamRole
from token_api.domain.room_names import is_ours, stream_of
from token_api.domain.vocabulary import SessionState, StreamStatus
from token_api.livekit_api.gateway import NotInLiveKit
from token_api.livekit_api.values import Room, RoomParticipant
from token_api.problems import Kind, ProblemError
from token_api.use_cases import enforcement, sessions, visits
from token_api.use_cases.events import record
from token_api.use_cases.services import Services
from token_api.use_cases.standing import find_stream

ACTOR = "reconciler"
_ENDING = frozenset({Healing.CREATOR_GONE, Healing.NOBODY_CAME})
# A stream continues while one of these is in the room. Only earlier releases gave the role of a publisher.
_SENDERS = (StreamRole.CREATOR, StreamRole.PUBLISHER)
# Somebody who came in just now may not be in LiveKit's list yet.
_JUST_NOW = timedelta(seconds=5)
# Of a round: a full house that ends is ten thousands, and the other streams wait meanwhile.
_VISITS_AT_ONCE = 500
# In one query.
_KEYS_AT_ONCE = 500
# LiveKit may still tell of a leaving for half a minute, and by then exactly when it was.
_LATE = timedelta(minutes=1)

log = structlog.get_logger()


@dataclass(frozen=True)
class Case:
    """A session that is not closed, its stream, and its room where LiveKit has it."""

    stream: Stream
    session: StreamSession
    room: Room | None


async def heal(services: Services) -> None:
    """Compare everything with LiveKit once, and put right what is not.

    Rooms whose names are not ours are not touched. One session that cannot be healed keeps no other from it.

    Raises:
        ProblemError: LIVEKIT_UNAVAILABLE or LIVEKIT_ERROR, where LiveKit gives no list; nothing is changed.
    """
    rooms = {room.name: room for room in await services.livekit.rooms() if is_ours(room.name)}
    cases = await _cases(services, rooms)
    await _delete_strays(services, rooms, {case.session.room_name for case in cases})
    for case in cases:
        try:
            async with services.locks.hold(case.stream.id):
                await _heal(services, case)
        except ProblemError as error:
            if error.kind not in {Kind.NOT_FOUND, Kind.CONFLICT}:
                log.warning("not_healed", stream_id=case.stream.id, kind=error.kind.name)
    await _end_orphans(services)
    await _end_visits(services)


async def on_room_gone(services: Services, stream_id: str) -> None:
    """Compare one stream with LiveKit, which removed its room.

    Raises:
        ProblemError: as the gateway.
    """
    for case in await _cases(services, {}, stream_id):
        async with services.locks.hold(stream_id):
            try:
                await _heal(services, case)
            except ProblemError as error:
                # The stream was ended or deleted meanwhile.
                if error.kind not in {Kind.NOT_FOUND, Kind.CONFLICT}:
                    raise


async def restore_rooms(services: Services) -> None:
    """Compare each stream with LiveKit whose session is open and whose room LiveKit does not have.

    Raises:
        ProblemError: LiveKit gives no list of its rooms.
    """
    async with services.database.read() as transaction:
        is_open = StreamSession.state == SessionState.OPEN
        rows = await transaction.execute(
            select(StreamSession.room_name, StreamSession.stream_id).where(is_open)
        )
        streams = {row.room_name: row.stream_id for row in rows}
    found = {room.name for room in await services.livekit.rooms(list(streams))} if streams else set()
    for room_name in streams.keys() - found:
        try:
            await on_room_gone(services, streams[room_name])
        except ProblemError as error:
            log.warning("room_not_restored", room=room_name, kind=error.kind.name)


async def sweep(services: Services, rooms: Sequence[str] | None = None) -> None:
    """Judge again who is in `rooms` (None: in every open session's).

    Raises:
        ProblemError: as the gateway.
    """
    if rooms is None:
        async with services.database.read() as transaction:
            wanted = select(StreamSession.room_name).where(StreamSession.state == SessionState.OPEN)
            rooms = list((await transaction.scalars(wanted)).all())
    for room in rooms:
        found = await services.livekit.participants(room)
        await enforcement.enforce(services, room, found)


async def _cases(services: Services, rooms: dict[str, Room], stream_id: str | None = None) -> list[Case]:
    """All sessions that are not closed, or those of one stream."""
    wanted = (
        select(Stream, StreamSession)
        .join(StreamSession, StreamSession.stream_id == Stream.id)
        .where(StreamSession.closed_at.is_(None))
        .order_by(StreamSession.requested_at)
    )
    if stream_id is not None:
        wanted = wanted.where(Stream.id == stream_id)
    async with services.database.read() as transaction:
        rows = (await transaction.execute(wanted)).all()
    return [Case(stream, session, rooms.get(session.room_name)) for stream, session in rows]


async def _delete_strays(services: Services, rooms: dict[str, Room], known: set[str]) -> None:
    # The intent to make a room is written down before it is made: a room without one is nobody's.
    for name in rooms.keys() - known:
        if await services.livekit.delete_room(name):
            await _note(services, Healing.ROOM_DELETED, stream_of(name), room_name=name)


async def _heal(services: Services, case: Case) -> None:
    stream, session, room = case.stream, case.session, case.room
    if room is None:
        # Since the list was made it may have come.
        room = next(iter(await services.livekit.rooms([session.room_name])), None)
    found = await services.livekit.participants(session.room_name) if room is not None else []
    if session.state is SessionState.OPEN:
        await _see(services, session, found)
    async with services.database.read() as transaction:
        stream, current = await find_stream(transaction, stream.id)
        if current is None or current.id != session.id:
            return
        session = current
        facts = await _facts(transaction, session, has_room=room is not None)
    patience = Patience(
        timedelta(seconds=services.settings.creator_grace_seconds),
        timedelta(seconds=sessions.EMPTY_TIMEOUT_SECONDS),
    )
    wanted = diagnose(facts, patience, services.clock.now())
    if wanted is not None:
        await _treat(services, stream, session, wanted)
    elif room is not None:
        await _tell(services, stream, session, room)
    if session.state is SessionState.OPEN and wanted not in _ENDING:
        await enforcement.enforce(services, session.room_name, found)


async def _facts(transaction: AsyncSession, session: StreamSession, *, has_room: bool) -> SessionFacts:
    senders = (
        await transaction.execute(
            select(Participant.joined_at, Participant.left_at).where(
                Participant.session_id == session.id,
                Participant.role.in_(_SENDERS),
                Participant.joined_at.is_not(None),
            )
        )
    ).all()
    left = [row.left_at for row in senders]
    return SessionFacts(
        state=session.state,
        requested_at=session.requested_at,
        opened_at=session.opened_at,
        has_room=has_room,
        sender_left_at=None if None in left else max(left, default=None),
        sender_came=bool(senders),
    )


async def _treat(services: Services, stream: Stream, session: StreamSession, wanted: Healing) -> None:
    """Do it, each part such that doing it again is doing it once; and note it."""
    live, name = services.livekit, session.room_name
    match wanted:
        case Healing.OPENED:
            await live.create_room(sessions.new_room(stream, session))
            await sessions.finish_opening(services, session, ACTOR)
        case Healing.OPENING_GIVEN_UP:
            await live.delete_room(name)
            await sessions.give_up_opening(services, stream.id, session.id, ACTOR)
        case Healing.CLOSED:
            await live.delete_room(name)
            await sessions.finish_closing(services, stream.id, session.id, ACTOR)
        case Healing.CREATOR_GONE | Healing.NOBODY_CAME:
            async with services.database.begin() as transaction:
                _, found = await find_stream(transaction, stream.id, lock=True)
                if found is None or found.id != session.id:
                    return
                sessions.begin_closing(found)
            await live.delete_room(name)
            await sessions.finish_closing(services, stream.id, session.id, ACTOR)
        case Healing.ROOM_RECREATED:
            metadata = sessions.room_metadata(stream, stream.status)
            await live.create_room(replace(sessions.new_room(stream, session), metadata=metadata))
        case _:
            raise ValueError(wanted)
    await _note(services, wanted, stream.id, room_name=name)


async def _tell(services: Services, stream: Stream, session: StreamSession, room: Room) -> None:
    metadata = sessions.room_metadata(stream, stream.status)
    if session.state is SessionState.OPEN and room.metadata != metadata:
        try:
            await services.livekit.set_room_metadata(room.name, metadata)
        except NotInLiveKit:
            return
        await _note(services, Healing.METADATA, stream.id, room_name=room.name)


async def _see(services: Services, session: StreamSession, found: Sequence[RoomParticipant]) -> None:
    """Write down who came and who left without an event that told."""
    now = services.clock.now()
    async with services.database.read() as transaction:
        not_over = (Visit.session_id == session.id) & Visit.left_at.is_(None)
        present = {
            visit.livekit_sid: visit for visit in await transaction.scalars(select(Visit).where(not_over))
        }
        untold = {someone.sid: someone for someone in found if someone.sid not in present}
        identities = [someone.identity for someone in untold.values()]
        ours = await _known_by(transaction, session.id, Participant.identity, identities)
        known = await _known_by(transaction, session.id, Visit.livekit_sid, list(untold))
    there = {someone.sid for someone in found}
    missed = [
        visits.Sighting(someone.identity, someone.sid, someone.joined_at)
        for sid, someone in untold.items()
        if sid not in known and someone.identity in ours
    ] + [
        visits.Sighting(visit.identity, visit.livekit_sid, visit.joined_at, now)
        for visit in present.values()
        if visit.livekit_sid not in there and visit.joined_at < now - _JUST_NOW
    ]
    for sighting in missed:
        await _see_one(services, session.id, sighting, now)


async def _known_by(
    transaction: AsyncSession, session_id: str, column: InstrumentedAttribute[str], wanted: Sequence[str]
) -> set[str]:
    """Those of `wanted` that the table of `column` has for the session."""
    known: set[str] = set()
    for start in range(0, len(wanted), _KEYS_AT_ONCE):
        some = column.in_(wanted[start : start + _KEYS_AT_ONCE])
        known |= set(
            await transaction.scalars(select(column).where(column.class_.session_id == session_id, some))
        )
    return known


async def _see_one(services: Services, session_id: str, sighting: visits.Sighting, now: datetime) -> None:
    # It writes the audit entry, too.
    async with services.database.begin() as transaction:
        session = await transaction.get(StreamSession, session_id, with_for_update=True)
        if session is None:
            return
        await visits.see(transaction, session, sighting, now=now, actor=ACTOR)
    services.metrics.healings.labels(Healing.VISIT.value).inc()


async def _end_orphans(services: Services) -> None:
    """Streams that are on air without a session: their room cannot be found, so they are over."""
    has_session = exists().where(StreamSession.stream_id == Stream.id, StreamSession.closed_at.is_(None))
    async with services.database.begin() as transaction:
        orphans = await transaction.scalars(
            select(Stream).where(Stream.status.in_(ON_AIR), ~has_session).with_for_update(skip_locked=True)
        )
        now = services.clock.now()
        for stream in orphans:
            stream.ended_at = now
            sessions.set_status(
                transaction, stream, StreamStatus.FAILED, now=now, actor=ACTOR, event="stream.failed"
            )
            _audit(transaction, Healing.NO_SESSION, stream.id, now)
            services.metrics.healings.labels(Healing.NO_SESSION.value).inc()


async def _end_visits(services: Services) -> None:
    """Visits of closed sessions: nobody told that they are over, and LiveKit has no room to be asked of."""
    now = services.clock.now()
    async with services.database.read() as transaction:
        forgotten = (
            await transaction.execute(
                select(Visit, StreamSession)
                .join(StreamSession, StreamSession.id == Visit.session_id)
                .where(Visit.left_at.is_(None), StreamSession.closed_at < now - _LATE)
                .limit(_VISITS_AT_ONCE)
            )
        ).all()
    for visit, session in forgotten:
        sighting = visits.Sighting(visit.identity, visit.livekit_sid, visit.joined_at, session.closed_at)
        await _see_one(services, session.id, sighting, now)


async def _note(services: Services, what: Healing, stream_id: str | None, *, room_name: str) -> None:
    async with services.database.begin() as transaction:
        _audit(transaction, what, stream_id, services.clock.now(), room_name=room_name)
    services.metrics.healings.labels(what.value).inc()
    log.info("healed", what=what.value, stream_id=stream_id, room=room_name)


def _audit(
    transaction: AsyncSession, what: Healing, stream_id: str | None, now: datetime, **details: str
) -> None:
    action = f"reconciler.{what.value}"
    record(transaction, now=now, actor=ACTOR, action=action, stream_id=stream_id, details=details)
