"""Recordings made right against LiveKit's own lists: its events may have been lost, and recorders die."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import ColumnElement, exists, select

from token_api.database.tables import Recording, StreamSession
from token_api.domain.recorder_silence import Signs, is_gone
from token_api.domain.recording_states import FINAL, RUNNING
from token_api.domain.vocabulary import RecordingStatus, SessionState
from token_api.livekit_api.gateway import NotInLiveKit
from token_api.livekit_api.values import EgressState
from token_api.problems import Kind, ProblemError
from token_api.use_cases import auto_recording_rows, recorder, recording_rows
from token_api.use_cases.recording_news import on_egress
from token_api.use_cases.services import Services

ACTOR = "reconciler"
# How late LiveKit's answer to a start, and the first entry of its list, may be.
_PATIENCE = timedelta(seconds=60)
# LiveKit forgets what has ended after a day. Until then it is asked for the end of what was given up here.
_LATE_NEWS = timedelta(days=1)
NO_REPORT = "no recorder reported within ten minutes"
FORGOTTEN = "LiveKit does not know of it anymore"

log = structlog.get_logger()


@dataclass(frozen=True)
class _Case:
    """A recording that is not final, or was given up, its session, and what LiveKit's list has of it."""

    recording: Recording
    session: StreamSession
    state: EgressState | None

    @property
    def unwanted_at(self) -> datetime | None:
        """When somebody asked to stop it, or the session ended; None while it is to go on."""
        return _first(self.recording.stop_requested_at, self.session.closed_at)


async def reconcile(services: Services) -> int:
    """One round over all recordings that are not final, and all that LiveKit has going on; how many healed.

    One that cannot be healed keeps no other from it.

    Raises:
        ProblemError: LIVEKIT_UNAVAILABLE or LIVEKIT_ERROR, where LiveKit gives no list; nothing is changed.
    """
    if services.settings.egress_kind == "none" and not await _has_open(services):
        return 0
    going_on = await services.livekit.recordings(active=True)
    known, cases = await _read(services, going_on)
    healed = 0
    for state in going_on:
        recording = known.get(state.object_key)
        # Most are as they are known: no transaction for those.
        if recording is None or recording.status.value != state.status:
            healed += await _attempt(on_egress(services, state, ACTOR), state.egress_id)
    for case in cases:
        healed += await _attempt(_reconcile_one(services, case), case.recording.egress_id)
    return healed


async def _attempt(healing: Awaitable[bool], egress_id: str | None) -> bool:
    try:
        return await healing
    except ProblemError as error:
        log.warning("recording_not_healed", egress_id=egress_id, kind=error.kind.name)
        return False


def _is_open(services: Services) -> ColumnElement[bool]:
    """Whether there is still something to hear of a recording."""
    is_late = Recording.given_up & (Recording.ended_at > services.clock.now() - _LATE_NEWS)
    return Recording.status.in_(RUNNING) | is_late


async def _has_open(services: Services) -> bool:
    async with services.database.read() as transaction:
        return bool(await transaction.scalar(select(exists().where(_is_open(services)))))


async def _read(
    services: Services, going_on: Sequence[EgressState]
) -> tuple[dict[str, Recording], list[_Case]]:
    """What is known of those that go on, by their keys, and all cases.

    Read after LiveKit's list: a recording is committed before LiveKit is asked for it, so one in the list
    without a row is nobody's.
    """
    by_key = {state.object_key: state for state in going_on}
    async with services.database.read() as transaction:
        known = await transaction.scalars(select(Recording).where(Recording.object_key.in_(by_key)))
        rows = await transaction.execute(
            select(Recording, StreamSession)
            .join(StreamSession, StreamSession.id == Recording.session_id)
            .where(_is_open(services))
        )
        return (
            {recording.object_key: recording for recording in known},
            [_Case(recording, session, by_key.get(recording.object_key)) for recording, session in rows],
        )


async def _reconcile_one(services: Services, case: _Case) -> bool:
    recording, state, healed = case.recording, case.state, False
    if state is None:
        state = await _find(services, case)
        if state is not None:
            healed = await on_egress(services, state, ACTOR)
        elif recording.egress_id is None:
            return await _withdraw(services, recording)
    if recording.status in FINAL or (state is not None and recorder.is_over(state)):
        return healed
    await _notice_absence(services, case, state)
    if case.unwanted_at is not None and state is not None and recorder.is_going_on(state):
        healed = await _stop(services, recording.id, state.egress_id) or healed
    return await _give_up_if_silent(services, case, state) or healed


async def _find(services: Services, case: _Case) -> EgressState | None:
    recording = case.recording
    if recording.egress_id is None:
        return await recorder.find_by_key(services, case.session.room_name, recording.object_key)
    return await recorder.find_in_livekit(services, recording.egress_id)


async def _withdraw(services: Services, recording: Recording) -> bool:
    if services.clock.now() - recording.updated_at < _PATIENCE:
        return False
    await recording_rows.withdraw(services, recording.id, ACTOR)
    return True


async def _notice_absence(services: Services, case: _Case, state: EgressState | None) -> None:
    """Write down since when the recorder of an active recording is missed, or that it is back."""
    recording = case.recording
    if state is None:
        is_absent = True
    elif state.status == "active" and case.session.state is SessionState.OPEN and case.unwanted_at is None:
        is_absent = not await _is_in_room(services, case.session, state)
    else:
        # It is about to come, or to leave.
        return
    if is_absent is (recording.recorder_absent_since is not None):
        return
    async with services.database.begin() as transaction:
        found = await recording_rows.locked(transaction, Recording.id == recording.id)
        if found is not None and found.status not in FINAL:
            found.recorder_absent_since = services.clock.now() if is_absent else None


async def _is_in_room(services: Services, session: StreamSession, state: EgressState) -> bool:
    # A recorder joins under the id of its egress (livekit-server 1.13.5, `EgressService.UpdateLayout`).
    try:
        await services.livekit.participant(session.room_name, state.egress_id)
    except NotInLiveKit:
        return False
    return True


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
        return first
    if state is not None:
        return await on_egress(services, state, ACTOR) or first
    return first


async def _give_up_if_silent(services: Services, case: _Case, state: EgressState | None) -> bool:
    """End a recording whose recorder is gone. What LiveKit still says of its end replaces that."""
    async with services.database.read() as transaction:
        seen = await transaction.get(Recording, case.recording.id)
    if seen is None or not _is_silent(services, case, seen, state):
        return False
    async with services.database.begin() as transaction:
        found = await recording_rows.locked(transaction, Recording.id == seen.id)
        # Not if something was heard of it meanwhile.
        if found is None or not _is_silent(services, case, found, state):
            return False
        now = services.clock.now()
        found.status, found.given_up = RecordingStatus.ABORTED, True
        found.error = FORGOTTEN if state is None else NO_REPORT
        found.ended_at = found.updated_at = now
        recording_rows.tell(transaction, found, "recording.failed", now, ACTOR, event=True)
        if not found.stop_requested_at:
            await auto_recording_rows.resume(transaction, found.session_id, now)
        return True


def _is_silent(services: Services, case: _Case, recording: Recording, state: EgressState | None) -> bool:
    if recording.status in FINAL:
        return False
    signs = Signs(
        status=recording.status,
        changed_at=recording.updated_at,
        reported_at=state.reported_at if state is not None else None,
        unwanted_at=_first(recording.stop_requested_at, case.session.closed_at),
        absent_since=recording.recorder_absent_since,
    )
    return is_gone(signs, services.clock.now())


def _first(*moments: datetime | None) -> datetime | None:
    return min((moment for moment in moments if moment is not None), default=None)
