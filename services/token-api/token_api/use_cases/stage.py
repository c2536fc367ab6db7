"""Raised hands: a viewer asks to speak, owner and team decide."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.callers import Caller
from token_api.database.columns import new_id
from token_api.database.engine import insert
from token_api.database.tables import Participant, StageRequest
from token_api.domain.paging import Cursor, Page, after, page_of
from token_api.domain.roles import StreamRole
from token_api.domain.room_names import identity_of
from token_api.domain.vocabulary import SessionState, StageRequestState
from token_api.problems import Kind, ProblemError
from token_api.use_cases import enforcement, moderation
from token_api.use_cases.events import record
from token_api.use_cases.services import Services
from token_api.use_cases.standing import (
    Standing,
    is_id,
    not_found,
    require_admitted,
    require_steering,
    standing_of,
)

# From withdrawing a request to the next one of the same user.
_PAUSE = timedelta(seconds=10)
_EVENTS = {
    StageRequestState.WITHDRAWN: "stage.withdrawn",
    StageRequestState.ACCEPTED: "stage.accepted",
    StageRequestState.DECLINED: "stage.declined",
}


async def request(
    transaction: AsyncSession, caller: Caller, stream_id: str, now: datetime
) -> tuple[StageRequest, bool]:
    """Raise a hand, and whether it was not raised yet: each has one.

    A request that was withdrawn is raised again after a pause: each leaves audit entries and webhooks.

    Raises:
        ProblemError: NOT_FOUND, or why they do not get in; STREAM_NOT_LIVE; CONFLICT for those who may
            speak already, and for those who were given no token yet; RATE_LIMITED within the pause.
    """
    standing = await standing_of(transaction, caller, stream_id, now)
    admitted = require_admitted(standing)
    session, user_id = standing.session, standing.user_id
    if session is None or session.state is not SessionState.OPEN or user_id is None:
        raise ProblemError(Kind.STREAM_NOT_LIVE, "There is no stage at the moment.")
    if admitted.role is not StreamRole.VIEWER:
        raise ProblemError(Kind.CONFLICT, f"As {admitted.role.value} they need not ask.")
    row = await transaction.get(Participant, (session.id, identity_of(user_id)))
    if row is None or row.removed_at is not None:
        raise ProblemError(Kind.CONFLICT, "Join the stream first.")
    await _require_pause(transaction, session.id, user_id, now)
    request_id = new_id()
    # Many at once are one: the partial unique index decides.
    await transaction.execute(
        insert(transaction, StageRequest)
        .values(
            id=request_id,
            session_id=session.id,
            user_id=user_id,
            state=StageRequestState.WAITING,
            created_at=now,
        )
        .on_conflict_do_nothing()
    )
    found = await transaction.scalar(
        select(StageRequest).where(
            StageRequest.session_id == session.id,
            StageRequest.user_id == user_id,
            StageRequest.state == StageRequestState.WAITING,
        )
    )
    if found is None:
        raise ProblemError(Kind.CONFLICT, "It was decided just now; ask again.")
    made = found.id == request_id
    if made:
        _record(transaction, "stage.requested", caller, standing, found, now=now)
    return found, made


async def _require_pause(transaction: AsyncSession, session_id: str, user_id: str, now: datetime) -> None:
    withdrawn_at = await transaction.scalar(
        select(func.max(StageRequest.decided_at)).where(
            StageRequest.session_id == session_id,
            StageRequest.user_id == user_id,
            StageRequest.state == StageRequestState.WITHDRAWN,
        )
    )
    if withdrawn_at is not None and now < withdrawn_at + _PAUSE:
        seconds = math.ceil((withdrawn_at + _PAUSE - now).total_seconds())
        raise ProblemError(
            Kind.RATE_LIMITED, "The last request was withdrawn just now.", {"Retry-After": str(seconds)}
        )


async def page(
    transaction: AsyncSession,
    caller: Caller,
    stream_id: str,
    now: datetime,
    *,
    state: StageRequestState,
    cursor: Cursor | None,
    limit: int,
) -> Page[StageRequest]:
    """Requests of the session that is not closed, oldest first. Raises ProblemError."""
    standing = await standing_of(transaction, caller, stream_id, now)
    require_steering(standing)
    if standing.session is None:
        return Page([], None)
    wanted = (
        select(StageRequest)
        .where(StageRequest.session_id == standing.session.id, StageRequest.state == state)
        .order_by(StageRequest.created_at, StageRequest.id)
        .limit(limit + 1)
    )
    if cursor is not None:
        wanted = wanted.where(after(cursor, StageRequest.created_at, StageRequest.id))
    found = (await transaction.scalars(wanted)).all()
    return page_of(found, limit, lambda item: Cursor(item.created_at, item.id))


async def withdraw(
    transaction: AsyncSession, caller: Caller, stream_id: str, request_id: str, now: datetime
) -> None:
    """Take one's own hand down. Raises ProblemError: NOT_FOUND; CONFLICT where it is decided."""
    standing = await standing_of(transaction, caller, stream_id, now)
    found = await _find(transaction, standing, request_id)
    if found.user_id != standing.user_id:
        require_steering(standing)
    _decide(transaction, caller, standing, found, StageRequestState.WITHDRAWN, now=now)


async def decide(
    services: Services, caller: Caller, stream_id: str, request_id: str, *, accept: bool
) -> StageRequest:
    """Accept a request, which promotes who asked, or decline it. Doing the same again changes nothing.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN, CONFLICT where it is decided otherwise, those of LiveKit.
    """
    wanted = StageRequestState.ACCEPTED if accept else StageRequestState.DECLINED
    async with services.database.begin() as transaction:
        now = services.clock.now()
        standing = await standing_of(transaction, caller, stream_id, now, lock=True)
        require_steering(standing)
        session = standing.session
        found = await _find(transaction, standing, request_id)
        if session is None:
            raise not_found()
        _decide(transaction, caller, standing, found, wanted, now=now)
        identity = identity_of(found.user_id)
        if accept:
            row = await transaction.get(Participant, (session.id, identity), with_for_update=True)
            if row is None:
                raise not_found()
            moderation.change_role(transaction, caller, standing.stream, row, StreamRole.GUEST, now=now)
    if accept:
        await enforcement.tell_role(services, session.room_name, identity, StreamRole.GUEST)
    return found


async def _find(transaction: AsyncSession, standing: Standing, request_id: str) -> StageRequest:
    found = None
    if is_id(request_id) and standing.session is not None:
        found = await transaction.scalar(
            select(StageRequest)
            .where(StageRequest.id == request_id, StageRequest.session_id == standing.session.id)
            .with_for_update()
        )
    if found is None:
        raise not_found()
    return found


def _decide(
    transaction: AsyncSession,
    caller: Caller,
    standing: Standing,
    found: StageRequest,
    state: StageRequestState,
    *,
    now: datetime,
) -> None:
    if found.state is state:
        return
    if found.state is not StageRequestState.WAITING:
        raise ProblemError(Kind.CONFLICT, f"It is {found.state.value} already.")
    found.state, found.decided_at, found.decided_by = state, now, standing.user_id or "service"
    _record(transaction, _EVENTS[state], caller, standing, found, now=now)


def _record(
    transaction: AsyncSession,
    event: str,
    caller: Caller,
    standing: Standing,
    found: StageRequest,
    *,
    now: datetime,
) -> None:
    record(
        transaction,
        now=now,
        actor=caller.actor,
        action=event,
        stream_id=standing.stream.id,
        details={"request_id": found.id, "session_id": found.session_id, "user_id": found.user_id},
        event_type=event,
    )
