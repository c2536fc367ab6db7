"""What a caller is to a stream: read in one query, decided by `domain.access`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    CompoundSelect,
    Select,
    bindparam,
    case,
    literal,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from token_api.callers import Caller, ServiceCaller
from token_api.database.columns import UtcDateTime
from token_api.database.tables import AccessGrant, Ban, Participant, Stream, StreamSession, TeamMember
from token_api.domain.access import (
    Admitted,
    BanWindow,
    GrantWindow,
    Refusal,
    Refused,
    Relation,
    decide,
    in_force_parts,
)
from token_api.domain.roles import STEERING
from token_api.domain.room_names import identity_of
from token_api.domain.vocabulary import GrantScope, StreamKind
from token_api.problems import Kind, ProblemError

_Time = ColumnElement[Any] | InstrumentedAttribute[Any]
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KINDS = {
    Refusal.NO_GRANT: (Kind.NO_GRANT, "No grant gives this user access to the stream."),
    Refusal.NOT_STARTED: (Kind.GRANT_NOT_STARTED, "The user's access begins later."),
    Refusal.EXPIRED: (Kind.GRANT_EXPIRED, "The user's access is over."),
    Refusal.CANCELLED: (Kind.GRANT_CANCELLED, "The user's access was cancelled."),
    Refusal.BANNED: (Kind.BANNED, "The user is banned."),
}


@dataclass(frozen=True)
class _Keys:
    """By what a stream and its session are known in other tables: parameters, or columns of a query."""

    stream_id: ColumnElement[str]
    space_id: ColumnElement[str]
    experience_id: ColumnElement[str]
    session_id: ColumnElement[str]


_BAN_KIND = case((Ban.by_host, "host-ban"), else_="ban")
_NOW = bindparam("now", type_=UtcDateTime)


def bans_in_force(now: datetime | ColumnElement[Any]) -> tuple[ColumnElement[bool], ...]:
    """The parts of the condition that a ban is in force at `now`."""
    return in_force_parts(Ban.until, Ban.lifted_at, now)


def _relation(
    stream: _Keys, *, of_many: bool = False, extra: Sequence[ColumnElement[Any]] = ()
) -> CompoundSelect[Any]:
    """Rows of a kind and up to three times: all that connects a user with a stream, but bans that are over.

    Args:
        of_many: all of `user_ids` at once; the last column of each row says whose it is.
        extra: further columns of each row.
    """
    no_time = null().cast(UtcDateTime)

    def rows(
        kind: ColumnElement[str],
        user: InstrumentedAttribute[Any],
        starts_at: _Time = no_time,
        ends_at: _Time = no_time,
        undone_at: _Time = no_time,
        *,
        is_theirs: ColumnElement[bool] | None = None,
    ) -> Select[Any]:
        columns: list[ColumnElement[Any]] = [
            kind.label("kind"),
            starts_at.label("starts_at"),
            ends_at.label("ends_at"),
            undone_at.label("undone_at"),
            *extra,
        ]
        if of_many:
            users: BindParameter[Any] = bindparam("user_ids", expanding=True)
            return select(*columns, user.label("user_id")).where(user.in_(users))
        return select(*columns).where(user == bindparam("user_id") if is_theirs is None else is_theirs)

    opened = [
        (AccessGrant.scope == scope) & (AccessGrant.scope_id == scope_id)
        for scope, scope_id in (
            (GrantScope.STREAM, stream.stream_id),
            (GrantScope.EXPERIENCE, stream.experience_id),
            (GrantScope.SPACE, stream.space_id),
        )
    ]
    bans = [
        rows(_BAN_KIND, Ban.user_id, no_time, Ban.until, Ban.lifted_at).where(scope, in_force)
        for scope in (Ban.stream_id == stream.stream_id, Ban.space_id == stream.space_id)
        for in_force in bans_in_force(_NOW)
    ]
    return union_all(
        rows(literal("team"), TeamMember.user_id).where(TeamMember.space_id == stream.space_id),
        rows(
            literal("grant"),
            AccessGrant.user_id,
            AccessGrant.starts_at,
            AccessGrant.expires_at,
            AccessGrant.cancelled_at,
        ).where(or_(*opened)),
        *bans,
        # By the primary key: this is asked for each token.
        rows(
            literal("promoted"), Participant.user_id, is_theirs=Participant.identity == bindparam("identity")
        ).where(Participant.session_id == stream.session_id, Participant.promoted_at.is_not(None)),
    )


def _relations_to_streams() -> CompoundSelect[Any]:
    """All that connects one user with each of `stream_ids`; the last column says with which."""
    wanted = (
        select(Stream.id, Stream.space_id, Stream.experience_id, StreamSession.id.label("session_id"))
        .outerjoin(StreamSession, (StreamSession.stream_id == Stream.id) & StreamSession.closed_at.is_(None))
        .where(Stream.id.in_(bindparam("stream_ids", expanding=True)))
        .cte()
    )
    keys = _Keys(wanted.c.id, wanted.c.space_id, wanted.c.experience_id, wanted.c.session_id)
    return _relation(keys, extra=[wanted.c.id.label("stream_id")])


def _standing() -> Select[Any]:
    """A row for each that connects a user with a stream, or one of none; stream and session are in all."""
    wanted = _STREAM.with_only_columns(
        Stream.id, Stream.space_id, Stream.experience_id, StreamSession.id.label("session_id")
    ).cte()
    relation = _relation(
        _Keys(wanted.c.id, wanted.c.space_id, wanted.c.experience_id, wanted.c.session_id)
    ).subquery()
    return _STREAM.add_columns(*relation.c).outerjoin(relation, true())


# Made once: every request asks them, and making a statement takes longer than asking it.
_GIVEN = _Keys(
    bindparam("stream_id"), bindparam("space_id"), bindparam("experience_id"), bindparam("session_id")
)
_RELATION = _relation(_GIVEN)
_RELATIONS = _relation(_GIVEN, of_many=True)
_STREAM = (
    select(Stream, StreamSession)
    .outerjoin(StreamSession, (StreamSession.stream_id == Stream.id) & StreamSession.closed_at.is_(None))
    .where(Stream.id == bindparam("stream_id"))
)
_STANDING = _standing()
_RELATIONS_TO_STREAMS = _relations_to_streams()
# What the session knows of a row may be older than a lock that was waited for.
_ANEW = {"populate_existing": True}


@dataclass(frozen=True)
class Standing:
    """A stream, its session that is not closed, and how the caller's user stands to it.

    `user_id` and `decision` are None for the host application that acts for itself.
    """

    stream: Stream
    session: StreamSession | None
    user_id: str | None
    decision: Admitted | Refused | None

    @property
    def is_host(self) -> bool:
        """Whether the host application acts for itself: it may do everything."""
        return self.user_id is None


def not_found() -> ProblemError:
    """The same for what is not there and for what the caller may not know of."""
    return ProblemError(Kind.NOT_FOUND, "There is no such thing, or not for this caller.")


def is_id(text: str) -> bool:
    """Whether `text` can be an id of ours at all."""
    return _UUID.fullmatch(text) is not None


async def find_stream(
    transaction: AsyncSession, stream_id: str, *, lock: bool = False
) -> tuple[Stream, StreamSession | None]:
    """A stream and its session that is not closed. `lock`: nobody else changes either until the commit.

    Raises:
        ProblemError: NOT_FOUND.
    """
    await _ready(transaction, stream_id, lock=lock)
    found = (
        await transaction.execute(_STREAM, {"stream_id": stream_id}, execution_options=_ANEW)
    ).one_or_none()
    if found is None:
        raise not_found()
    stream, session = found
    return stream, session


async def _ready(transaction: AsyncSession, stream_id: str, *, lock: bool) -> None:
    if not is_id(stream_id):
        raise not_found()
    if lock:
        # By itself: PostgreSQL locks no row of an outer join, and shows the session as it is after the wait.
        await transaction.execute(select(Stream.id).where(Stream.id == stream_id).with_for_update())


async def relation_of(
    transaction: AsyncSession, stream: Stream, session: StreamSession | None, user_id: str, now: datetime
) -> Relation:
    """All that connects `user_id` with `stream`, without bans that are over at `now`."""
    keys = _keys_of(stream, session)
    asked = {"user_id": user_id, "identity": identity_of(user_id), "now": now, **keys}
    rows = (await transaction.execute(_RELATION, asked)).all()
    return _relation_from(rows, stream, user_id)


async def relations_of(
    transaction: AsyncSession,
    stream: Stream,
    session: StreamSession | None,
    user_ids: Collection[str],
    now: datetime,
) -> dict[str, Relation]:
    """As `relation_of`, for each of `user_ids`, by one query. Thousands are too many for it."""
    asked = {"user_ids": list(user_ids), "now": now, **_keys_of(stream, session)}
    rows: dict[str, list[Sequence[Any]]] = {user_id: [] for user_id in user_ids}
    for *row, user_id in (await transaction.execute(_RELATIONS, asked)).all():
        rows[user_id].append(row)
    return {user_id: _relation_from(theirs, stream, user_id) for user_id, theirs in rows.items()}


async def decisions_on(
    transaction: AsyncSession, user_id: str, streams: Sequence[Stream], now: datetime
) -> dict[str, Admitted | Refused]:
    """Whether `user_id` gets into each of `streams`, by the stream's id; by one query."""
    asked = {
        "user_id": user_id,
        "identity": identity_of(user_id),
        "stream_ids": [stream.id for stream in streams],
        "now": now,
    }
    rows: dict[str, list[Sequence[Any]]] = {stream.id: [] for stream in streams}
    for *row, stream_id in (await transaction.execute(_RELATIONS_TO_STREAMS, asked)).all():
        rows[stream_id].append(row)
    return {stream.id: decide(_relation_from(rows[stream.id], stream, user_id), now) for stream in streams}


def _keys_of(stream: Stream, session: StreamSession | None) -> dict[str, str | None]:
    # NULL is equal to nothing, so None finds nothing.
    return {
        "stream_id": stream.id,
        "space_id": stream.space_id,
        "experience_id": stream.experience_id,
        "session_id": session.id if session is not None else None,
    }


def _relation_from(rows: Iterable[Sequence[Any]], stream: Stream, user_id: str) -> Relation:
    """What the rows of `_relation` say."""
    found: dict[str | None, list[Sequence[Any]]] = {}
    for kind, *times in rows:
        found.setdefault(kind, []).append(times)
    return Relation(
        is_owner=stream.owner_id == user_id,
        is_team="team" in found,
        grants=[GrantWindow(*times) for times in found.get("grant", ())],
        bans=[
            BanWindow(until, lifted_at, by_host=kind == "host-ban")
            for kind in ("ban", "host-ban")
            for _, until, lifted_at in found.get(kind, ())
        ],
        promoted="promoted" in found,
        is_consultation=stream.kind is StreamKind.CONSULTATION,
    )


async def standing_of(
    transaction: AsyncSession, caller: Caller, stream_id: str, now: datetime, *, lock: bool = False
) -> Standing:
    """How `caller` stands to a stream.

    Raises:
        ProblemError: NOT_FOUND; also for a user whom nothing connects with it. NO_GRANT if the host
            application acts on behalf of such a user: it knows the stream anyway.
    """
    user_id = caller.user_id
    if user_id is None:
        stream, session = await find_stream(transaction, stream_id, lock=lock)
        return Standing(stream, session, None, None)
    await _ready(transaction, stream_id, lock=lock)
    asked = {"stream_id": stream_id, "user_id": user_id, "identity": identity_of(user_id), "now": now}
    rows = (await transaction.execute(_STANDING, asked, execution_options=_ANEW)).all()
    if not rows:
        raise not_found()
    stream, session = rows[0][:2]
    relation = _relation_from((row[2:] for row in rows), stream, user_id)
    if not relation.exists:
        raise ProblemError(*_KINDS[Refusal.NO_GRANT]) if isinstance(caller, ServiceCaller) else not_found()
    return Standing(stream, session, user_id, decide(relation, now))


def require_steering(standing: Standing) -> None:
    """Let pass the host application, the owner, and the team. Raises ProblemError (ROLE_FORBIDDEN)."""
    if standing.is_host:
        return
    decision = standing.decision
    if not isinstance(decision, Admitted) or decision.role not in STEERING:
        raise ProblemError(Kind.ROLE_FORBIDDEN, "This is for the stream's owner and team.")


def require_admitted(standing: Standing) -> Admitted:
    """As what the user gets in. Raises ProblemError: of the kind that says why they do not."""
    if standing.decision is None:
        raise ProblemError(Kind.BAD_REQUEST, "Say for which user: X-On-Behalf-Of, beside the service key.")
    if isinstance(standing.decision, Refused):
        raise ProblemError(*_KINDS[standing.decision.reason])
    return standing.decision
