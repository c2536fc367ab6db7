"""Recordings of sessions, for those who steer them: started, changed, stopped, listed, fetched, deleted."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.callers import Caller
from token_api.database.columns import new_id
from token_api.database.tables import Recording, Stream, StreamSession
from token_api.domain.object_keys import file_name
from token_api.domain.paging import Cursor, Page, before, page_of
from token_api.domain.recording_states import FINAL
from token_api.domain.vocabulary import RecordingLayout, RecordingStatus, SessionState
from token_api.livekit_api.gateway import NotInLiveKit
from token_api.problems import Kind, ProblemError
from token_api.storage import presign
from token_api.storage.store import Store, store_of
from token_api.use_cases import recording_start
from token_api.use_cases.recorder import halt
from token_api.use_cases.recording_availability import require_recorder
from token_api.use_cases.recording_deletion import delete_with_file
from token_api.use_cases.recording_news import write
from token_api.use_cases.recording_rows import locked, tell
from token_api.use_cases.services import Services
from token_api.use_cases.standing import (
    is_id,
    not_found,
    require_steering,
    standing_of,
)

# Another meaning of the same key, of the same caller, makes another id.
_IDS = uuid.UUID("5d5d3f3c-2c0b-4a55-9c5f-0c4b54f4d1de")


@dataclass(frozen=True)
class Download:
    """Where a recording's file can be fetched, and until when."""

    url: str
    file_name: str
    expires_at: datetime


async def start(
    services: Services, caller: Caller, stream_id: str, layout: RecordingLayout, key: str | None
) -> Recording:
    """Have a stream's session recorded. With the same idempotency key, the same recording.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN, RECORDING_UNAVAILABLE, STREAM_NOT_LIVE, RECORDING_ACTIVE,
            NO_TRACKS, and those of LiveKit: LIVEKIT_UNAVAILABLE also where no recorder is free.
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
        recording = recording_start.request(
            transaction, session, recording_id, layout, now=services.clock.now(), actor=caller.actor
        )
    return await recording_start.carry_out(services, recording, session.room_name, caller.actor)


async def set_layout(
    services: Services, caller: Caller, recording_id: str, layout: RecordingLayout
) -> Recording:
    """Change the layout of a recording that goes on. What was recorded before stays as it is.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN, those of LiveKit; CONFLICT for a recording that has not
            begun, or is over, or is about to end. Nothing is changed then.
    """
    async with services.database.read() as transaction:
        recording, _ = await _steered(transaction, services, caller, recording_id)
    egress_id = _changeable(recording)
    # LiveKit first: if it does not take it, nothing has changed, and the caller may try again.
    try:
        await services.livekit.set_recording_layout(egress_id, layout.value)
    except NotInLiveKit as error:
        raise ProblemError(Kind.CONFLICT, "The recorder is not in the room at the moment.") from error
    async with services.database.begin() as transaction:
        found = await locked(transaction, Recording.id == recording_id)
        if found is None:
            raise not_found()
        if found.layout is not layout:
            now = services.clock.now()
            found.layout, found.updated_at = layout, now
            tell(transaction, found, "recording.layout-changed", now, caller.actor)
        return found


def _changeable(recording: Recording) -> str:
    """The egress id of a recording whose layout may change. Raises ProblemError (CONFLICT)."""
    goes_on = recording.status in {RecordingStatus.STARTING, RecordingStatus.ACTIVE}
    if recording.egress_id is None or not goes_on or recording.stop_requested_at is not None:
        state = "being stopped" if goes_on and recording.stop_requested_at else recording.status.value
        raise ProblemError(Kind.CONFLICT, f"The recording is {state}: its layout cannot be changed.")
    return recording.egress_id


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
            await write(transaction, found, state, now=services.clock.now(), actor=caller.actor)
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
            wanted = wanted.where(before(cursor, Recording.created_at, Recording.id))
        found = (await transaction.scalars(wanted)).all()
    return page_of(found, limit, lambda item: Cursor(item.created_at, item.id))


async def download(services: Services, caller: Caller, recording_id: str) -> Download:
    """Where the file of a recording can be fetched; the audit says who asked.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN, CONFLICT while there is no file, NO_STORAGE.
    """
    async with services.database.begin() as transaction:
        recording, stream = await _steered(transaction, services, caller, recording_id)
        if not recording.has_file:
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
    await delete_with_file(services, _store(services), recording, caller.actor)


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
    require_recorder(services.settings, stream_id)
    if session is None or session.state is not SessionState.OPEN:
        raise ProblemError(Kind.STREAM_NOT_LIVE, "Only a stream that is on air can be recorded.")
    other = await recording_start.running_in(transaction, session.id)
    if other is not None:
        raise ProblemError(Kind.RECORDING_ACTIVE, f"Recording {other.id} goes on.")
    return None, session


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
