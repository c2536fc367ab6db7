"""Those who are in a room: who they are, and what owner and team can do with them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.callers import Caller
from token_api.database.tables import Participant, Stream, StreamSession
from token_api.domain.enforcement import HELPERS
from token_api.domain.paging import Cursor, Page, after, page_of
from token_api.domain.roles import STEERING, StreamRole
from token_api.domain.vocabulary import StreamKind
from token_api.livekit_api.gateway import NotInLiveKit
from token_api.livekit_api.values import RoomParticipant, Track
from token_api.problems import Kind, ProblemError
from token_api.use_cases import enforcement, removals, seats
from token_api.use_cases.events import record
from token_api.use_cases.services import Services
from token_api.use_cases.standing import Standing, not_found, require_steering, standing_of


@dataclass(frozen=True)
class Present:
    """A participant. `role` is None for one without a row, who is about to be removed."""

    identity: str
    user_id: str | None
    name: str
    role: StreamRole | None
    joined_at: datetime
    tracks: Sequence[Track]


async def present(
    services: Services, caller: Caller, stream_id: str, cursor: Cursor | None, limit: int
) -> Page[Present]:
    """Who is in, from the first who joined: by LiveKit's list, or if LiveKit is away, by its events.

    LiveKit has no pages, so its list is requested at most once a second for all callers. The database reads
    the rows of one page.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN.
    """
    async with services.database.read() as transaction:
        standing = await standing_of(transaction, caller, stream_id, services.clock.now())
    require_steering(standing)
    if standing.session is None:
        return Page([], None)
    session = standing.session
    try:
        everyone = await services.participants.get(session.room_name, partial(_everyone, services, session))
    except ProblemError:
        found = await _page_of_rows(services, session, cursor, limit + 1)
    else:
        first = 0 if cursor is None else bisect_right(everyone, (cursor.at, cursor.id), key=_place)
        found = await _with_rows(services, session, everyone[first : first + limit + 1])
    return page_of(found, limit, lambda someone: Cursor(*_place(someone)))


async def _everyone(services: Services, session: StreamSession) -> list[RoomParticipant]:
    """All participants but LiveKit's helpers, in the order of their pages."""
    found = await services.livekit.participants(session.room_name)
    return sorted((someone for someone in found if someone.kind not in HELPERS), key=_place)


async def _with_rows(
    services: Services, session: StreamSession, found: Sequence[RoomParticipant]
) -> list[Present]:
    wanted = select(Participant).where(
        Participant.session_id == session.id,
        Participant.identity.in_([someone.identity for someone in found]),
    )
    async with services.database.read() as transaction:
        rows = {row.identity: row for row in await transaction.scalars(wanted)}
    return [_of_livekit(someone, rows.get(someone.identity)) for someone in found]


async def _page_of_rows(
    services: Services, session: StreamSession, cursor: Cursor | None, limit: int
) -> list[Present]:
    wanted = (
        select(Participant)
        .where(Participant.session_id == session.id, seats.is_present())
        .order_by(Participant.joined_at, Participant.identity)
        .limit(limit)
    )
    if cursor is not None:
        wanted = wanted.where(after(cursor, Participant.joined_at, Participant.identity))
    async with services.database.read() as transaction:
        return [_of_row(row) for row in await transaction.scalars(wanted)]


def _place(someone: Present | RoomParticipant) -> tuple[datetime, str]:
    return someone.joined_at, someone.identity


def _of_row(row: Participant) -> Present:
    joined_at = row.joined_at or row.first_issued_at
    return Present(row.identity, row.user_id, row.name, row.role, joined_at.astimezone(UTC), ())


def _of_livekit(someone: RoomParticipant, row: Participant | None) -> Present:
    return Present(
        identity=someone.identity,
        user_id=row.user_id if row is not None else None,
        name=someone.name,
        role=row.role if row is not None else None,
        joined_at=someone.joined_at,
        tracks=someone.tracks,
    )


async def remove(services: Services, caller: Caller, stream_id: str, identity: str) -> None:
    """Put somebody out. The tokens that they have are no longer good; only a ban keeps them from new ones.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN, and those of LiveKit; then the reconciler does it.
    """
    session = await _room(services, caller, stream_id)
    seen = await _seen(services, session, identity)
    async with services.database.begin() as transaction:
        now = services.clock.now()
        standing = await _steered(transaction, caller, stream_id, now)
        row = await _row(transaction, standing, identity)
        if row is None and seen is None:
            raise not_found()
        _require_below(standing, row)
        if row is not None:
            row.removed_at = now
            enforcement.demote(row)
        _record(transaction, "participant.removed", caller, standing, identity, now=now, reason="moderator")
        claimed = await removals.claim(transaction, session, seen, now) if seen is not None else None
    if claimed is not None and await removals.carry_out(services, claimed):
        services.metrics.ejections.labels("moderator").inc()
    services.participants.forget(session.room_name)


async def mute(
    services: Services, caller: Caller, stream_id: str, identity: str, track_sid: str | None
) -> Sequence[Track]:
    """Mute one of somebody's tracks, or all their audio; their tracks afterwards. They can unmute.

    Raises:
        ProblemError: NOT_FOUND where they, or the track, are not there; ROLE_FORBIDDEN, those of LiveKit.
    """
    session = await _room(services, caller, stream_id)
    seen = await _seen(services, session, identity)
    if seen is None:
        raise not_found()
    wanted = [
        track.sid
        for track in seen.tracks
        if (track.sid == track_sid if track_sid is not None else track.kind == "audio")
    ]
    if track_sid is not None and not wanted:
        raise not_found()
    try:
        for sid in wanted:
            await services.livekit.mute_track(session.room_name, identity, sid, muted=True)
    except NotInLiveKit as error:
        raise not_found() from error
    services.participants.forget(session.room_name)
    async with services.database.begin() as transaction:
        now = services.clock.now()
        standing = await _steered(transaction, caller, stream_id, now)
        _record(transaction, "participant.muted", caller, standing, identity, now=now, tracks=wanted)
    return [replace(track, muted=track.muted or track.sid in wanted) for track in seen.tracks]


async def set_role(
    services: Services, caller: Caller, stream_id: str, identity: str, role: StreamRole
) -> StreamRole:
    """Promote a viewer to guest, or make a guest a viewer again. One who is it already stays it.

    Raises:
        ProblemError: NOT_FOUND; CONFLICT for one who is neither; ROLE_FORBIDDEN; those of LiveKit: then the
            change is made, and the reconciler tells LiveKit.
    """
    await _room(services, caller, stream_id)
    async with services.database.begin() as transaction:
        now = services.clock.now()
        standing = await _steered(transaction, caller, stream_id, now)
        row = await _row(transaction, standing, identity)
        if row is None or standing.session is None:
            raise not_found()
        change_role(transaction, caller, standing.stream, row, role, now=now)
    await enforcement.tell_role(services, standing.session.room_name, identity, role)
    return role


def change_role(
    transaction: AsyncSession,
    caller: Caller,
    stream: Stream,
    row: Participant,
    role: StreamRole,
    *,
    now: datetime,
) -> None:
    """Make a viewer a guest, or a guest a viewer. In a consultation everybody with access is a guest.

    Raises:
        ProblemError: CONFLICT.
    """
    if row.role not in {StreamRole.VIEWER, StreamRole.GUEST}:
        raise ProblemError(Kind.CONFLICT, f"They are {row.role.value}; viewers and guests can be changed.")
    if row.removed_at is not None and role is StreamRole.GUEST:
        raise ProblemError(Kind.CONFLICT, "They were put out.")
    if role is StreamRole.VIEWER and stream.kind is StreamKind.CONSULTATION:
        raise ProblemError(Kind.CONFLICT, "Everybody in a consultation may publish; remove or ban them.")
    if row.role is role:
        return
    row.role = role
    row.promoted_at = now if role is StreamRole.GUEST else None
    row.permissions_reset_at = None
    event = "participant.promoted" if role is StreamRole.GUEST else "participant.demoted"
    details = {"session_id": row.session_id, "identity": row.identity, "user_id": row.user_id}
    record(
        transaction,
        now=now,
        actor=caller.actor,
        action=event,
        stream_id=stream.id,
        details=details,
        event_type=event,
    )


async def _room(services: Services, caller: Caller, stream_id: str) -> StreamSession:
    """The session of a stream that the caller steers; NOT_FOUND where it has none: nobody is in."""
    async with services.database.read() as transaction:
        standing = await standing_of(transaction, caller, stream_id, services.clock.now())
    require_steering(standing)
    if standing.session is None:
        raise not_found()
    return standing.session


async def _steered(transaction: AsyncSession, caller: Caller, stream_id: str, now: datetime) -> Standing:
    standing = await standing_of(transaction, caller, stream_id, now, lock=True)
    require_steering(standing)
    return standing


async def _row(transaction: AsyncSession, standing: Standing, identity: str) -> Participant | None:
    if standing.session is None:
        return None
    key = (standing.session.id, identity)
    return await transaction.get(Participant, key, with_for_update=True)


async def _seen(services: Services, session: StreamSession, identity: str) -> RoomParticipant | None:
    """Somebody who is in. LiveKit's helpers, such as the recorder, are nobody whom the team moderates."""
    try:
        found = await services.livekit.participant(session.room_name, identity)
    except NotInLiveKit:
        return None
    return found if found.kind not in HELPERS else None


def _require_below(standing: Standing, row: Participant | None) -> None:
    """Owner and team are put out by the host application, which takes them out of the team first."""
    if standing.is_host or row is None:
        return
    if row.role in STEERING and row.user_id != standing.user_id:
        raise ProblemError(Kind.ROLE_FORBIDDEN, "Owner and team are not put out by each other.")


def _record(
    transaction: AsyncSession,
    event: str,
    caller: Caller,
    standing: Standing,
    identity: str,
    *,
    now: datetime,
    **details: object,
) -> None:
    stream: Stream = standing.stream
    session_id = standing.session.id if standing.session is not None else None
    record(
        transaction,
        now=now,
        actor=caller.actor,
        action=event,
        stream_id=stream.id,
        details={"session_id": session_id, "identity": identity, **details},
        event_type=event,
    )
