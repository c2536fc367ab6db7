"""What a caller is to a stream: read in two queries, decided by `domain.access`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, CompoundSelect, bindparam, literal, null, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.callers import Caller, ServiceCaller, UserCaller
from token_api.database.columns import UtcDateTime
from token_api.database.tables import AccessGrant, Ban, Participant, Stream, StreamSession, TeamMember
from token_api.domain.access import Admitted, BanWindow, GrantWindow, Refusal, Refused, Relation, decide
from token_api.domain.roles import STEERING
from token_api.domain.room_names import identity_of
from token_api.domain.vocabulary import GrantScope
from token_api.problems import Kind, ProblemError

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_KINDS = {
    Refusal.NO_GRANT: (Kind.NO_GRANT, "No grant gives this user access to the stream."),
    Refusal.NOT_STARTED: (Kind.GRANT_NOT_STARTED, "The user's access begins later."),
    Refusal.EXPIRED: (Kind.GRANT_EXPIRED, "The user's access is over."),
    Refusal.CANCELLED: (Kind.GRANT_CANCELLED, "The user's access was cancelled."),
    Refusal.BANNED: (Kind.BANNED, "The user is banned."),
}


def _relation() -> CompoundSelect[Any]:
    """Rows of a kind and up to three times: all that connects a user with a stream."""
    user_id: BindParameter[str] = bindparam("user_id")
    space_id: BindParameter[str] = bindparam("space_id")
    no_time = null().cast(UtcDateTime)
    opened = [
        (AccessGrant.scope == scope) & (AccessGrant.scope_id == bindparam(name))
        for scope, name in (
            (GrantScope.STREAM, "stream_id"),
            (GrantScope.EXPERIENCE, "experience_id"),
            (GrantScope.SPACE, "space_id"),
        )
    ]
    return union_all(
        select(literal("team"), no_time, no_time, no_time).where(
            TeamMember.space_id == space_id, TeamMember.user_id == user_id
        ),
        select(
            literal("grant"), AccessGrant.starts_at, AccessGrant.expires_at, AccessGrant.cancelled_at
        ).where(AccessGrant.user_id == user_id, or_(*opened)),
        select(literal("ban"), no_time, Ban.until, Ban.lifted_at).where(
            Ban.user_id == user_id, (Ban.stream_id == bindparam("stream_id")) | (Ban.space_id == space_id)
        ),
        select(literal("promoted"), no_time, no_time, no_time).where(
            Participant.session_id == bindparam("session_id"),
            Participant.identity == bindparam("identity"),
            Participant.promoted_at.is_not(None),
        ),
    )


# Made once: every request asks them, and making a statement takes longer than asking it.
_RELATION = _relation()
_STREAM = (
    select(Stream, StreamSession)
    .outerjoin(StreamSession, (StreamSession.stream_id == Stream.id) & StreamSession.closed_at.is_(None))
    .where(Stream.id == bindparam("stream_id"))
)


@dataclass(frozen=True)
class Standing:
    """A stream, its session that is not closed, and how the caller's user stands to it.

    `user_id` and `decision` are None for the host application that acts for nobody.
    """

    stream: Stream
    session: StreamSession | None
    user_id: str | None
    decision: Admitted | Refused | None
    is_service: bool


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
    if not is_id(stream_id):
        raise not_found()
    if lock:
        # By itself: PostgreSQL locks no row of an outer join, and shows the session as it is after the wait.
        await transaction.execute(select(Stream.id).where(Stream.id == stream_id).with_for_update())
    found = (
        await transaction.execute(
            _STREAM, {"stream_id": stream_id}, execution_options={"populate_existing": True}
        )
    ).one_or_none()
    if found is None:
        raise not_found()
    stream, session = found
    return stream, session


async def relation_of(
    transaction: AsyncSession, stream: Stream, session: StreamSession | None, user_id: str
) -> Relation:
    """All that connects `user_id` with `stream`."""
    rows = (
        await transaction.execute(
            _RELATION,
            {
                "user_id": user_id,
                "identity": identity_of(user_id),
                "stream_id": stream.id,
                "space_id": stream.space_id,
                # NULL is equal to nothing, so None finds nothing.
                "experience_id": stream.experience_id,
                "session_id": session.id if session is not None else None,
            },
        )
    ).all()
    kinds = {row[0] for row in rows}
    return Relation(
        is_owner=stream.owner_id == user_id,
        is_team="team" in kinds,
        grants=[GrantWindow(*row[1:]) for row in rows if row[0] == "grant"],
        bans=[BanWindow(row[2], row[3]) for row in rows if row[0] == "ban"],
        promoted="promoted" in kinds,
    )


async def standing_of(
    transaction: AsyncSession, caller: Caller, stream_id: str, now: datetime, *, lock: bool = False
) -> Standing:
    """How `caller` stands to a stream.

    Raises:
        ProblemError: NOT_FOUND; also for a user whom nothing connects with it.
    """
    stream, session = await find_stream(transaction, stream_id, lock=lock)
    user_id = caller.user_id if isinstance(caller, UserCaller) else caller.on_behalf_of
    is_service = isinstance(caller, ServiceCaller)
    if user_id is None:
        return Standing(stream, session, None, None, is_service)
    relation = await relation_of(transaction, stream, session, user_id)
    if not is_service and not relation.exists:
        raise not_found()
    return Standing(stream, session, user_id, decide(relation, now), is_service)


def require_steering(standing: Standing) -> None:
    """Let pass the host application, the owner, and the team. Raises ProblemError (ROLE_FORBIDDEN)."""
    if standing.is_service:
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
