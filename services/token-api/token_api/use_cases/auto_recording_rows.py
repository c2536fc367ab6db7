"""The rows of automatic recordings: armed, advanced by events, and settled, in transactions of others.

`use_cases.auto_recording` looks at those that are due, and asks LiveKit.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.engine import wake
from token_api.database.tables import AutoRecording, Recording, Stream, StreamSession
from token_api.domain.auto_recording import pause_before_next
from token_api.domain.recording_states import FINAL
from token_api.domain.vocabulary import AutoRecordingState, RecordingStatus, SessionState
from token_api.settings import Settings
from token_api.use_cases.events import record
from token_api.use_cases.recording_availability import has_recorder, require_recorder

# The bell of the worker that looks at what is due.
WORKER = "auto_recordings"
# What automatic recordings are requested by.
ACTOR = "auto-record"
_NO_TRACK = "nothing was published"
_NO_RECORDER = "no recorder was free"


async def arm(
    transaction: AsyncSession, settings: Settings, stream: Stream, session: StreamSession, now: datetime
) -> None:
    """Have an open session recorded if its stream is to be. A session that was armed before stays as it is.

    Args:
        transaction: has locked the stream.
    """
    if not stream.record or await transaction.get(AutoRecording, session.id) is not None:
        return
    row = AutoRecording(
        session_id=session.id,
        stream_id=stream.id,
        state=AutoRecordingState.ARMED,
        armed_at=now,
        next_at=now,
        attempts=0,
    )
    transaction.add(row)
    if has_recorder(settings, stream.id):
        wake(transaction, WORKER)
    else:
        # `record` was set while there was one.
        await unavailable(transaction, row, now)


async def follow(
    transaction: AsyncSession,
    settings: Settings,
    stream: Stream,
    session: StreamSession | None,
    now: datetime,
) -> None:
    """`stream.record` was changed: have the session that is on air recorded, or not.

    A recording that LiveKit has taken goes on.

    Args:
        transaction: has locked the stream.

    Raises:
        ProblemError: RECORDING_UNAVAILABLE.
    """
    if stream.record:
        require_recorder(settings, stream.id)
    if session is None:
        return
    if stream.record:
        # One that is opening is armed when it is open.
        if session.state is SessionState.OPEN:
            await arm(transaction, settings, stream, session, now)
        return
    row = await locked(transaction, session.id)
    if row is not None and row.state is not AutoRecordingState.STARTED:
        await transaction.delete(row)


async def published(transaction: AsyncSession, session_id: str, now: datetime) -> None:
    """The creator published a track: the recording is due, if it is armed and not over."""
    row = await locked(transaction, session_id)
    if row is None or row.next_at is None:
        return
    if row.state not in {AutoRecordingState.ARMED, AutoRecordingState.NEVER_STARTED}:
        return
    before = await _ended_recordings(transaction, row)
    row.state = AutoRecordingState.WAITING
    row.next_at = max(now, row.armed_at + pause_before_next(before)) if before else now
    wake(transaction, WORKER)


async def resume(transaction: AsyncSession, session_id: str, now: datetime) -> None:
    """Arm a session again after its recording ended early, if the session is still on air and to be recorded.

    The recorder may have been killed, or the SFU may have closed the room.
    """
    # The row is locked first. So either this query sees that the session ended, or `close` sees an armed row.
    row = await locked(transaction, session_id)
    if row is None or row.state is not AutoRecordingState.STARTED:
        return
    wanted = (
        select(StreamSession.id)
        .join(Stream, Stream.id == StreamSession.stream_id)
        .where(StreamSession.id == session_id, StreamSession.state == SessionState.OPEN, Stream.record)
    )
    if await transaction.scalar(wanted) is None:
        return
    before = await _ended_recordings(transaction, row)
    row.state, row.armed_at = AutoRecordingState.ARMED, now
    row.next_at = now + pause_before_next(before)
    wake(transaction, WORKER)


async def settle(transaction: AsyncSession, session_id: str) -> None:
    """LiveKit has taken a recording of the session, whoever asked for it: no other is started by itself."""
    await transaction.execute(
        update(AutoRecording)
        .where(AutoRecording.session_id == session_id)
        .values(state=AutoRecordingState.STARTED, next_at=None)
    )


async def unavailable(transaction: AsyncSession, row: AutoRecording, now: datetime) -> None:
    """The platform does not record (anymore). `row` is locked, or new."""
    row.next_at = None
    if row.state is not AutoRecordingState.NEVER_STARTED:
        await _never_started(transaction, row, "streams cannot be recorded here", now)


async def overdue(transaction: AsyncSession, row: AutoRecording, now: datetime) -> None:
    """Nothing was published in time. The recording still begins when something is. `row` is locked."""
    await _never_started(transaction, row, _NO_TRACK, now)


async def close(transaction: AsyncSession, session_id: str, now: datetime) -> None:
    """The session is over. The host is told if it was to be recorded, and was not."""
    row = await locked(transaction, session_id)
    if row is None or row.next_at is None:
        return
    row.next_at = None
    # One that LiveKit has not taken yet. If it does not, `withdrawn` follows.
    is_requested = exists().where(
        Recording.session_id == session_id, Recording.status == RecordingStatus.REQUESTED
    )
    if row.state is AutoRecordingState.NEVER_STARTED or await transaction.scalar(select(is_requested)):
        return
    why = _NO_TRACK if row.state is AutoRecordingState.ARMED else _NO_RECORDER
    await _never_started(transaction, row, why, now)


async def withdrawn(transaction: AsyncSession, session_id: str, now: datetime) -> None:
    """LiveKit did not take a recording of the session. If the session is over, none began."""
    row = await locked(transaction, session_id)
    if row is not None and row.state is AutoRecordingState.WAITING and row.next_at is None:
        await _never_started(transaction, row, _NO_RECORDER, now)


async def _never_started(transaction: AsyncSession, row: AutoRecording, why: str, now: datetime) -> None:
    """Tell the host that no recording began. If `next_at` is set, one may still begin.

    If a part of the session was recorded, there is nothing to report.
    """
    if await _ended_recordings(transaction, row):
        if row.next_at is None:
            row.state = AutoRecordingState.STARTED
        return
    row.state = AutoRecordingState.NEVER_STARTED
    details = {
        "recording_id": None,
        "session_id": row.session_id,
        "status": row.state.value,
        "error": why,
        "has_file": False,
        "size_bytes": None,
        "duration_seconds": None,
    }
    record(
        transaction,
        now=now,
        actor=ACTOR,
        action="recording.never-started",
        stream_id=row.stream_id,
        details=details,
        event_type="recording.never-started",
    )


async def _ended_recordings(transaction: AsyncSession, row: AutoRecording) -> int:
    """How many recordings of a session are over."""
    ended = select(func.count()).where(
        # The index begins with the stream.
        Recording.stream_id == row.stream_id,
        Recording.session_id == row.session_id,
        Recording.status.in_(FINAL),
    )
    return await transaction.scalar(ended) or 0


async def locked(transaction: AsyncSession, session_id: str) -> AutoRecording | None:
    """The row of a session, as it is now; nobody else changes it until the commit."""
    found: AutoRecording | None = await transaction.scalar(
        select(AutoRecording)
        .where(AutoRecording.session_id == session_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return found
