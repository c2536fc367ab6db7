"""Puts participants out of a room: whoever asks for it, LiveKit is asked once for each of them.

LiveKit's RemoveParticipant takes an identity, not a sid. If the participant leaves while LiveKit looks for
them, it repeats the request for up to 3 s (livekit-server 1.13.5: three attempts of a second each) and
removes whoever has the identity by then. This may be the same user, who is allowed to be there again.

Several requests, workers and replicas may want to put the same participant out at once. So a removal is
claimed in the database, by the sid, before LiveKit is asked; who does not get the claim does not ask. Whoever
claims it has seen the participant in the room just now, also when an earlier request failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Update, delete, or_, update
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.engine import insert
from token_api.database.tables import Removal, StreamSession
from token_api.livekit_api.gateway import TIMEOUT_SECONDS
from token_api.livekit_api.values import RoomParticipant
from token_api.problems import ProblemError
from token_api.use_cases import visits
from token_api.use_cases.services import Services

ACTOR = "enforcement"
# Longer than LiveKit is waited for. Whoever has held a claim for so long has died.
CLAIMED_FOR = timedelta(seconds=3 * TIMEOUT_SECONDS)


@dataclass(frozen=True)
class Claim:
    """The right to ask LiveKit to remove `participant`. `first`: nobody tried to remove them before."""

    session_id: str
    room_name: str
    participant: RoomParticipant
    until: datetime
    first: bool


async def claim(
    transaction: AsyncSession, session: StreamSession, participant: RoomParticipant, now: datetime
) -> Claim | None:
    """Claim the removal of somebody; None if they are removed already, or somebody else is doing it.

    Call it after `transaction` has locked all else that it needs: it keeps others from claiming until it is
    committed. After the commit, call `carry_out`.
    """
    until = now + CLAIMED_FOR
    attempts = await transaction.scalar(
        insert(transaction, Removal)
        .values(session_id=session.id, livekit_sid=participant.sid, claimed_until=until, attempts=1)
        .on_conflict_do_update(
            index_elements=["session_id", "livekit_sid"],
            set_={"claimed_until": until, "attempts": Removal.attempts + 1},
            where=Removal.done_at.is_(None)
            & or_(Removal.claimed_until.is_(None), Removal.claimed_until <= now),
        )
        .returning(Removal.attempts)
    )
    if attempts is None:
        return None
    return Claim(session.id, session.room_name, participant, until, first=attempts == 1)


async def carry_out(services: Services, claimed: Claim) -> bool:
    """Have LiveKit remove whom the claim is for, and write down that they left.

    Returns:
        Whether LiveKit removed them; False if they had left.

    Raises:
        ProblemError: as the gateway. The claim is given back then: the next sweep tries again.
    """
    someone = claimed.participant
    try:
        removed = await services.livekit.remove_participant(claimed.room_name, someone.identity)
    except ProblemError:
        async with services.database.begin() as transaction:
            await transaction.execute(_held(claimed).values(claimed_until=None))
        raise
    async with services.database.begin() as transaction:
        now = services.clock.now()
        session = await transaction.get(StreamSession, claimed.session_id, with_for_update=True)
        if session is not None:
            seen = visits.Sighting(someone.identity, someone.sid, someone.joined_at, now)
            await visits.see(transaction, session, seen, now=now, actor=ACTOR)
        await transaction.execute(_held(claimed).values(claimed_until=None, done_at=now))
    return removed


async def forget(transaction: AsyncSession, session_id: str) -> None:
    """Delete the removals of a session that is closed: LiveKit has no such room anymore."""
    await transaction.execute(delete(Removal).where(Removal.session_id == session_id))


def _held(claimed: Claim) -> Update:
    return update(Removal).where(
        Removal.session_id == claimed.session_id,
        Removal.livekit_sid == claimed.participant.sid,
        # Not if it took too long, and another has claimed it since.
        Removal.claimed_until == claimed.until,
    )
