"""Recordings of sessions: asked for, stopped, listed. What LiveKit says of them is written down here.

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
from token_api.domain.object_keys import file_name, is_recording_key, recording_key
from token_api.domain.paging import Cursor, Page, page_of
from token_api.domain.recording_states import FINAL, RUNNING, goes_on, status_of
from token_api.domain.room_names import is_ours
from token_api.domain.vocabulary import RecordingStatus, SessionState
from token_api.livekit_api.gateway import NotInLiveKit
from token_api.livekit_api.values import EgressState
from token_api.problems import Kind, ProblemError
from token_api.storage import presign
from token_api.use_cases.events import record
from token_api.use_cases.services import Services
from token_api.use_cases.standing import (
    is_id,
    not_found,
    require_steering,
    standing_of,
)

LIVEKIT = "livekit"
# Another meaning of the same key, of the same caller, makes another id.
_IDS = uuid.UUID("5d5d3f3c-2c0b-4a55-9c5f-0c4b54f4d1de")
# LiveKit says of a recorder that was killed what it said last, for ever: it is not asked for ever.
_STRAY_FOR = timedelta(hours=1)

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
    store = presign.store_of(services.settings)
    async with services.database.begin() as transaction:
        recording, stream = await _steered(transaction, services, caller, recording_id)
        if recording.status is not RecordingStatus.COMPLETE:
            raise ProblemError(Kind.CONFLICT, f"The recording is {recording.status.value}: there is no file.")
        if store is None:
            raise ProblemError(Kind.NO_STORAGE, "This service was not told of an object store.")
        now = services.clock.now()
        tell(transaction, recording, "recording.url-given", now, caller.actor)
    name = file_name(stream.title, recording.started_at or recording.created_at)
    url = presign.address(store, recording.object_key, file_name=name)
    return Download(url, name, now + timedelta(seconds=presign.SECONDS))


async def on_egress(services: Services, state: EgressState, actor: str = LIVEKIT) -> bool:
    """Write down what LiveKit says of a recording; whether that was news. May be called any number of times.

    One that goes on although nobody here wants it (anymore) is stopped.
    """
    if not (is_ours(state.room_name) and is_recording_key(state.object_key)):
        return False
    async with services.database.begin() as transaction:
        recording = await locked(transaction, Recording.object_key == state.object_key)
        now = services.clock.now()
        changed = recording is not None and write(transaction, recording, state, now=now, actor=actor)
    if changed or not is_stray(recording, state, now):
        return changed
    return await _stop_stray(services, state, actor)


def is_stray(recording: Recording | None, state: EgressState, now: datetime) -> bool:
    """Whether LiveKit makes a recording that nobody here wants (anymore); `recording` is that of its key."""
    if not is_going_on(state):
        return False
    if recording is None:
        return state.started_at is None or now - state.started_at < _STRAY_FOR
    if recording.status in FINAL:
        return recording.ended_at is None or now - recording.ended_at < _STRAY_FOR
    return recording.egress_id != state.egress_id


async def _stop_stray(services: Services, state: EgressState, actor: str) -> bool:
    try:
        stopped = await halt(services, state.egress_id)
    except ProblemError as error:
        # Not for the event's sender to be told again: the reconciler looks each round.
        log.warning("stray_not_stopped", egress_id=state.egress_id, kind=error.kind.slug)
        return False
    if stopped is None or is_going_on(stopped):
        return False
    async with services.database.begin() as transaction:
        details = {"egress_id": state.egress_id, "room_name": state.room_name}
        record(
            transaction,
            now=services.clock.now(),
            actor=actor,
            action="recording.stray-stopped",
            details=details,
        )
    return True


async def halt(services: Services, egress_id: str) -> EgressState | None:
    """Have LiveKit stop a recording; how it is then, None where there is none. Raises ProblemError."""
    try:
        return await services.livekit.stop_recording(egress_id)
    except NotInLiveKit:
        return None
    except ProblemError as error:
        if error.kind is not Kind.LIVEKIT_ERROR:
            raise
    # It refuses to stop what is over.
    return await find_in_livekit(services, egress_id)


async def find_in_livekit(services: Services, egress_id: str) -> EgressState | None:
    """A recording as LiveKit has it. Raises ProblemError."""
    try:
        return next(iter(await services.livekit.recordings(egress_id=egress_id)), None)
    except NotInLiveKit:
        return None


def is_going_on(state: EgressState) -> bool:
    """Whether LiveKit thinks that it records, or will."""
    return state.status in {"starting", "active"}


def write(
    transaction: AsyncSession, recording: Recording, state: EgressState, *, now: datetime, actor: str
) -> bool:
    """Change a (locked) recording to what LiveKit says, if that is news; whether it was."""
    if recording.egress_id is None and recording.status not in FINAL:
        recording.egress_id = state.egress_id
    status = status_of(state.status)
    if recording.egress_id != state.egress_id or status is None or not goes_on(recording.status, status):
        return False
    begun = recording.started_at is not None
    recording.status, recording.updated_at = status, now
    if status is not RecordingStatus.STARTING and not begun:
        recording.started_at = state.started_at or (None if status in FINAL else now)
    if status in FINAL:
        recording.ended_at = state.ended_at or now
        recording.error = state.error[:500]
        recording.size_bytes, recording.duration_seconds = state.size_bytes, state.duration_seconds
    if status is RecordingStatus.STARTING:
        tell(transaction, recording, "recording.starting", now, actor)
    elif not begun and status not in {RecordingStatus.FAILED, RecordingStatus.ABORTED}:
        tell(transaction, recording, "recording.started", now, actor, event=True)
    if status is RecordingStatus.ENDING:
        tell(transaction, recording, "recording.ending", now, actor)
    if status in FINAL:
        ended = "recording.ended" if status is RecordingStatus.COMPLETE else "recording.failed"
        tell(transaction, recording, ended, now, actor, event=True)
    return True


def give_up(transaction: AsyncSession, recording: Recording, why: str, *, now: datetime, actor: str) -> None:
    """End a (locked) recording that nothing will be heard of anymore."""
    recording.status, recording.error = RecordingStatus.FAILED, why
    recording.ended_at = recording.updated_at = now
    tell(transaction, recording, "recording.failed", now, actor, event=True)


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


async def find_by_key(services: Services, room_name: str, object_key: str) -> EgressState | None:
    """The recording of a room that is made into `object_key`. Raises ProblemError."""
    found = await services.livekit.recordings(room=room_name)
    return next((state for state in found if state.object_key == object_key), None)


async def withdraw(services: Services, recording_id: str, actor: str) -> None:
    """Take back the intent to record: LiveKit started nothing. If it does later, `on_egress` stops it."""
    async with services.database.begin() as transaction:
        recording = await locked(transaction, Recording.id == recording_id)
        if recording is not None and recording.egress_id is None:
            tell(transaction, recording, "recording.withdrawn", services.clock.now(), actor)
            await transaction.delete(recording)


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


async def locked(transaction: AsyncSession, which: object, *, lock: bool = True) -> Recording | None:
    wanted = select(Recording).where(which).execution_options(populate_existing=True)  # type: ignore[arg-type]
    found: Recording | None = await transaction.scalar(wanted.with_for_update() if lock else wanted)
    return found


def tell(
    transaction: AsyncSession,
    recording: Recording,
    action: str,
    now: datetime,
    actor: str,
    *,
    event: bool = False,
) -> None:
    details = {
        "recording_id": recording.id,
        "session_id": recording.session_id,
        "status": recording.status.value,
        "error": recording.error,
        "size_bytes": recording.size_bytes,
        "duration_seconds": recording.duration_seconds,
    }
    record(
        transaction,
        now=now,
        actor=actor,
        action=action,
        stream_id=recording.stream_id,
        details=details,
        event_type=action if event else None,
    )
