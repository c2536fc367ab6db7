"""Passes and teams, which the host application keeps here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.callers import ServiceCaller
from token_api.database.engine import wake
from token_api.database.tables import AccessGrant, TeamMember
from token_api.domain.access import GrantWindow
from token_api.domain.paging import Cursor, Page, before, page_of
from token_api.domain.vocabulary import GrantScope, TeamRole
from token_api.use_cases.events import record
from token_api.use_cases.standing import is_id, not_found


@dataclass(frozen=True)
class NewGrant:
    """A pass to be given. None is without bound."""

    user_id: str
    scope: GrantScope
    scope_id: str
    starts_at: datetime | None
    expires_at: datetime | None


def window_of(grant: AccessGrant) -> GrantWindow:
    """When `grant` holds."""
    return GrantWindow(grant.starts_at, grant.expires_at, grant.cancelled_at)


async def give(transaction: AsyncSession, caller: ServiceCaller, new: NewGrant, now: datetime) -> AccessGrant:
    """Give a pass. From the commit on, it lets its owner in."""
    grant = AccessGrant(
        user_id=new.user_id,
        scope=new.scope,
        scope_id=new.scope_id,
        starts_at=new.starts_at,
        expires_at=new.expires_at,
        created_at=now,
    )
    transaction.add(grant)
    await transaction.flush()
    record_grant(transaction, caller.actor, "grant.created", grant, now)
    return grant


async def cancel(
    transaction: AsyncSession, caller: ServiceCaller, grant_id: str, now: datetime
) -> AccessGrant:
    """Cancel a pass, and have those put out whom it let in. One that is cancelled stays as it is.

    Raises:
        ProblemError: NOT_FOUND.
    """
    grant = await get(transaction, grant_id, lock=True)
    if grant.cancelled_at is None:
        grant.cancelled_at = now
        record_grant(transaction, caller.actor, "grant.cancelled", grant, now)
        wake(transaction, "reconciler")
    return grant


async def get(transaction: AsyncSession, grant_id: str, *, lock: bool = False) -> AccessGrant:
    """A pass by its id. Raises ProblemError: NOT_FOUND."""
    wanted = select(AccessGrant).where(AccessGrant.id == grant_id)
    found = (
        await transaction.scalar(wanted.with_for_update() if lock else wanted) if is_id(grant_id) else None
    )
    if found is None:
        raise not_found()
    return found


async def page(
    transaction: AsyncSession,
    *,
    user_id: str | None,
    scope: GrantScope | None,
    scope_id: str | None,
    cursor: Cursor | None,
    limit: int,
) -> Page[AccessGrant]:
    """Passes, newest first; None is any."""
    wanted = (
        select(AccessGrant).order_by(AccessGrant.created_at.desc(), AccessGrant.id.desc()).limit(limit + 1)
    )
    for column, value in (
        (AccessGrant.user_id, user_id),
        (AccessGrant.scope, scope),
        (AccessGrant.scope_id, scope_id),
    ):
        if value is not None:
            wanted = wanted.where(column == value)
    if cursor is not None:
        wanted = wanted.where(before(cursor, AccessGrant.created_at, AccessGrant.id))
    found = (await transaction.scalars(wanted)).all()
    return page_of(found, limit, lambda grant: Cursor(grant.created_at, grant.id))


async def put_member(
    transaction: AsyncSession,
    caller: ServiceCaller,
    *,
    space_id: str,
    user_id: str,
    role: TeamRole,
    now: datetime,
) -> tuple[TeamMember, bool]:
    """Make a user a member of a space's team, or change their role; and whether they are new."""
    member = await transaction.get(TeamMember, (space_id, user_id), with_for_update=True)
    made = member is None
    if member is None:
        member = TeamMember(space_id=space_id, user_id=user_id, role=role, created_at=now)
        transaction.add(member)
    member.role = role
    record(
        transaction,
        now=now,
        actor=caller.actor,
        action="team.put",
        details={"space_id": space_id, "user_id": user_id, "role": role.value},
    )
    return member, made


async def members(transaction: AsyncSession, space_id: str) -> list[TeamMember]:
    """The team of a space, by user id; at most 1000, which no team has."""
    wanted = (
        select(TeamMember).where(TeamMember.space_id == space_id).order_by(TeamMember.user_id).limit(1000)
    )
    return list((await transaction.scalars(wanted)).all())


async def remove_member(
    transaction: AsyncSession, caller: ServiceCaller, space_id: str, user_id: str, now: datetime
) -> None:
    """Take a user out of a team; nothing happens where they are not in it."""
    gone = await transaction.execute(
        delete(TeamMember)
        .where(TeamMember.space_id == space_id, TeamMember.user_id == user_id)
        .returning(TeamMember.user_id)
    )
    if gone.first() is not None:
        details = {"space_id": space_id, "user_id": user_id}
        record(transaction, now=now, actor=caller.actor, action="team.removed", details=details)
        wake(transaction, "reconciler")


def record_grant(
    transaction: AsyncSession, actor: str, event: str, grant: AccessGrant, now: datetime
) -> None:
    """Write down, and tell the host, what became of a pass."""
    record(
        transaction,
        now=now,
        actor=actor,
        action=event,
        stream_id=grant.scope_id if grant.scope is GrantScope.STREAM else None,
        details={
            "grant_id": grant.id,
            "user_id": grant.user_id,
            "scope": grant.scope.value,
            "scope_id": grant.scope_id,
        },
        event_type=event,
    )
