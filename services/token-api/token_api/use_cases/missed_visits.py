"""Visits whose events were lost: written down from LiveKit's list of participants."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from token_api.database.tables import Participant, StreamSession, Visit
from token_api.domain.healing import Healing
from token_api.failures import Failures
from token_api.livekit_api.values import RoomParticipant
from token_api.use_cases import visits
from token_api.use_cases.services import Services

ACTOR = "reconciler"
# A participant who joined just now may not be in LiveKit's list yet.
_JUST_NOW = timedelta(seconds=5)
# Of a round: a full house that ends is ten thousands, and the other streams wait meanwhile.
_VISITS_AT_ONCE = 500
# In one query.
_KEYS_AT_ONCE = 500
# LiveKit may still report a leave for half a minute, with its exact time.
_LATE = timedelta(minutes=1)


async def see(services: Services, session: StreamSession, found: Sequence[RoomParticipant]) -> None:
    """Write down who joined and who left without an event.

    A failure for one of them does not keep the others from being written down.

    Raises:
        Exception: one failure, after all of them.
    """
    now = services.clock.now()
    async with services.database.read() as transaction:
        not_over = (Visit.session_id == session.id) & Visit.left_at.is_(None)
        present = {
            visit.livekit_sid: visit for visit in await transaction.scalars(select(Visit).where(not_over))
        }
        unseen = {someone.sid: someone for someone in found if someone.sid not in present}
        identities = [someone.identity for someone in unseen.values()]
        ours = await _known_by(transaction, session.id, Participant.identity, identities)
        known = await _known_by(transaction, session.id, Visit.livekit_sid, list(unseen))
    there = {someone.sid for someone in found}
    missed = [
        visits.Sighting(someone.identity, someone.sid, someone.joined_at)
        for sid, someone in unseen.items()
        if sid not in known and someone.identity in ours
    ] + [
        visits.Sighting(visit.identity, visit.livekit_sid, visit.joined_at, now)
        for visit in present.values()
        if visit.livekit_sid not in there and visit.joined_at < now - _JUST_NOW
    ]
    failures = Failures()
    for sighting in missed:
        with failures.apart("visit_not_seen", room=session.room_name, identity=sighting.identity):
            await _see_one(services, session.id, sighting, now)
    failures.raise_one()


async def _known_by(
    transaction: AsyncSession, session_id: str, column: InstrumentedAttribute[str], wanted: Sequence[str]
) -> set[str]:
    """Those of `wanted` that the table of `column` has for the session."""
    known: set[str] = set()
    for start in range(0, len(wanted), _KEYS_AT_ONCE):
        some = column.in_(wanted[start : start + _KEYS_AT_ONCE])
        known |= set(
            await transaction.scalars(select(column).where(column.class_.session_id == session_id, some))
        )
    return known


async def _see_one(services: Services, session_id: str, sighting: visits.Sighting, now: datetime) -> None:
    # It writes the audit entry, too.
    async with services.database.begin() as transaction:
        session = await transaction.get(StreamSession, session_id, with_for_update=True)
        if session is None:
            return
        await visits.see(transaction, session, sighting, now=now, actor=ACTOR)
    services.metrics.healings.labels(Healing.VISIT.value).inc()


async def end(services: Services, failures: Failures) -> None:
    """End the visits of closed sessions. No event ended them, and LiveKit no longer has their room."""
    now = services.clock.now()
    async with services.database.read() as transaction:
        forgotten = (
            await transaction.execute(
                select(Visit, StreamSession)
                .join(StreamSession, StreamSession.id == Visit.session_id)
                .where(Visit.left_at.is_(None), StreamSession.closed_at < now - _LATE)
                .limit(_VISITS_AT_ONCE)
            )
        ).all()
    for visit, session in forgotten:
        sighting = visits.Sighting(visit.identity, visit.livekit_sid, visit.joined_at, session.closed_at)
        with failures.apart("visit_not_ended", room=session.room_name, identity=visit.identity):
            await _see_one(services, session.id, sighting, now)
