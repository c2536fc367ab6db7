"""LiveKit's events: kept as they come, then processed, each once, whatever their order.

LiveKit drops events that it cannot deliver in time, repeats others, and tells of a leaving before the
coming. So nothing here relies on order, every effect may be had twice, and what never arrives is healed
by the reconciler, which uses the same functions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.engine import insert, wake
from token_api.database.tables import InboxClaim, Participant, StreamSession, WebhookInbox
from token_api.domain.enforcement import HELPERS
from token_api.domain.roles import StreamRole, permissions_of
from token_api.domain.room_names import is_ours
from token_api.domain.vocabulary import InboxState, SessionState
from token_api.livekit_api.events import LiveKitEvent, event_of
from token_api.livekit_api.values import EgressState
from token_api.problems import Kind, ProblemError
from token_api.use_cases import auto_recording_rows, call_rooms, sessions
from token_api.use_cases.services import Services
from token_api.use_cases.visits import Sighting, see
from token_api.webhooks import Event

ACTOR = "livekit"
# Whoever took an event has it for so long; then it is up for taking again.
LEASE = timedelta(seconds=60)
# After the n-th try, 2^n seconds and no more than a minute: the last of 8 is some three minutes later.
MAX_ATTEMPTS = 8
_LONGEST_PAUSE = timedelta(seconds=60)


class Filed(StrEnum):
    """What became of an event that came in."""

    NEW = "new"
    DUPLICATE = "duplicate"
    NOT_OURS = "not-ours"


@dataclass(frozen=True)
class Waiting:
    """Of the events that wait: when the oldest was received, and when the first is due."""

    since: datetime | None
    due_at: datetime | None

    def is_due(self, now: datetime) -> bool:
        return self.due_at is not None and self.due_at <= now

    def lag_seconds(self, now: datetime) -> float:
        """For how long the oldest event has been waiting."""
        return max(0.0, (now - self.since).total_seconds()) if self.since is not None else 0.0


# Made once: it is asked in every round.
_WAITING = select(func.min(WebhookInbox.received_at), func.min(WebhookInbox.next_at)).where(
    WebhookInbox.state == InboxState.WAITING
)


@dataclass(frozen=True)
class Reactions:
    """What others do about an event, once its own rows are committed; they too may be asked twice.

    `on_joined` is given the names of the room and of the participant; so is `on_published`, for a track that
    the participant's role does not allow, or of somebody who is unknown. `on_room_gone` is given the id of a
    stream whose session is open and whose room LiveKit removed.
    """

    on_joined: Callable[[Services, str, str], Awaitable[object]]
    on_published: Callable[[Services, str, str], Awaitable[object]]
    on_egress: Callable[[Services, EgressState], Awaitable[object]]
    on_room_gone: Callable[[Services, str], Awaitable[object]]


async def file(services: Services, event: Event, body: str) -> Filed:
    """Keep an event for the inbox worker, if it is about a room that this service made."""
    if not await _is_wanted(services, event):
        return Filed.NOT_OURS
    now = services.clock.now()
    async with services.database.begin() as transaction:
        made = await transaction.scalar(
            insert(transaction, WebhookInbox)
            .values(
                event_id=event.id,
                event_type=event.event,
                room_name=event.room_name,
                body=body,
                happened_at=datetime.fromtimestamp(event.created_at, UTC) if event.created_at else now,
                received_at=now,
                state=InboxState.WAITING,
                attempts=0,
                next_at=now,
                error="",
            )
            .on_conflict_do_nothing()
            .returning(WebhookInbox.event_id)
        )
        if made is None:
            return Filed.DUPLICATE
        wake(transaction, "inbox")
        return Filed.NEW


async def _is_wanted(services: Services, event: Event) -> bool:
    """Whether an event has an effect. A client can cause any number of the others, so they leave no row."""
    if is_ours(event.room_name):
        return event.event in _KNOWN
    return await call_rooms.concerns(services, event.room_name, event.event)


async def rooms_with_due(services: Services, limit: int, *, without: Collection[str]) -> Sequence[str]:
    """Rooms with events that are due and that no process works on, those that wait longest first.

    Args:
        without: rooms that this process works on already.
    """
    now = services.clock.now()
    wanted = (
        select(WebhookInbox.room_name)
        .outerjoin(InboxClaim, InboxClaim.room_name == WebhookInbox.room_name)
        .where(_is_due(now), WebhookInbox.room_name.not_in(without))
        .where(or_(InboxClaim.claimed_until.is_(None), InboxClaim.claimed_until <= now))
        .group_by(WebhookInbox.room_name)
        .order_by(func.min(WebhookInbox.received_at))
        .limit(limit)
    )
    async with services.database.read() as transaction:
        return [room for room in await transaction.scalars(wanted) if room is not None]


@dataclass
class RoomClaim:
    """The right to process the events of a room: one process has it at a time, so they stay in order."""

    room_name: str
    until: datetime

    def is_fresh(self, now: datetime) -> bool:
        """Whether there is time for another event before the claim has to be renewed."""
        return self.until - now > LEASE / 2


async def claim_room(services: Services, room_name: str) -> RoomClaim | None:
    """Claim a room; None if another process has it. A claim of a process that died ends with its time."""
    now = services.clock.now()
    claim = RoomClaim(room_name, now + LEASE)
    async with services.database.begin() as transaction:
        made = await transaction.scalar(
            insert(transaction, InboxClaim)
            .values(room_name=room_name, claimed_until=claim.until)
            .on_conflict_do_update(
                index_elements=["room_name"],
                set_={"claimed_until": claim.until},
                where=InboxClaim.claimed_until <= now,
            )
            .returning(InboxClaim.room_name)
        )
    return claim if made is not None else None


async def renew(services: Services, claim: RoomClaim) -> bool:
    """Have the claim for another `LEASE`. False if another process has the room by now."""
    until = services.clock.now() + LEASE
    async with services.database.begin() as transaction:
        kept = await transaction.scalar(
            update(InboxClaim).where(_is(claim)).values(claimed_until=until).returning(InboxClaim.room_name)
        )
    claim.until = until
    return kept is not None


async def release(services: Services, claim: RoomClaim) -> None:
    """Give a claim back."""
    async with services.database.begin() as transaction:
        await transaction.execute(delete(InboxClaim).where(_is(claim)))


def _is(claim: RoomClaim) -> ColumnElement[bool]:
    # By its time, too: another process may have claimed the room after this claim had ended.
    return and_(InboxClaim.room_name == claim.room_name, InboxClaim.claimed_until == claim.until)


def _is_due(now: datetime) -> ColumnElement[bool]:
    return and_(WebhookInbox.state == InboxState.WAITING, WebhookInbox.next_at <= now)


async def take(services: Services, room_name: str) -> WebhookInbox | None:
    """The first event of a room that is due; it is not due again before its lease ends.

    Only a process that has claimed the room calls this.
    """
    now = services.clock.now()
    wanted = (
        select(WebhookInbox)
        .where(_is_due(now), WebhookInbox.room_name == room_name)
        .order_by(WebhookInbox.happened_at, WebhookInbox.received_at)
        .limit(1)
    )
    async with services.database.begin() as transaction:
        found: WebhookInbox | None = await transaction.scalar(wanted)
        if found is not None:
            # Counted before the try: an event by which the process dies is parked in the end, too.
            found.attempts += 1
            found.next_at = now + LEASE
        return found


async def process(services: Services, reactions: Reactions, taken: WebhookInbox) -> None:
    """Do what an event calls for, and mark it done. Raises what goes wrong: see `put_back`."""
    event = event_of(taken.body)
    services.participants.forget(event.room_name)
    async with services.database.begin() as transaction:
        session = await _session(transaction, event.room_name)
        reaction = None
        if session is not None:
            moment = event.moment(taken.received_at)
            await _write(transaction, session, event, moment, services.clock.now())
            reaction = await _reaction(transaction, services, reactions, session, event)
        elif event.type in {"room_started", "room_finished"}:
            reaction = partial(_without_session, services, event)
        if reaction is None:
            known = session is not None and event.type in _KNOWN
            await _finish(transaction, taken, InboxState.DONE if known else InboxState.IGNORED, services)
    if reaction is None:
        return
    await reaction()
    async with services.database.begin() as transaction:
        await _finish(transaction, taken, InboxState.DONE, services)


async def put_back(services: Services, taken: WebhookInbox, error: Exception) -> InboxState:
    """Have an event tried again later; one that failed too often is parked, with its error.

    That LiveKit is away is no fault of the event.
    """
    away = isinstance(error, ProblemError) and error.kind is Kind.LIVEKIT_UNAVAILABLE
    parked = taken.attempts >= MAX_ATTEMPTS and not away
    pause = min(timedelta(seconds=2 ** min(taken.attempts, 10)), _LONGEST_PAUSE)
    state = InboxState.FAILED if parked else InboxState.WAITING
    # The type alone, but for our own: a database's error holds the statement with its values.
    text = str(error) if isinstance(error, ProblemError | ValueError) else ""
    async with services.database.begin() as transaction:
        await transaction.execute(
            update(WebhookInbox)
            .where(WebhookInbox.event_id == taken.event_id, WebhookInbox.state == InboxState.WAITING)
            .values(
                state=state,
                next_at=services.clock.now() + pause,
                error=f"{type(error).__name__}: {text}"[:500],
            )
        )
    return state


async def waiting(services: Services) -> Waiting:
    """What is still to be processed, by this replica or another."""
    async with services.database.read() as transaction:
        since, due_at = (await transaction.execute(_WAITING)).one()
    return Waiting(since, due_at)


_KNOWN = frozenset(
    {
        *("participant_joined", "participant_left", "track_published", "room_started", "room_finished"),
        *("egress_started", "egress_updated", "egress_ended"),
    }
)


async def _session(transaction: AsyncSession, room_name: str) -> StreamSession | None:
    """The session of a room, locked: what happens in one room is written one after the other."""
    found: StreamSession | None = await transaction.scalar(
        select(StreamSession).where(StreamSession.room_name == room_name).with_for_update()
    )
    return found


async def _write(
    transaction: AsyncSession, session: StreamSession, event: LiveKitEvent, happened: datetime, now: datetime
) -> None:
    participant = event.participant
    if participant is None:
        return
    if event.type in {"participant_joined", "participant_left"}:
        left = happened if event.type == "participant_left" else None
        # 1970 is how an event says nothing.
        joined = participant.joined_at if participant.joined_at.timestamp() else happened
        seen = Sighting(participant.identity, participant.sid, joined, left)
        await see(transaction, session, seen, now=now, actor=ACTOR)
    if event.type == "track_published" and session.state is SessionState.OPEN:
        known = await transaction.get(Participant, (session.id, participant.identity))
        if known is not None and known.role is StreamRole.CREATOR:
            await auto_recording_rows.published(transaction, session.id, now)


Reaction = Callable[[], Awaitable[object]]


async def _reaction(
    transaction: AsyncSession,
    services: Services,
    reactions: Reactions,
    session: StreamSession,
    event: LiveKitEvent,
) -> Reaction | None:
    """What is to be done about an event once its rows are committed; None if nothing is."""
    room, someone = event.room_name, event.participant
    if someone is not None and someone.kind in HELPERS:
        # The recorder, for example. `enforcement` lets it be there.
        return None
    match event.type:
        case "participant_joined" if someone is not None:
            return partial(reactions.on_joined, services, room, someone.identity)
        case "track_published" if someone is not None and await _is_beyond_role(transaction, session, event):
            return partial(reactions.on_published, services, room, someone.identity)
        case "room_started" | "room_finished":
            return _room_reaction(services, reactions, session, event.type)
    if event.type.startswith("egress_") and event.egress is not None:
        return partial(reactions.on_egress, services, event.egress)
    return None


def _room_reaction(
    services: Services, reactions: Reactions, session: StreamSession, event_type: str
) -> Reaction | None:
    if event_type == "room_started":
        has_ended = session.state in {SessionState.CLOSING, SessionState.CLOSED}
        return partial(services.livekit.delete_room, session.room_name) if has_ended else None
    if session.state is SessionState.OPEN:
        return partial(reactions.on_room_gone, services, session.stream_id)
    if session.state is SessionState.CLOSING:
        return partial(_room_finished, services, session.room_name, session.stream_id, session.id)
    return None


async def _is_beyond_role(transaction: AsyncSession, session: StreamSession, event: LiveKitEvent) -> bool:
    """Whether somebody publishes what their role does not allow, or is unknown: judged now, not at the next
    tick. LiveKit itself goes by permissions, which others who have its secret can give."""
    if event.participant is None:
        return False
    known = await transaction.get(Participant, (session.id, event.participant.identity))
    return known is None or event.track_source not in permissions_of(known.role).publish_sources


async def _without_session(services: Services, event: LiveKitEvent) -> None:
    """LiveKit made, or removed, a room that belongs to no session."""
    if not is_ours(event.room_name):
        await call_rooms.react(services, event.room_name, event.type)
    elif event.type == "room_started":
        await services.livekit.delete_room(event.room_name)


async def _room_finished(services: Services, room_name: str, stream_id: str, session_id: str) -> None:
    """Close a session that is closing, unless LiveKit has the room: the event is old."""
    if not await services.livekit.rooms([room_name]):
        await sessions.finish_closing(services, stream_id, session_id, ACTOR)


async def _finish(
    transaction: AsyncSession, taken: WebhookInbox, state: InboxState, services: Services
) -> None:
    values: dict[str, Any] = {"state": state, "processed_at": services.clock.now(), "error": ""}
    await transaction.execute(
        update(WebhookInbox).where(WebhookInbox.event_id == taken.event_id).values(**values)
    )
