"""How a recording starts: the intent is committed first, then LiveKit is asked, then its answer is written.

An answer that does not come does not say that nothing was started. LiveKit's own list does: an object key is
of one recording only.
"""

from __future__ import annotations

from datetime import datetime

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.tables import Recording, StreamSession
from token_api.domain.object_keys import recording_key
from token_api.domain.recording_states import RUNNING
from token_api.domain.vocabulary import RecordingLayout, RecordingStatus
from token_api.livekit_api.gateway import NotInLiveKit
from token_api.livekit_api.values import EgressState
from token_api.problems import Kind, ProblemError
from token_api.use_cases.recorder import find_by_key, halt
from token_api.use_cases.recording_news import write
from token_api.use_cases.recording_rows import locked, tell, withdraw
from token_api.use_cases.services import Services
from token_api.use_cases.standing import not_found

log = structlog.get_logger()


async def running_in(transaction: AsyncSession, session_id: str) -> Recording | None:
    """The session's recording that is not over."""
    found: Recording | None = await transaction.scalar(
        select(Recording).where(Recording.session_id == session_id, Recording.status.in_(RUNNING))
    )
    return found


def request(
    transaction: AsyncSession,
    session: StreamSession,
    recording_id: str,
    layout: RecordingLayout,
    *,
    now: datetime,
    actor: str,
) -> Recording:
    """The intent to record a session in which no other recording goes on. Commit it, then `carry_out`."""
    recording = Recording(
        id=recording_id,
        stream_id=session.stream_id,
        session_id=session.id,
        status=RecordingStatus.REQUESTED,
        object_key=recording_key(session.stream_id, session.id, recording_id),
        layout=layout,
        error="",
        has_file=False,
        given_up=False,
        requested_by=actor,
        created_at=now,
        updated_at=now,
    )
    transaction.add(recording)
    tell(transaction, recording, "recording.requested", now, actor)
    return recording


async def carry_out(services: Services, recording: Recording, room_name: str, actor: str) -> Recording:
    """Have LiveKit record what was requested; the recording as it is then.

    Raises:
        ProblemError: those of LiveKit, and STREAM_NOT_LIVE where it has no such room: the intent is
            withdrawn. LIVEKIT_UNAVAILABLE where it does not say whether it started anything: the intent
            stays, and the reconciler goes on with it. NOT_FOUND: the stream was deleted meanwhile.
    """
    state = await _start_in_livekit(services, recording, room_name, actor)
    async with services.database.begin() as transaction:
        found = await locked(transaction, Recording.id == recording.id)
        if found is not None:
            await write(transaction, found, state, now=services.clock.now(), actor=actor)
            return found
    await halt(services, state.egress_id)
    raise not_found()


async def _start_in_livekit(
    services: Services, recording: Recording, room_name: str, actor: str
) -> EgressState:
    try:
        return await services.livekit.start_recording(room_name, recording.object_key, recording.layout.value)
    except (NotInLiveKit, ProblemError) as error:
        state = await find_by_key(services, room_name, recording.object_key)
        if state is not None:
            log.warning("recording_found_after_error", recording_id=recording.id)
            return state
        await withdraw(services, recording.id, actor)
        if isinstance(error, NotInLiveKit):
            raise ProblemError(Kind.STREAM_NOT_LIVE, "LiveKit has no such room (anymore).") from error
        raise
