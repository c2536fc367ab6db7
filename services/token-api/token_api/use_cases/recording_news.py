"""What LiveKit says of recordings, written down: in any order, any number of times."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.tables import AuditEntry, Recording
from token_api.domain.object_keys import ids_of, is_recording_key
from token_api.domain.recording_states import FINAL, goes_on, status_of
from token_api.domain.room_names import is_ours
from token_api.domain.vocabulary import RecordingStatus
from token_api.livekit_api.values import EgressState
from token_api.problems import ProblemError
from token_api.storage import objects
from token_api.storage.store import store_of
from token_api.use_cases import auto_recording_rows
from token_api.use_cases.events import record
from token_api.use_cases.recorder import halt, is_going_on, is_over
from token_api.use_cases.recording_rows import locked, tell
from token_api.use_cases.services import Services

LIVEKIT = "livekit"
# LiveKit says of a recorder that was killed what it said last, for ever: it is not asked for ever.
_STRAY_FOR = timedelta(hours=1)

log = structlog.get_logger()


async def on_egress(services: Services, state: EgressState, actor: str = LIVEKIT) -> bool:
    """Write down what LiveKit reports of a recording; whether that was new. It may be called repeatedly.

    An egress whose recording was deleted or withdrawn is stopped, and its file is deleted.

    Raises:
        ProblemError: the object store does not delete such a file. Call again later.
    """
    if not (is_ours(state.room_name) and is_recording_key(state.object_key)):
        return False
    async with services.database.begin() as transaction:
        recording = await locked(transaction, Recording.object_key == state.object_key)
        now = services.clock.now()
        changed = recording is not None and await write(transaction, recording, state, now=now, actor=actor)
    if recording is None and is_over(state):
        await _delete_unwanted_file(services, state)
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


async def _delete_unwanted_file(services: Services, state: EgressState) -> None:
    """Delete a file that was stored after its recording had been deleted or withdrawn.

    The audit log must say so. A database that was restored from a backup lacks recent recordings, too, and
    their files must stay.
    """
    store = store_of(services.settings)
    stream_id, recording_id = ids_of(state.object_key)
    async with services.database.read() as transaction:
        is_unwanted = await transaction.scalar(
            select(
                exists().where(
                    AuditEntry.stream_id == stream_id,
                    AuditEntry.action.in_(("recording.deleted", "recording.withdrawn")),
                    AuditEntry.details.contains(recording_id, autoescape=True),
                )
            )
        )
    if is_unwanted and store is not None:
        await objects.delete(store, state.object_key)
        log.info("unwanted_file_deleted", egress_id=state.egress_id, recording_id=recording_id)


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


async def write(
    transaction: AsyncSession, recording: Recording, state: EgressState, *, now: datetime, actor: str
) -> bool:
    """Change a (locked) recording to what LiveKit says, if that is news; whether it was."""
    if recording.egress_id is None and recording.status not in FINAL:
        recording.egress_id = state.egress_id
        await auto_recording_rows.settle(transaction, recording.session_id)
    status = status_of(state.status)
    if recording.egress_id != state.egress_id or status is None:
        return False
    if not goes_on(recording.status, status, given_up=recording.given_up):
        return False
    begun, was_given_up = recording.started_at is not None, recording.given_up
    recording.status, recording.updated_at = status, now
    recording.given_up, recording.recorder_absent_since = False, None
    if status is not RecordingStatus.STARTING and not begun:
        recording.started_at = state.started_at or (None if status in FINAL else now)
    if status in FINAL:
        _end(recording, state, now)
    if status is RecordingStatus.STARTING:
        tell(transaction, recording, "recording.starting", now, actor)
    elif not begun and status not in {RecordingStatus.FAILED, RecordingStatus.ABORTED}:
        tell(transaction, recording, "recording.started", now, actor, event=True)
    if status is RecordingStatus.ENDING:
        tell(transaction, recording, "recording.ending", now, actor)
    if status in FINAL:
        ended = "recording.ended" if status is RecordingStatus.COMPLETE else "recording.failed"
        tell(transaction, recording, ended, now, actor, event=True)
        if not (was_given_up or state.ended_on_purpose or recording.stop_requested_at):
            await auto_recording_rows.resume(transaction, recording.session_id, now)
    return True


def _end(recording: Recording, state: EgressState, now: datetime) -> None:
    recording.ended_at = state.ended_at or now
    recording.error = state.error[:500]
    recording.size_bytes, recording.duration_seconds = state.size_bytes, state.duration_seconds
    recording.has_file = state.size_bytes is not None and not state.in_backup
    if state.in_backup:
        recording.error = f"{state.error or 'the store did not take the file'}; it is in the backup store"[
            :500
        ]
