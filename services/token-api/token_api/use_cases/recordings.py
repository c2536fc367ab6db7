"""Recordings of sessions, for those who steer them: asked for, stopped, listed, fetched, deleted.

The intent is committed before LiveKit is asked, as with sessions. An answer that does not come does not
say that nothing was started: LiveKit's own list does, by the object key, which is of one recording only.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.callers import Caller
from token_api.database.columns import new_id
from token_api.database.tables import Recording, Stream, StreamSession
from token_api.domain.object_keys import file_name, recording_key
from token_api.domain.paging import Cursor, Page, page_of
from token_api.domain.recording_states import FINAL, RUNNING
from token_api.domain.vocabulary import RecordingStatus, SessionState
from token_api.livekit_api.gateway import NotInLiveKit
from token_api.livekit_api.values import EgressState
from token_api.problems import Kind, ProblemError
from token_api.storage import objects, presign
from token_api.storage.store import Store, store_of
from token_api.use_cases.recorder import find_by_key, halt
from token_api.use_cases.recording_news import write
from token_api.use_cases.recording_rows import locked, tell, withdraw
from token_api.use_cases.services import Services
from token_api.use_cases.standing import (
    is_id,
    not_found,
    require_steering,
    standing_of,
)

# Another meaning of the same key, of the same caller, makes another id.
_IDS = uuid.UUID("5d5d3f3c-2c0b-4a55-9c5f-0c4b54f4d1de")

log = structlog.get_logger()


@dataclass(frozen=True)
class Download:
    """Where a recording's file can be fetched, and until when."""

    url: str
    file_name: str
    expires_at: datetime


async def start(
    services: Services, caller: Caller, stream_id: str, layout: str, key: str | None
) -> Recording:
    """Have a stream's session recorded. With the same idempotency key, the same recording.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN, STREAM_NOT_LIVE, RECORDING_ACTIVE, NO_TRACKS, and those
            of LiveKit: LIVEKIT_UNAVAILABLE also where no recorder is deployed, or none is free.
    """
    recording_id = str(uuid.uuid5(_IDS, f"{caller.actor}\n{stream_id}\n{key}")) if key else new_id()
    async with services.database.read() as transaction:
        known, session = await _wanted(transaction, services, caller, stream_id, recording_id, lock=False)
    if known is not None:
        return known
    participants = await services.livekit.participants(session.room_name)
    # A recorder that finds nothing to record waits, and fails after a long time (livekit/egress#796).
    if not any(participant.tracks for participant in participants if participant.kind != "egress"):
        raise ProblemError(Kind.NO_TRACKS, "Nobody in the room publishes anything yet.")
    async with services.database.begin() as transaction:
        known, session = await _wanted(transaction, services, caller, stream_id, recording_id, lock=True)
        if known is not None:
            return known
        recording = _request(transaction, caller, session, recording_id, services.clock.now())
    state = await _start_in_livekit(services, caller, recording, session.room_name, layout)
    async with services.database.begin() as transaction:
        found = await locked(transaction, Recording.id == recording.id)
        if found is not None:
            write(transaction, found, state, now=services.clock.now(), actor=caller.actor)
            return found
    # The stream was deleted meanwhile.
    await halt(services, state.egress_id)
    raise not_found()


async def stop(services: Services, caller: Caller, recording_id: str) -> Recording:
    """Have a recording end, and its file be put into the store. Doing it again changes nothing.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN, and those of LiveKit; the reconciler goes on with it then.
    """
    async with services.database.begin() as transaction:
        recording, _ = await _steered(transaction, services, caller, recording_id, lock=True)
        if recording.status in FINAL:
            return recording
        if recording.stop_requested_at is None:
            now = services.clock.now()
            recording.stop_requested_at = recording.updated_at = now
            tell(transaction, recording, "recording.stop-requested", now, caller.actor)
        if recording.egress_id is None:
            # Its start is under way; the reconciler stops it then.
            return recording
    state = await halt(services, recording.egress_id)
    async with services.database.begin() as transaction:
        found = await locked(transaction, Recording.id == recording_id)
        if found is None:
            raise not_found()
        if state is not None:
            write(transaction, found, state, now=services.clock.now(), actor=caller.actor)
        return found


async def read(services: Services, caller: Caller, recording_id: str) -> Recording:
    """One recording. Raises ProblemError (NOT_FOUND, ROLE_FORBIDDEN)."""
    async with services.database.read() as transaction:
        return (await _steered(transaction, services, caller, recording_id))[0]


async def page(
    services: Services, caller: Caller, stream_id: str, cursor: Cursor | None, limit: int
) -> Page[Recording]:
    """A stream's recordings, newest first. Raises ProblemError (NOT_FOUND, ROLE_FORBIDDEN)."""
    async with services.database.read() as transaction:
        require_steering(await standing_of(transaction, caller, stream_id, services.clock.now()))
        wanted = (
            select(Recording)
            .where(Recording.stream_id == stream_id)
            .order_by(Recording.created_at.desc(), Recording.id.desc())
            .limit(limit + 1)
        )
        if cursor is not None:
            wanted = wanted.where(
                or_(
                    Recording.created_at < cursor.at,
                    and_(Recording.created_at == cursor.at, Recording.id < cursor.id),
                )
            )
        found = (await transaction.scalars(wanted)).all()
    return page_of(found, limit, lambda item: Cursor(item.created_at, item.id))


async def download(services: Services, caller: Caller, recording_id: str) -> Download:
    """Where the file of a recording that is complete can be fetched; the audit says who asked.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN, CONFLICT while there is no file, NO_STORAGE.
    """
    async with services.database.begin() as transaction:
        recording, stream = await _steered(transaction, services, caller, recording_id)
        if recording.status is not RecordingStatus.COMPLETE:
            raise ProblemError(Kind.CONFLICT, f"The recording is {recording.status.value}: there is no file.")
        store = _store(services)
        now = services.clock.now()
        tell(transaction, recording, "recording.url-given", now, caller.actor)
    name = file_name(stream.title, recording.started_at or recording.created_at)
    url = presign.address(store, recording.object_key, file_name=name)
    return Download(url, name, now + timedelta(seconds=presign.SECONDS))


async def delete(services: Services, caller: Caller, recording_id: str) -> None:
    """Delete a recording that is over: first its file, then all that is known of it but for the audit.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN, RECORDING_ACTIVE, NO_STORAGE, and those of the store, after
            which all is as it was. Doing it again goes on where it was.
    """
    async with services.database.read() as transaction:
        recording, _ = await _steered(transaction, services, caller, recording_id)
    if recording.status not in FINAL:
        raise ProblemError(
            Kind.RECORDING_ACTIVE, f"The recording is {recording.status.value}; stop it first."
        )
    # Also of one that failed: a part of it may have come into the store.
    await objects.delete(_store(services), recording.object_key)
    async with services.database.begin() as transaction:
        found = await locked(transaction, Recording.id == recording_id)
        if found is not None:
            tell(transaction, found, "recording.deleted", services.clock.now(), caller.actor, event=True)
            await transaction.delete(found)


def _store(services: Services) -> Store:
    store = store_of(services.settings)
    if store is None:
        raise ProblemError(Kind.NO_STORAGE, "This service was not told of an object store.")
    return store


async def _wanted(
    transaction: AsyncSession,
    services: Services,
    caller: Caller,
    stream_id: str,
    recording_id: str,
    *,
    lock: bool,
) -> tuple[Recording | None, StreamSession]:
    """The recording if it is there already, and the session to record. Raises as `start`."""
    standing = await standing_of(transaction, caller, stream_id, services.clock.now(), lock=lock)
    require_steering(standing)
    known = await transaction.get(Recording, recording_id)
    session = standing.session
    if known is not None:
        session = await transaction.get_one(StreamSession, known.session_id)
        return known, session
    if session is None or session.state is not SessionState.OPEN:
        raise ProblemError(Kind.STREAM_NOT_LIVE, "Only a stream that is on air can be recorded.")
    other = await transaction.scalar(
        select(Recording.id).where(Recording.session_id == session.id, Recording.status.in_(RUNNING))
    )
    if other is not None:
        raise ProblemError(Kind.RECORDING_ACTIVE, f"Recording {other} goes on.")
    return None, session


def _request(
    transaction: AsyncSession, caller: Caller, session: StreamSession, recording_id: str, now: datetime
) -> Recording:
    recording = Recording(
        id=recording_id,
        stream_id=session.stream_id,
        session_id=session.id,
        status=RecordingStatus.REQUESTED,
        object_key=recording_key(session.stream_id, session.id, recording_id),
        error="",
        requested_by=caller.actor,
        created_at=now,
        updated_at=now,
    )
    transaction.add(recording)
    tell(transaction, recording, "recording.requested", now, caller.actor)
    return recording


async def _start_in_livekit(
    services: Services, caller: Caller, recording: Recording, room_name: str, layout: str
) -> EgressState:
    """Ask LiveKit; where it gives no answer or an error, what its list says counts. Raises as `start`."""
    try:
        return await services.livekit.start_recording(room_name, recording.object_key, layout)
    except (NotInLiveKit, ProblemError) as error:
        # Raises where LiveKit is away altogether: the intent stays, and the reconciler goes on with it.
        state = await find_by_key(services, room_name, recording.object_key)
        if state is not None:
            log.warning("recording_found_after_error", recording_id=recording.id)
            return state
        await withdraw(services, recording.id, caller.actor)
        if isinstance(error, NotInLiveKit):
            raise ProblemError(Kind.STREAM_NOT_LIVE, "LiveKit has no such room (anymore).") from error
        raise


async def _steered(
    transaction: AsyncSession, services: Services, caller: Caller, recording_id: str, *, lock: bool = False
) -> tuple[Recording, Stream]:
    """A recording and its stream, for those who steer that."""
    recording = (
        await locked(transaction, Recording.id == recording_id, lock=lock) if is_id(recording_id) else None
    )
    if recording is None:
        raise not_found()
    standing = await standing_of(transaction, caller, recording.stream_id, services.clock.now())
    require_steering(standing)
    return recording, standing.stream
