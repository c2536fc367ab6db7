"""Bans: who is kept out of a stream, or of all of a space, for a time or for good."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, or_, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from token_api.callers import Caller
from token_api.database.engine import wake
from token_api.database.tables import Ban, Participant, Stream, StreamSession, TeamMember
from token_api.domain.access import BanWindow, is_in_force
from token_api.domain.paging import Cursor, Page, before, page_of
from token_api.domain.room_names import identity_of
from token_api.problems import Kind, ProblemError
from token_api.use_cases.events import record
from token_api.use_cases.standing import (
    Standing,
    bans_in_force,
    is_id,
    not_found,
    relation_of,
    require_steering,
    standing_of,
)


@dataclass(frozen=True)
class NewBan:
    """Whom to keep out: of the stream, or of its `whole_space`; until then, None is for good."""

    user_id: str
    whole_space: bool
    until: datetime | None
    reason: str


async def ban(
    transaction: AsyncSession, caller: Caller, stream_id: str, new: NewBan, now: datetime
) -> tuple[Ban, bool]:
    """Ban a user, and whether that is new: one who is banned already has the ban changed.

    From the commit on they get no token. `enforcement.on_changed` is for afterwards.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN; CONFLICT for owner and team, whom only the host application
            can ban.
    """
    standing = await _steered(transaction, caller, stream_id, now, whole_space=new.whole_space)
    stream = standing.stream
    relation = await relation_of(transaction, stream, standing.session, new.user_id, now)
    if (relation.is_owner or relation.is_team) and not standing.is_host:
        raise ProblemError(
            Kind.CONFLICT,
            "They own the stream or are in its team: only the host application can ban them.",
        )
    scope = Ban.space_id == stream.space_id if new.whole_space else Ban.stream_id == stream.id
    theirs = select(Ban).where(scope, Ban.user_id == new.user_id, Ban.by_host == standing.is_host)
    in_force = _any_of(theirs.where(part) for part in bans_in_force(now))
    found = await transaction.scalar(select(in_force).limit(1))
    made = found is None
    if found is None:
        found = Ban(
            stream_id=None if new.whole_space else stream.id,
            space_id=stream.space_id if new.whole_space else None,
            user_id=new.user_id,
            banned_by=standing.user_id or "service",
            by_host=standing.is_host,
            created_at=now,
        )
        transaction.add(found)
    found.until, found.reason = new.until, new.reason
    await transaction.flush()
    # Whoever is not in at the moment is looked for, too: the token that they have is still good for LiveKit.
    rooms = (
        select(StreamSession.id)
        .join(Stream, Stream.id == StreamSession.stream_id)
        .where(StreamSession.closed_at.is_(None))
        .where(Stream.space_id == stream.space_id if new.whole_space else Stream.id == stream.id)
    )
    await transaction.execute(
        update(Participant)
        .where(Participant.session_id.in_(rooms), Participant.identity == identity_of(new.user_id))
        .values(removed_at=now)
    )
    wake(transaction, "reconciler")
    _record(transaction, "participant.banned", caller, standing, found, now=now)
    return found, made


async def lift(transaction: AsyncSession, caller: Caller, stream_id: str, ban_id: str, now: datetime) -> Ban:
    """Lift a ban. One that is over or lifted stays so. The host application's bans are its own to lift.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN.
    """
    standing = await _steered(transaction, caller, stream_id, now)
    found = await _find(transaction, standing, ban_id)
    if found.by_host and not standing.is_host:
        raise ProblemError(Kind.ROLE_FORBIDDEN, "The host application made this ban; only it can lift it.")
    _require_space(standing, await _is_team(transaction, standing), whole_space=found.space_id is not None)
    if is_in_force(BanWindow(found.until, found.lifted_at), now):
        found.lifted_at = now
        _record(transaction, "participant.unbanned", caller, standing, found, now=now)
    return found


async def get(transaction: AsyncSession, caller: Caller, stream_id: str, ban_id: str, now: datetime) -> Ban:
    """One ban that concerns a stream, also one that is over. Raises ProblemError."""
    standing = await standing_of(transaction, caller, stream_id, now)
    require_steering(standing)
    return await _find(transaction, standing, ban_id)


async def page(
    transaction: AsyncSession,
    caller: Caller,
    stream_id: str,
    now: datetime,
    *,
    cursor: Cursor | None,
    limit: int,
) -> Page[Ban]:
    """The bans in force that concern a stream, newest first. Raises ProblemError."""
    standing = await standing_of(transaction, caller, stream_id, now)
    require_steering(standing)
    newest = select(Ban).order_by(Ban.created_at.desc(), Ban.id.desc()).limit(limit + 1)
    if cursor is not None:
        newest = newest.where(before(cursor, Ban.created_at, Ban.id))
    item = _any_of(newest.where(scope, part) for scope in _scopes(standing) for part in bans_in_force(now))
    wanted = select(item).order_by(item.created_at.desc(), item.id.desc()).limit(limit + 1)
    found = (await transaction.scalars(wanted)).all()
    return page_of(found, limit, lambda item: Cursor(item.created_at, item.id))


def _any_of(parts: Iterable[Select[Ban]]) -> type[Ban]:
    """The bans that the `parts` find. Each part is asked by itself, so that an index answers it."""
    return aliased(Ban, union_all(*(select(part.subquery()) for part in parts)).subquery())


def _scopes(standing: Standing) -> tuple[ColumnElement[bool], ...]:
    """A ban that concerns a stream meets one of them: it is of the stream, or of its space."""
    return Ban.stream_id == standing.stream.id, Ban.space_id == standing.stream.space_id


async def _find(transaction: AsyncSession, standing: Standing, ban_id: str) -> Ban:
    found = (
        await transaction.scalar(select(Ban).where(Ban.id == ban_id, or_(*_scopes(standing))))
        if is_id(ban_id)
        else None
    )
    if found is None:
        raise not_found()
    return found


async def _steered(
    transaction: AsyncSession, caller: Caller, stream_id: str, now: datetime, *, whole_space: bool = False
) -> Standing:
    standing = await standing_of(transaction, caller, stream_id, now, lock=True)
    require_steering(standing)
    _require_space(standing, await _is_team(transaction, standing), whole_space=whole_space)
    return standing


async def _is_team(transaction: AsyncSession, standing: Standing) -> bool:
    key = (standing.stream.space_id, standing.user_id)
    return standing.user_id is not None and await transaction.get(TeamMember, key) is not None


def _require_space(standing: Standing, is_team: bool, *, whole_space: bool) -> None:
    if whole_space and not standing.is_host and not is_team:
        raise ProblemError(Kind.ROLE_FORBIDDEN, "Bans of a whole space are for its team.")


def _record(
    transaction: AsyncSession, event: str, caller: Caller, standing: Standing, found: Ban, *, now: datetime
) -> None:
    record(
        transaction,
        now=now,
        actor=caller.actor,
        action=event,
        stream_id=standing.stream.id,
        details={
            "ban_id": found.id,
            "user_id": found.user_id,
            "space_id": found.space_id,
            "until": found.until.isoformat() if found.until is not None else None,
        },
        event_type=event,
    )
