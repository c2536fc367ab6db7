"""Sessions that are recorded by themselves: any replica looks at those that are due.

A session is armed in the transaction that opens it (`auto_recording_rows`), so a restart loses nothing. The
webhook of the creator's first track makes it due at once. Until then LiveKit is asked at intervals, because
the webhook may be lost. A session has one recording at a time: the request locks the stream, and a unique
index allows one unfinished recording for each session. If a recording ends early, the session is armed again.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import structlog
from sqlalchemy import func, select

from token_api.database.columns import new_id
from token_api.database.tables import AutoRecording, Recording, Stream, StreamSession
from token_api.domain.auto_recording import is_overdue, pause_after
from token_api.domain.room_names import identity_of
from token_api.domain.vocabulary import AutoRecordingState, SessionState
from token_api.livekit_api.gateway import START_RECORDING_SECONDS, TIMEOUT_SECONDS, NotInLiveKit
from token_api.problems import ProblemError
from token_api.use_cases import auto_recording_rows, recording_start
from token_api.use_cases.auto_recording_rows import ACTOR
from token_api.use_cases.recording_availability import has_recorder
from token_api.use_cases.services import Services
from token_api.use_cases.standing import find_stream

# Of a round: more wait for the next one. Each may wait for LiveKit, and is a task of its own.
_AT_ONCE = 32

# Made once: it is asked in every round.
_NEXT = select(func.min(AutoRecording.next_at)).where(AutoRecording.next_at.is_not(None))

log = structlog.get_logger()


async def look(services: Services) -> datetime | None:
    """Look at all sessions that are due; when the next one is, None if no session waits.

    One that fails keeps no other from its recording.
    """
    wanted = (
        select(AutoRecording.session_id)
        .where(AutoRecording.next_at <= services.clock.now())
        .order_by(AutoRecording.next_at)
        .limit(_AT_ONCE)
    )
    async with services.database.read() as transaction:
        # Most rounds find nothing, and have one query.
        next_at: datetime | None = await transaction.scalar(_NEXT)
        if next_at is None or next_at > services.clock.now():
            return next_at
        due = (await transaction.scalars(wanted)).all()
    outcomes = await asyncio.gather(
        *(_look_at(services, session_id) for session_id in due), return_exceptions=True
    )
    for session_id, outcome in zip(due, outcomes, strict=True):
        if isinstance(outcome, ProblemError):
            log.warning("auto_recording_waits", session_id=session_id, kind=outcome.kind.name)
        elif isinstance(outcome, BaseException):
            log.error("auto_recording_failed", session_id=session_id, exc_info=outcome)
    async with services.database.read() as transaction:
        return await transaction.scalar(_NEXT)


async def _look_at(services: Services, session_id: str) -> None:
    """Start the recording of a session if there is something to record.

    Raises:
        ProblemError: those of LiveKit. The session is due again later.
    """
    claimed = await _claim(services, session_id)
    if claimed is None:
        return
    stream, session, state = claimed
    if not has_recorder(services.settings, stream.id):
        await _give_up(services, session.id)
        return
    if state is not AutoRecordingState.WAITING and not await _publishes(services, stream, session):
        await _wait(services, session.id)
        return
    recording = await _request(services, session)
    if recording is None:
        return
    try:
        await recording_start.carry_out(services, recording, session.room_name, ACTOR)
    except ProblemError:
        await _wait_longer(services, session.id)
        raise


async def _claim(
    services: Services, session_id: str
) -> tuple[Stream, StreamSession, AutoRecordingState] | None:
    """Have a session that is due for the time that LiveKit may take; None if another replica has it."""
    lease = timedelta(seconds=START_RECORDING_SECONDS + 3 * TIMEOUT_SECONDS)
    async with services.database.begin() as transaction:
        now = services.clock.now()
        found = (
            await transaction.execute(
                select(Stream, StreamSession)
                .join(StreamSession, StreamSession.stream_id == Stream.id)
                .where(StreamSession.id == session_id)
            )
        ).one_or_none()
        row = await auto_recording_rows.locked(transaction, session_id)
        if found is None or row is None or row.next_at is None or row.next_at > now:
            return None
        row.next_at = now + lease
        return found[0], found[1], row.state


async def _give_up(services: Services, session_id: str) -> None:
    """The operator has taken the recorders away since the session was armed."""
    async with services.database.begin() as transaction:
        row = await auto_recording_rows.locked(transaction, session_id)
        if row is not None and row.next_at is not None:
            await auto_recording_rows.unavailable(transaction, row, services.clock.now())


async def _publishes(services: Services, stream: Stream, session: StreamSession) -> bool:
    """Whether the creator publishes anything."""
    try:
        creator = await services.livekit.participant(session.room_name, identity_of(stream.owner_id))
    except NotInLiveKit:
        return False
    return bool(creator.tracks)


async def _wait(services: Services, session_id: str) -> None:
    """Nothing is published yet."""
    pause = timedelta(seconds=services.settings.reconcile_seconds)
    async with services.database.begin() as transaction:
        now = services.clock.now()
        row = await auto_recording_rows.locked(transaction, session_id)
        # Not if a track was published, or the session ended, meanwhile.
        if row is None or row.next_at is None or row.state is AutoRecordingState.WAITING:
            return
        row.next_at = now + pause
        if is_overdue(row.state, row.armed_at, now):
            await auto_recording_rows.overdue(transaction, row, now)


async def _request(services: Services, session: StreamSession) -> Recording | None:
    """The intent to record the session; None if it is over, or is being recorded."""
    async with services.database.begin() as transaction:
        now = services.clock.now()
        try:
            stream, current = await find_stream(transaction, session.stream_id, lock=True)
        except ProblemError:
            # It was deleted.
            return None
        row = await auto_recording_rows.locked(transaction, session.id)
        if row is None or row.next_at is None:
            return None
        row.state = AutoRecordingState.WAITING
        if current is None or current.id != session.id or current.state is not SessionState.OPEN:
            return None
        other = await recording_start.running_in(transaction, session.id)
        if other is not None and other.egress_id is not None:
            row.state, row.next_at = AutoRecordingState.STARTED, None
            return None
        if other is not None:
            # LiveKit is being asked, or a process died over it: then the reconciler goes on.
            row.next_at = now + pause_after(1)
            return None
        return recording_start.request(
            transaction, current, new_id(), stream.record_layout, now=now, actor=ACTOR
        )


async def _wait_longer(services: Services, session_id: str) -> None:
    """LiveKit did not take the recording."""
    async with services.database.begin() as transaction:
        row = await auto_recording_rows.locked(transaction, session_id)
        if row is None or row.next_at is None:
            return
        row.attempts += 1
        row.next_at = services.clock.now() + pause_after(row.attempts)
