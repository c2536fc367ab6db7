"""Recordings made right against LiveKit's own lists: its events may have been lost, and recorders die."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import select

from token_api.database.tables import Recording, StreamSession
from token_api.domain.recording_states import FINAL, RUNNING
from token_api.domain.vocabulary import RecordingStatus, SessionState
from token_api.livekit_api.values import EgressState
from token_api.problems import Kind, ProblemError
from token_api.use_cases import recorder, recording_rows
from token_api.use_cases.recording_news import on_egress
from token_api.use_cases.services import Services

ACTOR = "reconciler"
# How late LiveKit's answer to a start, and the first entry of its list, may be.
_PATIENCE = timedelta(seconds=60)
# A recorder that is asked to stop puts its file into the store first. One that was killed never answers,
# and LiveKit goes on saying what it said last.
STOP_PATIENCE = timedelta(minutes=10)

log = structlog.get_logger()


async def reconcile(services: Services) -> int:
    """One round over all recordings that are not final, and all that LiveKit has going on; how many healed.

    Raises:
        ProblemError: LIVEKIT_UNAVAILABLE, LIVEKIT_ERROR; what was healed before stays so.
    """
    going_on = await services.livekit.recordings(active=True)
    async with services.database.read() as transaction:
        known = {
            recording.object_key: recording
            for recording in await transaction.scalars(
                select(Recording).where(Recording.object_key.in_([state.object_key for state in going_on]))
            )
        }
        running = (
            await transaction.execute(
                select(Recording, StreamSession)
                .join(StreamSession, StreamSession.id == Recording.session_id)
                .where(Recording.status.in_(RUNNING))
            )
        ).all()
    healed = 0
    for state in going_on:
        recording = known.get(state.object_key)
        # Most are as they are known: no transaction for those.
        if recording is None or recording.status.value != state.status:
            healed += await on_egress(services, state, ACTOR)
    by_key = {state.object_key: state for state in going_on}
    for recording, session in running:
        healed += await _reconcile_one(services, recording, session, by_key.get(recording.object_key))
    return healed


async def _reconcile_one(
    services: Services, recording: Recording, session: StreamSession, state: EgressState | None
) -> bool:
    healed = False
    if state is None:
        state = await _find(services, recording, session)
        if state is None:
            return await _lost(services, recording)
        healed = await on_egress(services, state, ACTOR)
    unwanted = recording.stop_requested_at is not None or session.state is SessionState.CLOSED
    if unwanted and recorder.is_going_on(state):
        return await _stop(services, recording.id, state.egress_id)
    if state.status == "ending":
        return await _give_up_if_silent(services, recording.id)
    return healed


async def _find(services: Services, recording: Recording, session: StreamSession) -> EgressState | None:
    if recording.egress_id is None:
        return await recorder.find_by_key(services, session.room_name, recording.object_key)
    return await recorder.find_in_livekit(services, recording.egress_id)


async def _lost(services: Services, recording: Recording) -> bool:
    """LiveKit has nothing of it."""
    if services.clock.now() - recording.updated_at < _PATIENCE:
        return False
    if recording.egress_id is None:
        await recording_rows.withdraw(services, recording.id, ACTOR)
        return True
    return await _fail(services, recording.id, "LiveKit does not know of it anymore")


async def _stop(services: Services, recording_id: str, egress_id: str) -> bool:
    async with services.database.begin() as transaction:
        found = await recording_rows.locked(transaction, Recording.id == recording_id)
        if found is None or found.status in FINAL:
            return False
        now = services.clock.now()
        first = found.stop_requested_at is None
        if first:
            found.stop_requested_at = found.updated_at = now
            recording_rows.tell(transaction, found, "recording.stop-requested", now, ACTOR)
    try:
        state = await recorder.halt(services, egress_id)
    except ProblemError as error:
        if error.kind is not Kind.LIVEKIT_UNAVAILABLE:
            raise
        # LiveKit is there, for it gave its list: it is the recorder that does not answer.
        log.warning("recorder_silent", recording_id=recording_id)
        return await _give_up_if_silent(services, recording_id) or first
    if state is not None:
        return await on_egress(services, state, ACTOR) or first
    return first


async def _give_up_if_silent(services: Services, recording_id: str) -> bool:
    """End a recording whose recorder was to stop it long ago."""
    async with services.database.read() as transaction:
        found = await transaction.get(Recording, recording_id)
    if found is None or found.status in FINAL:
        return False
    since = found.stop_requested_at or found.updated_at
    if services.clock.now() - since < STOP_PATIENCE:
        return False
    return await _fail(services, recording_id, "the recorder does not answer")


async def _fail(services: Services, recording_id: str, why: str) -> bool:
    """End a recording that nothing will be heard of anymore."""
    async with services.database.begin() as transaction:
        found = await recording_rows.locked(transaction, Recording.id == recording_id)
        if found is None or found.status in FINAL:
            return False
        now = services.clock.now()
        found.status, found.error = RecordingStatus.FAILED, why
        found.ended_at = found.updated_at = now
        recording_rows.tell(transaction, found, "recording.failed", now, ACTOR, event=True)
        return True
