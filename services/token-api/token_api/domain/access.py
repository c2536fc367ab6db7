"""Who gets into a stream: the one decision that tokens, chat, the sweep of a room, and lists go by.

`is_active` and `active_clause` are the same predicate, in Python and in SQL; likewise `is_in_force` and
`in_force_clause`. A property test holds them together on both databases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.orm import InstrumentedAttribute

from token_api.domain.roles import StreamRole

TimeColumn = InstrumentedAttribute[Any] | ColumnElement[Any]


class GrantStatus(StrEnum):
    """Where a grant is. It is never stored: the time decides."""

    UPCOMING = "upcoming"
    ACTIVE = "active"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Refusal(StrEnum):
    """Why somebody does not get in."""

    NO_GRANT = "no-grant"
    NOT_STARTED = "grant-not-started"
    EXPIRED = "grant-expired"
    CANCELLED = "grant-cancelled"
    BANNED = "banned"


@dataclass(frozen=True)
class GrantWindow:
    """When a grant holds: from `starts_at`, before `expires_at`; None is without bound."""

    starts_at: datetime | None
    expires_at: datetime | None
    cancelled_at: datetime | None


@dataclass(frozen=True)
class BanWindow:
    """When a ban holds: before `until` (None: for ever), unless lifted.

    `by_host`: the host application made it, so it also keeps out the stream's owner and team.
    """

    until: datetime | None
    lifted_at: datetime | None
    by_host: bool = False


@dataclass(frozen=True)
class Relation:
    """All that connects one user with one stream."""

    is_owner: bool = False
    is_team: bool = False
    grants: Sequence[GrantWindow] = ()
    bans: Sequence[BanWindow] = ()
    promoted: bool = False
    is_consultation: bool = False

    @property
    def exists(self) -> bool:
        """Whether the user may know that the stream exists."""
        return self.is_owner or self.is_team or bool(self.grants)


@dataclass(frozen=True)
class Admitted:
    """They get in as `role`, until `until` where their grants end."""

    role: StreamRole
    until: datetime | None = None


@dataclass(frozen=True)
class Refused:
    """They do not get in."""

    reason: Refusal


def status_of(grant: GrantWindow, now: datetime) -> GrantStatus:
    """Where `grant` is at `now`."""
    if grant.cancelled_at is not None:
        return GrantStatus.CANCELLED
    if grant.expires_at is not None and grant.expires_at <= now:
        return GrantStatus.EXPIRED
    if grant.starts_at is not None and grant.starts_at > now:
        return GrantStatus.UPCOMING
    return GrantStatus.ACTIVE


def is_active(grant: GrantWindow, now: datetime) -> bool:
    """Whether `grant` lets its user in at `now`."""
    return status_of(grant, now) is GrantStatus.ACTIVE


def active_clause(
    starts_at: TimeColumn, expires_at: TimeColumn, cancelled_at: TimeColumn, now: datetime
) -> ColumnElement[bool]:
    """`is_active` over columns."""
    return and_(
        cancelled_at.is_(None),
        or_(expires_at.is_(None), expires_at > now),
        or_(starts_at.is_(None), starts_at <= now),
    )


def is_in_force(ban: BanWindow, now: datetime) -> bool:
    """Whether `ban` keeps its user out at `now`."""
    return ban.lifted_at is None and (ban.until is None or ban.until > now)


def in_force_parts(
    until: TimeColumn, lifted_at: TimeColumn, now: datetime | ColumnElement[Any]
) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """`is_in_force` over columns, in parts: a ban in force meets exactly one of them.

    An index answers each part. For an OR of both, the database would read all bans that are over.
    """
    return and_(lifted_at.is_(None), until.is_(None)), and_(lifted_at.is_(None), until > now)


def in_force_clause(until: TimeColumn, lifted_at: TimeColumn, now: datetime) -> ColumnElement[bool]:
    """`is_in_force` over columns."""
    return or_(*in_force_parts(until, lifted_at, now))


def bans_that_hold(relation: Relation, now: datetime) -> list[BanWindow]:
    """The bans that keep a user so related to a stream out of it at `now`; none: they are not banned."""
    is_staff = relation.is_owner or relation.is_team
    return [ban for ban in relation.bans if is_in_force(ban, now) and (ban.by_host or not is_staff)]


def decide(relation: Relation, now: datetime) -> Admitted | Refused:
    """Whether a user so related to a stream gets into it at `now`, and as what.

    A ban by the host application keeps out everybody, any other ban everybody but owner and team. If no
    grant is active, the reason is the one that tells the user most: not started, then expired, then
    cancelled. In a consultation everybody with an active grant may publish.
    """
    if bans_that_hold(relation, now):
        return Refused(Refusal.BANNED)
    if relation.is_owner or relation.is_team:
        return Admitted(StreamRole.CREATOR if relation.is_owner else StreamRole.TEAM)
    active = [grant for grant in relation.grants if is_active(grant, now)]
    if active:
        ends = [grant.expires_at for grant in active]
        until = None if None in ends else max(end for end in ends if end is not None)
        may_publish = relation.promoted or relation.is_consultation
        return Admitted(StreamRole.GUEST if may_publish else StreamRole.VIEWER, until)
    found = {status_of(grant, now) for grant in relation.grants}
    for status, reason in (
        (GrantStatus.UPCOMING, Refusal.NOT_STARTED),
        (GrantStatus.EXPIRED, Refusal.EXPIRED),
        (GrantStatus.CANCELLED, Refusal.CANCELLED),
    ):
        if status in found:
            return Refused(reason)
    return Refused(Refusal.NO_GRANT)
