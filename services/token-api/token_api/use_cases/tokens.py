"""Tokens for the rooms of streams: who may have one decides `standing`, and when it ends the grant."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.callers import Caller, UserCaller
from token_api.database.tables import Stream, StreamSession
from token_api.domain.access import Admitted
from token_api.domain.roles import StreamRole
from token_api.domain.room_names import identity_of, stream_of
from token_api.domain.vocabulary import SessionState
from token_api.problems import Kind, ProblemError
from token_api.tokens import MAX_TTL_SECONDS, mint
from token_api.tokens import Participant as TokenHolder
from token_api.use_cases import seats
from token_api.use_cases.join_failures import note_refusal
from token_api.use_cases.services import Services
from token_api.use_cases.standing import not_found, require_admitted, standing_of

log = structlog.get_logger()


@dataclass(frozen=True)
class VideoToken:
    """What a client needs to join."""

    server_url: str
    participant_token: str
    room_name: str
    identity: str
    role: StreamRole
    expires_at: datetime


async def video_token(
    services: Services,
    caller: Caller,
    stream_id: str,
    *,
    ttl_seconds: int = MAX_TTL_SECONDS,
    name: str = "",
    room_name: str | None = None,
) -> VideoToken:
    """A token for the caller's user. `room_name`: only if that is the stream's room now.

    Raises:
        ProblemError: NOT_FOUND, STREAM_NOT_LIVE, ROOM_FULL, or why the user does not get in.
        sqlalchemy.exc.TimeoutError: too many others asked for seats of the stream.
    """
    ask = partial(
        _video_token, services, caller, stream_id, ttl_seconds=ttl_seconds, name=name, room_name=room_name
    )
    try:
        return await seats.in_turn(services, stream_id, lambda is_turn: ask(is_turn=is_turn))
    except ProblemError as error:
        await note_refusal(services, stream_id, error.kind)
        raise


async def _video_token(
    services: Services,
    caller: Caller,
    stream_id: str,
    *,
    ttl_seconds: int,
    name: str,
    room_name: str | None,
    is_turn: bool,
) -> VideoToken:
    async with services.database.begin() as transaction:
        now = services.clock.now()
        standing = await standing_of(transaction, caller, stream_id, now)
        admitted = require_admitted(standing)
        session, user_id = standing.session, standing.user_id
        if room_name is not None and (session is None or session.room_name != room_name):
            raise not_found()
        if session is None or session.state is not SessionState.OPEN or user_id is None:
            raise ProblemError(Kind.STREAM_NOT_LIVE, "There is no room to join at the moment.")
        lifetime = seconds_to_live(admitted, ttl_seconds, now)
        until = now + timedelta(seconds=lifetime)
        identity = identity_of(user_id)
        shown = caller.name if isinstance(caller, UserCaller) else name
        await seats.take(
            transaction,
            standing.stream,
            session,
            identity=identity,
            user_id=user_id,
            name=shown,
            role=admitted.role,
            until=until,
            now=now,
            is_turn=is_turn,
        )
    token = mint(
        services.credentials,
        TokenHolder(identity=identity, name=shown),
        room=session.room_name,
        role=admitted.role,
        ttl_seconds=lifetime,
    )
    services.metrics.tokens.labels(admitted.role.value).inc()
    log.info(
        "token_issued",
        room=session.room_name,
        identity=identity,
        role=admitted.role.value,
        ttl_seconds=lifetime,
    )
    return VideoToken(services.settings.server_url, token, session.room_name, identity, admitted.role, until)


def seconds_to_live(admitted: Admitted, wanted: int, now: datetime) -> int:
    """Seconds that a token may live: never beyond the grant that it is given for."""
    lifetime = min(wanted, MAX_TTL_SECONDS)
    if admitted.until is not None:
        lifetime = min(lifetime, int((admitted.until - now).total_seconds()))
    if lifetime < 1:
        raise ProblemError(Kind.GRANT_EXPIRED, "The user's access is over within a second.")
    return lifetime


async def token_for_room(
    services: Services, caller: Caller, room_name: str, ttl_seconds: int, *, name: str
) -> VideoToken:
    """A user's token for a room by its name, as LiveKit's standard endpoint asks. Errors as `video_token`."""
    stream_id = stream_of(room_name)
    if stream_id is None:
        raise not_found()
    return await video_token(
        services, caller, stream_id, ttl_seconds=ttl_seconds, name=name, room_name=room_name
    )


@dataclass(frozen=True)
class StreamInfo:
    """What a client shows and connects by. `viewer_count` counts viewers and guests that are in."""

    stream: Stream
    session: StreamSession | None
    role: StreamRole
    identity: str
    viewer_count: int


async def stream_info(transaction: AsyncSession, caller: Caller, stream_id: str, now: datetime) -> StreamInfo:
    """What the caller's user needs to connect. Raises ProblemError: NOT_FOUND, or why they do not get in."""
    standing = await standing_of(transaction, caller, stream_id, now)
    admitted = require_admitted(standing)
    session = standing.session
    viewers = session.viewers_now if session is not None else 0
    return StreamInfo(standing.stream, session, admitted.role, identity_of(standing.user_id or ""), viewers)
