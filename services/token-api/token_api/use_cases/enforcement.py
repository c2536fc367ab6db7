"""Who is in a room must have the right to be: one path for bans, ended grants, and strangers.

LiveKit revokes no token, and hands out new ones to those who are in. So the right is judged again on
each change of it, whenever somebody comes in, and in every sweep; who has none is put out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.tables import Participant, Stream, StreamSession
from token_api.domain.access import Admitted, Refusal, Refused, decide
from token_api.domain.enforcement import Eject, Ejection, Known, Put, Seen, Stay, judge
from token_api.domain.roles import StreamRole, permissions_of
from token_api.domain.room_names import identity_of
from token_api.domain.vocabulary import SessionState
from token_api.failures import Failures
from token_api.livekit_api.gateway import NotInLiveKit
from token_api.livekit_api.values import RoomParticipant
from token_api.use_cases import removals, seats
from token_api.use_cases.events import record
from token_api.use_cases.removals import ACTOR
from token_api.use_cases.services import Services
from token_api.use_cases.standing import find_stream, relation_of, relations_of

# How many of a room are judged by one look into the database; a query takes some thousand values at most.
_AT_ONCE = 500

_ROLE = (
    select(Participant.role)
    .join(StreamSession, StreamSession.id == Participant.session_id)
    .where(StreamSession.room_name == bindparam("room_name"), Participant.identity == bindparam("identity"))
)

log = structlog.get_logger()


async def on_joined(services: Services, room_name: str, identity: str) -> None:
    """Somebody came into a room: put them out where they have no right to be.

    Raises:
        ProblemError: LIVEKIT_UNAVAILABLE or LIVEKIT_ERROR; doing it again does no harm.
    """
    await _look(services, room_name, identity, coming=True)


async def on_changed(services: Services, user_id: str, stream_id: str | None, space_id: str | None) -> None:
    """A user's right to a stream, or to all of a space, changed: judge it at once where they are in.

    Best effort: what fails is done by the next sweep.
    """
    wanted = (
        select(StreamSession.room_name)
        .join(Stream, Stream.id == StreamSession.stream_id)
        .join(Participant, Participant.session_id == StreamSession.id)
        .where(StreamSession.closed_at.is_(None), Participant.identity == identity_of(user_id))
        .where(Stream.id == stream_id if stream_id is not None else Stream.space_id == space_id)
    )
    async with services.database.read() as transaction:
        rooms = list((await transaction.scalars(wanted)).all())
    failures = Failures()
    for room in rooms:
        with failures.apart("not_yet_enforced", room=room, identity=identity_of(user_id)):
            await on_joined(services, room, identity_of(user_id))
    if failures.happened:
        services.wakeups.reconciler.set()


async def on_published(services: Services, room_name: str, identity: str) -> None:
    """Somebody unknown publishes, or what their role does not allow: judge them. Raises as `on_joined`."""
    await _look(services, room_name, identity, coming=False)


async def _look(services: Services, room_name: str, identity: str, *, coming: bool) -> None:
    try:
        found = await services.livekit.participant(room_name, identity)
    except NotInLiveKit:
        return
    await enforce(services, room_name, [found], coming=coming)


async def enforce(
    services: Services, room_name: str, found: Sequence[RoomParticipant], *, coming: bool = False
) -> None:
    """Judge those `found` in a room, and do what has to be done. `coming`: they came in just now.

    `found` was asked of LiveKit before this is called: whoever is in by a token of ours is known by now.
    A failure for one participant does not keep the others from being judged.

    Raises:
        ProblemError: as the gateway; one, after all of them.
    """
    failures = Failures()
    for start in range(0, len(found), _AT_ONCE):
        some = found[start : start + _AT_ONCE]
        with failures.apart("not_judged", room=room_name, participants=len(some)):
            for someone, known in await _known(services, room_name, some, coming=coming):
                with failures.apart("not_enforced", room=room_name, identity=someone.identity):
                    await _enforce_on(services, room_name, someone, known)
    failures.raise_one()


async def _enforce_on(
    services: Services, room_name: str, someone: RoomParticipant, known: Known | None
) -> None:
    verdict = judge(_seen(someone), known, services.clock.now())
    match verdict:
        case Eject():
            await _eject(services, room_name, someone, verdict.reason)
        case Put():
            await _put(services, room_name, someone, verdict)
        case Stay():
            pass


def _seen(someone: RoomParticipant) -> Seen:
    return Seen(someone.kind, someone.permissions, someone.hidden)


async def _known(
    services: Services, room_name: str, found: Sequence[RoomParticipant], *, coming: bool
) -> list[tuple[RoomParticipant, Known | None]]:
    """What we know of each; nothing is known in a room that is no open session's."""
    now = services.clock.now()
    async with services.database.read() as transaction:
        session = await _session(transaction, room_name)
        if session is None:
            # A room that is being closed, or not ours: others see to it.
            return []
        stream, _ = await find_stream(transaction, session.stream_id)
        identities = [someone.identity for someone in found]
        rows = {
            row.identity: row
            for row in await transaction.scalars(
                select(Participant).where(
                    Participant.session_id == session.id, Participant.identity.in_(identities)
                )
            )
        }
        users = {row.user_id for row in rows.values() if row.user_id is not None}
        relations = await relations_of(transaction, stream, session, users, now)
        judged: list[tuple[RoomParticipant, Known | None]] = []
        for someone in found:
            row = rows.get(someone.identity)
            if row is None:
                judged.append((someone, None))
                continue
            decision: Admitted | Refused = Admitted(row.role)
            if row.user_id is not None:
                decision = decide(relations[row.user_id], now)
            seatless = coming and await seats.is_lost(transaction, stream, row, now)
            removed = row.removed_at is not None
            judged.append((someone, Known(decision, removed, row.permissions_reset_at, seatless)))
        return judged


async def _session(transaction: AsyncSession, room_name: str, *, lock: bool = False) -> StreamSession | None:
    wanted = select(StreamSession).where(
        StreamSession.room_name == room_name,
        StreamSession.closed_at.is_(None),
        StreamSession.state != SessionState.CLOSING,
    )
    found: StreamSession | None = await transaction.scalar(wanted.with_for_update() if lock else wanted)
    return found


async def _eject(services: Services, room_name: str, someone: RoomParticipant, reason: str) -> None:
    """Record that a participant's tokens are no longer valid, then remove the participant.

    Nothing happens if the participant has left: a later visit under the same identity may have other rights.
    """
    if not await _is_still_in(services, room_name, someone):
        return
    async with services.database.begin() as transaction:
        session = await _session(transaction, room_name)
        if session is None:
            return
        now = services.clock.now()
        row = await transaction.get(Participant, (session.id, someone.identity), with_for_update=True)
        if row is not None and not await _still_holds(transaction, session, row, reason, now):
            return
        claimed = await removals.claim(transaction, session, someone, now)
        if claimed is None:
            return
        # Who comes in again after a removal, with a token from before, is not told of again and again.
        came_again = row is not None and row.removed_at is not None and someone.joined_at > row.removed_at
        if row is not None:
            row.removed_at = row.removed_at or now
            demote(row)
        if claimed.first and not came_again:
            record(
                transaction,
                now=now,
                actor=ACTOR,
                action="participant.removed",
                stream_id=session.stream_id,
                details={
                    "session_id": session.id,
                    "identity": someone.identity,
                    "user_id": row.user_id if row is not None else None,
                    "reason": reason,
                },
                event_type="participant.removed",
            )
    if await removals.carry_out(services, claimed):
        services.metrics.ejections.labels(reason).inc()
        log.info("participant_ejected", room=room_name, identity=someone.identity, reason=reason)


async def _is_still_in(services: Services, room_name: str, someone: RoomParticipant) -> bool:
    try:
        found = await services.livekit.participant(room_name, someone.identity)
    except NotInLiveKit:
        return False
    return found.sid == someone.sid


async def _still_holds(
    transaction: AsyncSession, session: StreamSession, row: Participant, reason: str, now: datetime
) -> bool:
    """Whether the reason is one still: a new token, or a new right, may have come since the judgement."""
    if reason == Ejection.UNKNOWN.value:
        return False
    if reason == Ejection.REMOVED.value:
        return row.removed_at is not None
    if reason in set(Refusal) and row.user_id is not None:
        stream, _ = await find_stream(transaction, session.stream_id)
        relation = await relation_of(transaction, stream, session, row.user_id, now)
        return isinstance(decide(relation, now), Refused)
    return True


async def _put(services: Services, room_name: str, someone: RoomParticipant, wanted: Put) -> None:
    async with services.database.begin() as transaction:
        session = await _session(transaction, room_name)
        if session is None:
            return
        now = services.clock.now()
        row = await transaction.get(Participant, (session.id, someone.identity), with_for_update=True)
        if row is None:
            return
        row.role = wanted.role
        if not wanted.excess or row.permissions_reset_at is None:
            record(
                transaction,
                now=now,
                actor=ACTOR,
                action="participant.permissions-reset" if wanted.excess else "participant.permissions-given",
                stream_id=session.stream_id,
                details={"identity": someone.identity, "role": wanted.role.value},
            )
        if wanted.excess and row.permissions_reset_at is None:
            row.permissions_reset_at = now
    await tell_role(services, room_name, someone.identity, wanted.role)


async def tell_role(services: Services, room_name: str, identity: str, role: StreamRole) -> None:
    """Have LiveKit permit what `role` allows; one who is not in gets it by their next token.

    UpdateParticipant also takes an identity and is repeated for up to 3 s until a participant has it (see
    `use_cases.removals`), and requests may overtake each other. So a request may reach a later visit with
    another role, or undo a later request. If the role has changed when LiveKit answers, it is sent again.

    Raises:
        ProblemError: as the gateway.
    """
    told: StreamRole | None = None
    while told is not role:
        try:
            await services.livekit.set_permissions(room_name, identity, permissions_of(role))
        except NotInLiveKit:
            log.info("not_in_room", room=room_name, identity=identity)
            return
        told = role
        async with services.database.read() as transaction:
            role = await transaction.scalar(_ROLE, {"room_name": room_name, "identity": identity}) or told


def demote(row: Participant) -> None:
    """A guest is a viewer again."""
    row.promoted_at = None
    if row.role is StreamRole.GUEST:
        row.role = StreamRole.VIEWER
