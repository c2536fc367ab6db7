"""Who is in a room, from events that come late, twice, in any order, or not at all.

LiveKit gives everybody who comes in a sid of their own; a visit is kept by it. A participant shows their
latest visit and the total of all, which each event continues. An event reads the visits next to its own, and
no others. The same events give the same rows in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.tables import Participant, StreamSession, Visit
from token_api.domain.audience import Stay
from token_api.domain.roles import SEATED, StreamRole
from token_api.use_cases import viewers
from token_api.use_cases.events import record


@dataclass(frozen=True)
class Sighting:
    """That somebody came in, and where `left_at` is given, that they left."""

    identity: str
    sid: str
    joined_at: datetime
    left_at: datetime | None = None


async def see(
    transaction: AsyncSession, session: StreamSession, seen: Sighting, *, now: datetime, actor: str
) -> Participant | None:
    """Write down a sighting; also the reconciler's. Tells the host once of each coming and of each leaving.

    The session must be locked: of two transactions about one room, each locks the session first.

    Who comes in again after they were removed, with a token from before, is removed again at once. Of that
    nothing is written down, however often they try.

    Returns:
        The participant; None for one who was never given a token, of whom nothing is written down.
    """
    # Locked: two sightings of one participant are summed up one after the other.
    participant = await transaction.scalar(
        select(Participant)
        .where(Participant.session_id == session.id, Participant.identity == seen.identity)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if participant is None:
        return None
    visit = await transaction.get(Visit, (session.id, seen.sid), populate_existing=True)
    if visit is None and participant.removed_at is not None and seen.joined_at > participant.removed_at:
        return participant
    before = None
    if visit is None:
        visit = Visit(
            session_id=session.id,
            livekit_sid=seen.sid,
            identity=seen.identity,
            joined_at=_within(session, seen.joined_at),
            counts=participant.role in SEATED,
        )
        transaction.add(visit)
        _tell(transaction, visit, participant, session.stream_id, now=now, actor=actor)
    else:
        before = Stay(visit.joined_at, visit.left_at, visit.counts)
    if seen.left_at is not None and visit.left_at is None:
        # Of what is told late, only the whole second is known in which they left; of a coming, milliseconds.
        visit.left_at = max(_within(session, seen.left_at), visit.joined_at)
        # Their seat is free at once. By the token that they have they may still come back, where one is:
        # see `enforcement.on_joined`.
        participant.reserved_until = min(participant.reserved_until, now)
        participant.watched_seconds += round((visit.left_at - visit.joined_at).total_seconds())
        _tell(transaction, visit, participant, session.stream_id, now=now, actor=actor, left=True)
    _show_latest(session, participant, visit)
    await viewers.count(transaction, session, visit, before)
    return participant


def _within(session: StreamSession, moment: datetime) -> datetime:
    """Nobody is in a room after its end. LiveKit's clock may be ahead of ours, and its events come late."""
    return moment if session.closed_at is None else min(moment, session.closed_at)


def _show_latest(session: StreamSession, participant: Participant, visit: Visit) -> None:
    """Copy the visit to its participant if it is their latest one.

    A second device of the same user replaces the first, whose leaving is told after the second's coming.
    """
    place = (visit.joined_at, visit.livekit_sid)
    if participant.joined_at is None or place >= (participant.joined_at, participant.livekit_sid or ""):
        participant.livekit_sid = visit.livekit_sid
        participant.joined_at, participant.left_at = visit.joined_at, visit.left_at
    if participant.role is StreamRole.CREATOR:
        session.creator_left_at = participant.left_at


def _tell(
    transaction: AsyncSession,
    visit: Visit,
    participant: Participant,
    stream_id: str,
    *,
    now: datetime,
    actor: str,
    left: bool = False,
) -> None:
    event = "participant.left" if left else "participant.joined"
    details = {
        "session_id": visit.session_id,
        "identity": visit.identity,
        "user_id": participant.user_id,
        "role": participant.role.value,
        "visit_id": visit.livekit_sid,
        "joined_at": visit.joined_at.isoformat(),
        "left_at": visit.left_at.isoformat() if left and visit.left_at else None,
    }
    record(
        transaction,
        now=now,
        actor=actor,
        action=event,
        stream_id=stream_id,
        details=details,
        event_type=event,
    )
