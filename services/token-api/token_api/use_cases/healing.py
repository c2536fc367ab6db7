"""What we know and what LiveKit has, made to agree: events get lost, and either may have been away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, and_, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.tables import Participant, Stream, StreamSession
from token_api.domain.healing import Healing, Patience, SessionFacts, diagnose
from token_api.domain.lifecycle import ON_AIR
from token_api.domain.roles import StreamRole
from token_api.domain.room_names import is_ours, stream_of
from token_api.domain.vocabulary import SessionState, StreamStatus
from token_api.failures import Failures
from token_api.livekit_api.gateway import NotInLiveKit
from token_api.livekit_api.values import Room, RoomParticipant
from token_api.problems import Kind, ProblemError
from token_api.use_cases import enforcement, missed_visits, sessions
from token_api.use_cases.events import record
from token_api.use_cases.missed_visits import ACTOR
from token_api.use_cases.services import Services
from token_api.use_cases.standing import find_stream

_ENDING = frozenset({Healing.CREATOR_GONE, Healing.NOBODY_CAME})
# What says that a stream was ended or deleted.
_OVER = frozenset({Kind.NOT_FOUND, Kind.CONFLICT})
# A stream continues while one of these is in the room. Only earlier releases gave the role of a publisher.
_SENDERS = (StreamRole.CREATOR, StreamRole.PUBLISHER)

log = structlog.get_logger()


@dataclass(frozen=True)
class Case:
    """A session that is not closed, its stream, and its room where LiveKit has it."""

    stream: Stream
    session: StreamSession
    room: Room | None


async def heal(services: Services) -> None:
    """Compare everything with LiveKit once, and put right what is not.

    Rooms whose names are not ours are not touched. A failure for one session does not keep the others from
    being healed.

    Raises:
        ProblemError: LIVEKIT_UNAVAILABLE or LIVEKIT_ERROR. If LiveKit gives no list, nothing is changed.
            Otherwise one failure is raised after everything else was done.
    """
    rooms = {room.name: room for room in await services.livekit.rooms() if is_ours(room.name)}
    cases = await _cases(services, rooms)
    failures = Failures()
    await _delete_strays(services, rooms, {case.session.room_name for case in cases}, failures)
    for case in cases:
        with failures.apart("not_healed", stream_id=case.stream.id):
            await _heal_alone(services, case)
    await _end_orphans(services, failures)
    await missed_visits.end(services, failures)
    failures.raise_one()


async def on_room_gone(services: Services, stream_id: str) -> None:
    """Compare one stream with LiveKit, which removed its room.

    Raises:
        ProblemError: as the gateway.
    """
    for case in await _cases(services, {}, stream_id):
        await _heal_alone(services, case)


async def restore_rooms(services: Services) -> None:
    """Compare each stream with LiveKit whose session is open and whose room LiveKit does not have.

    Raises:
        ProblemError: as the gateway. If LiveKit gives no list of its rooms, nothing is compared. Otherwise
            one failure is raised after all streams.
    """
    async with services.database.read() as transaction:
        is_open = StreamSession.state == SessionState.OPEN
        rows = await transaction.execute(
            select(StreamSession.room_name, StreamSession.stream_id).where(is_open)
        )
        streams = {row.room_name: row.stream_id for row in rows}
    found = {room.name for room in await services.livekit.rooms(list(streams))} if streams else set()
    failures = Failures()
    for room_name in streams.keys() - found:
        with failures.apart("room_not_restored", room=room_name):
            await on_room_gone(services, streams[room_name])
    failures.raise_one()


async def sweep(services: Services, rooms: Sequence[str] | None = None) -> None:
    """Judge again who is in `rooms` (None: in every open session's).

    A failure in one room does not keep the others from being swept.

    Raises:
        ProblemError: as the gateway. If LiveKit gives no list of its rooms, no participant is judged.
            Otherwise one failure is raised after all rooms.
    """
    if rooms is None:
        async with services.database.read() as transaction:
            wanted = select(StreamSession.room_name).where(StreamSession.state == SessionState.OPEN)
            rooms = list((await transaction.scalars(wanted)).all())
    # While LiveKit is away, this is the only request that is waited for. No names would be all rooms.
    there = {room.name for room in await services.livekit.rooms(rooms)} if rooms else set()
    failures = Failures()
    for room in rooms:
        if room in there:
            with failures.apart("room_not_swept", room=room):
                await enforcement.enforce(services, room, await services.livekit.participants(room))
    failures.raise_one()


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


async def _delete_strays(
    services: Services, rooms: dict[str, Room], known: set[str], failures: Failures
) -> None:
    # The intent to make a room is written down before it is made: a room without one is nobody's.
    for name in rooms.keys() - known:
        with failures.apart("room_not_deleted", room=name):
            if await services.livekit.delete_room(name):
                await _note(services, Healing.ROOM_DELETED, stream_of(name), room_name=name)


@contextmanager
def _unless_over() -> Iterator[None]:
    """Leave the block without an error, if the stream was ended or deleted meanwhile."""
    try:
        yield
    except ProblemError as error:
        if error.kind not in _OVER:
            raise


async def _heal_alone(services: Services, case: Case) -> None:
    """Heal a session, while no other task of this process changes it."""
    async with services.locks.hold(case.stream.id):
        with _unless_over():
            await _heal(services, case)


async def _heal(services: Services, case: Case) -> None:
    session, room = case.session, case.room
    if room is None:
        # Since the list was made it may have come.
        room = next(iter(await services.livekit.rooms([session.room_name])), None)
    found = await services.livekit.participants(session.room_name) if room is not None else []
    failures = Failures()
    wanted: Healing | None = None
    with failures.apart("not_compared", room=session.room_name), _unless_over():
        wanted = await _compare(services, case, room, found)
    # Rights are judged, whatever else could not be done.
    if session.state is SessionState.OPEN and wanted not in _ENDING:
        with failures.apart("not_enforced", room=session.room_name), _unless_over():
            await enforcement.enforce(services, session.room_name, found)
    failures.raise_one()


async def _compare(
    services: Services, case: Case, room: Room | None, found: Sequence[RoomParticipant]
) -> Healing | None:
    """Write down who is in the room, and do what the session then needs; what that was."""
    stream, session = case.stream, case.session
    if session.state is SessionState.OPEN:
        # If this fails, nothing is concluded from who is in.
        await missed_visits.see(services, session, found)
    async with services.database.read() as transaction:
        stream, current = await find_stream(transaction, stream.id)
        if current is None or current.id != session.id:
            return None
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
    return wanted


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
            await _open(services, stream, session)
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
            if not await _recreate(services, stream, session):
                return
        case _:
            raise ValueError(wanted)
    await _note(services, wanted, stream.id, room_name=name)


async def _open(services: Services, stream: Stream, session: StreamSession) -> None:
    await services.livekit.create_room(sessions.new_room(stream, session))
    try:
        await sessions.finish_opening(services, session, ACTOR)
    except ProblemError as error:
        if error.kind in _OVER:
            await services.livekit.delete_room(session.room_name)
        raise


async def _recreate(services: Services, stream: Stream, session: StreamSession) -> bool:
    """Create the room of an open session again; False if the session is not open any more.

    Another replica may have ended it before the room was created: its lock holds within its process only.
    Such a replica found no room to delete. So the session is looked at again, after the room was created.
    """
    metadata = sessions.room_metadata(stream, stream.status)
    await services.livekit.create_room(replace(sessions.new_room(stream, session), metadata=metadata))
    async with services.database.read() as transaction:
        found = await transaction.get(StreamSession, session.id)
    if found is not None and found.state is SessionState.OPEN:
        return True
    await services.livekit.delete_room(session.room_name)
    return False


async def _tell(services: Services, stream: Stream, session: StreamSession, room: Room) -> None:
    metadata = sessions.room_metadata(stream, stream.status)
    if session.state is SessionState.OPEN and room.metadata != metadata:
        try:
            await services.livekit.set_room_metadata(room.name, metadata)
        except NotInLiveKit:
            return
        await _note(services, Healing.METADATA, stream.id, room_name=room.name)


def _is_orphan() -> ColumnElement[bool]:
    has_session = exists().where(StreamSession.stream_id == Stream.id, StreamSession.closed_at.is_(None))
    return and_(Stream.status.in_(ON_AIR), ~has_session)


async def _end_orphans(services: Services, failures: Failures) -> None:
    """Streams that are on air without a session: their room cannot be found, so they are over."""
    async with services.database.read() as transaction:
        orphans = (await transaction.scalars(select(Stream.id).where(_is_orphan()))).all()
    for stream_id in orphans:
        with failures.apart("orphan_not_ended", stream_id=stream_id):
            await _end_orphan(services, stream_id)


async def _end_orphan(services: Services, stream_id: str) -> None:
    wanted = select(Stream).where(Stream.id == stream_id, _is_orphan()).with_for_update(skip_locked=True)
    async with services.database.begin() as transaction:
        stream = await transaction.scalar(wanted)
        if stream is None:
            return
        now = services.clock.now()
        stream.ended_at = now
        sessions.set_status(
            transaction, stream, StreamStatus.FAILED, now=now, actor=ACTOR, event="stream.failed"
        )
        _audit(transaction, Healing.NO_SESSION, stream.id, now)
    services.metrics.healings.labels(Healing.NO_SESSION.value).inc()


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
