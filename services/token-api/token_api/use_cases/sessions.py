"""How a session opens and closes, in steps that can be carried on by anybody after a failure.

The intent is committed first (opening, closing), then LiveKit is asked, then the outcome is committed.
Where LiveKit does not answer, the intent stays: the same request again, or the reconciler, goes on
with it. LiveKit's calls are such that doing them twice is doing them once.
"""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.columns import new_id
from token_api.database.tables import Participant, Stream, StreamSession
from token_api.domain.room_names import room_name
from token_api.domain.vocabulary import SessionState, StreamStatus
from token_api.free_json import from_stored
from token_api.livekit_api.values import NewRoom
from token_api.problems import Kind, ProblemError
from token_api.use_cases import auto_recording_rows, removals
from token_api.use_cases.events import record
from token_api.use_cases.services import Services
from token_api.use_cases.standing import find_stream

# For how long LiveKit keeps a room in which nobody is yet, or anymore.
EMPTY_TIMEOUT_SECONDS = 600
DEPARTURE_TIMEOUT_SECONDS = 300
# Beside the seats: the owner, the team, guests' second devices, and the recorder.
SEATS_BESIDE_CAPACITY = 16


def room_metadata(stream: Stream, status: StreamStatus) -> str:
    """What everyone in the room is told of the stream."""
    told = {
        "stream_id": stream.id,
        "kind": stream.kind.value,
        "title": stream.title,
        "status": status.value,
        "metadata": from_stored(stream.details),
    }
    return json.dumps(told, separators=(",", ":"))


def new_room(stream: Stream, session: StreamSession) -> NewRoom:
    """The room of a session."""
    return NewRoom(
        name=session.room_name,
        metadata=room_metadata(stream, StreamStatus.LIVE),
        max_participants=stream.capacity + SEATS_BESIDE_CAPACITY if stream.capacity else 0,
        empty_timeout=EMPTY_TIMEOUT_SECONDS,
        departure_timeout=DEPARTURE_TIMEOUT_SECONDS,
    )


def begin_opening(transaction: AsyncSession, stream: Stream, now: datetime) -> StreamSession:
    """The intent to open a new session of `stream`."""
    session_id = new_id()
    session = StreamSession(
        id=session_id,
        stream_id=stream.id,
        room_name=room_name(stream.kind, stream.id, session_id),
        state=SessionState.OPENING,
        requested_at=now,
    )
    transaction.add(session)
    return session


async def finish_opening(services: Services, session: StreamSession, actor: str) -> Stream:
    """LiveKit has the room: the stream is live.

    Raises:
        ProblemError: NOT_FOUND, CONFLICT where the stream was deleted, or the session given up, meanwhile.
    """
    async with services.database.begin() as transaction:
        stream, found = await find_stream(transaction, session.stream_id, lock=True)
        if found is None or found.id != session.id:
            raise ProblemError(Kind.CONFLICT, "The session was given up meanwhile; go live again.")
        if found.state is SessionState.OPENING:
            now = services.clock.now()
            found.state, found.opened_at = SessionState.OPEN, now
            stream.started_at, stream.ended_at = now, None
            set_status(transaction, stream, StreamStatus.LIVE, now=now, actor=actor, event="stream.live")
            await auto_recording_rows.arm(transaction, services.settings, stream, found, now)
        return stream


def begin_closing(session: StreamSession) -> None:
    """The intent to close a session: from its commit on, nobody gets a token for it."""
    session.state = SessionState.CLOSING


async def finish_closing(
    services: Services,
    stream_id: str,
    session_id: str,
    actor: str,
    outcome: StreamStatus = StreamStatus.ENDED,
) -> Stream:
    """LiveKit has no such room anymore: the session is closed, and the stream `outcome` (ended or failed)."""
    async with services.database.begin() as transaction:
        stream, found = await find_stream(transaction, stream_id, lock=True)
        if found is not None and found.id == session_id:
            now = services.clock.now()
            found.state, found.closed_at = SessionState.CLOSED, now
            await transaction.execute(
                update(Participant)
                .where(Participant.session_id == session_id, Participant.left_at.is_(None))
                .where(Participant.joined_at.is_not(None))
                .values(left_at=now)
            )
            # After the participants: whoever removes one locks rows in this order.
            await removals.forget(transaction, session_id)
            await auto_recording_rows.close(transaction, session_id, now)
            stream.ended_at = now
            set_status(transaction, stream, outcome, now=now, actor=actor, event=f"stream.{outcome.value}")
        return stream


async def give_up_opening(services: Services, stream_id: str, session_id: str, actor: str) -> None:
    """Take back the intent to open a session that LiveKit never confirmed; its room is removed before."""
    async with services.database.begin() as transaction:
        _, found = await find_stream(transaction, stream_id, lock=True)
        if found is not None and found.id == session_id and found.state is SessionState.OPENING:
            now = services.clock.now()
            found.state, found.closed_at = SessionState.CLOSED, now
            record(
                transaction,
                now=now,
                actor=actor,
                action="session.given-up",
                stream_id=stream_id,
                details={"room_name": found.room_name},
            )


def set_status(
    transaction: AsyncSession,
    stream: Stream,
    status: StreamStatus,
    *,
    now: datetime,
    actor: str,
    event: str,
) -> None:
    """Change a stream's status, and write down that it did."""
    before = stream.status
    stream.status, stream.updated_at = status, now
    stream.version += 1
    record(
        transaction,
        now=now,
        actor=actor,
        action=event,
        stream_id=stream.id,
        details={"from": before.value, "status": status.value, "version": stream.version},
        event_type=event,
    )
