"""Streams: planned, changed, put on air and taken off it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Select, Subquery, exists, select, true, union
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from token_api.callers import Caller
from token_api.database.tables import AccessGrant, Ban, Recording, Stream, StreamSession, TeamMember
from token_api.domain.access import Admitted, Refused, in_force_clause
from token_api.domain.lifecycle import ON_AIR, Action, InvalidTransition, action_to, after
from token_api.domain.paging import Cursor, Page, before, page_of
from token_api.domain.vocabulary import (
    GrantScope,
    RecordingLayout,
    SessionState,
    StreamKind,
    StreamStatus,
)
from token_api.free_json import to_stored
from token_api.livekit_api.gateway import NotInLiveKit
from token_api.problems import Kind, ProblemError
from token_api.settings import Settings
from token_api.use_cases import auto_recording_rows, chat_bans, enforcement, sessions
from token_api.use_cases.events import record
from token_api.use_cases.recording_availability import require_recorder
from token_api.use_cases.services import Services
from token_api.use_cases.standing import Standing, decisions_on, require_steering, standing_of

# What only the host application, acting for itself, may change of a stream.
HOST_ONLY = ("experience_id", "owner_id")

log = structlog.get_logger()


@dataclass(frozen=True)
class NewStream:
    """What a new stream is to be."""

    kind: StreamKind
    title: str
    owner_id: str
    space_id: str
    experience_id: str | None
    metadata: Mapping[str, Any]
    capacity: int | None
    record: bool
    record_layout: RecordingLayout


@dataclass(frozen=True)
class Filters:
    """Which streams of those that the caller may see; None is any."""

    status: StreamStatus | None = None
    kind: StreamKind | None = None
    space_id: str | None = None
    owner_id: str | None = None
    experience_id: str | None = None


async def create(
    transaction: AsyncSession, settings: Settings, caller: Caller, new: NewStream, now: datetime
) -> Stream:
    """Plan a stream. Users do so in spaces whose team they are in, and for themselves.

    Experiences open streams to those who bought them, so only the host application says what belongs to one.

    Raises:
        ProblemError: ROLE_FORBIDDEN, BANNED, RECORDING_UNAVAILABLE.
    """
    if caller.user_id is not None:
        member = await transaction.get(TeamMember, (new.space_id, caller.user_id))
        if member is None or new.owner_id != caller.user_id:
            raise ProblemError(
                Kind.ROLE_FORBIDDEN, "Users make streams of their own, in spaces whose team they are in."
            )
        if new.experience_id is not None:
            raise _only_for_host("experience_id")
        if await _is_banned_by_host(transaction, new.space_id, caller.user_id, now):
            raise ProblemError(Kind.BANNED, "The user is banned from the space.")
    if new.record:
        require_recorder(settings, None)
    stream = Stream(
        kind=new.kind,
        title=new.title,
        owner_id=new.owner_id,
        space_id=new.space_id,
        experience_id=new.experience_id,
        details=to_stored(new.metadata),
        capacity=new.capacity,
        record=new.record,
        record_layout=new.record_layout,
        status=StreamStatus.DRAFT,
        created_at=now,
        updated_at=now,
        version=1,
    )
    transaction.add(stream)
    await transaction.flush()
    record(
        transaction,
        now=now,
        actor=caller.actor,
        action="stream.created",
        stream_id=stream.id,
        details={"kind": stream.kind.value, "owner_id": stream.owner_id, "space_id": stream.space_id},
        event_type="stream.created",
    )
    return stream


async def _is_banned_by_host(transaction: AsyncSession, space_id: str, user_id: str, now: datetime) -> bool:
    """Whether the host application bans the user from the whole space. Only such a ban includes the team."""
    in_force = in_force_clause(Ban.until, Ban.lifted_at, now)
    wanted = exists().where(Ban.space_id == space_id, Ban.user_id == user_id, Ban.by_host, in_force)
    return bool(await transaction.scalar(select(wanted)))


async def page(
    transaction: AsyncSession,
    caller: Caller,
    filters: Filters,
    *,
    cursor: Cursor | None,
    limit: int,
    now: datetime,
) -> Page[Standing]:
    """Streams that the caller may see, newest first."""
    meets = partial(_meets, filters, cursor)
    if caller.user_id is None:
        listed_for = select(Stream.id, Stream.created_at).where(*meets(Stream))
    else:
        is_sqlite = transaction.get_bind().dialect.name == "sqlite"
        listed_for = _visible(caller.user_id, meets, limit + 1, sqlite=is_sqlite)
    newest = _newest(listed_for, limit + 1)
    wanted = (
        select(Stream, StreamSession)
        .select_from(newest)
        .join(Stream, Stream.id == newest.c.id)
        .outerjoin(StreamSession, (StreamSession.stream_id == Stream.id) & StreamSession.closed_at.is_(None))
        .order_by(newest.c.created_at.desc(), newest.c.id.desc())
    )
    found = [(row[0], row[1]) for row in (await transaction.execute(wanted)).all()]
    decisions: Mapping[str, Admitted | Refused] = {}
    if caller.user_id is not None:
        decisions = await decisions_on(transaction, caller.user_id, [stream for stream, _ in found], now)
    listed = [
        Standing(stream, session, caller.user_id, decisions.get(stream.id)) for stream, session in found
    ]
    return page_of(listed, limit, lambda item: Cursor(item.stream.created_at, item.stream.id))


# What streams of a list meet, by the table or an alias of it.
_Meets = Callable[[type[Stream]], list[ColumnElement[bool]]]


def _meets(filters: Filters, cursor: Cursor | None, stream: type[Stream]) -> list[ColumnElement[bool]]:
    meets = [getattr(stream, name) == value for name, value in vars(filters).items() if value is not None]
    if cursor is not None:
        meets.append(before(cursor, stream.created_at, stream.id))
    return meets


def _newest(streams: Select[Any, Any], count: int) -> Subquery:
    """The newest `count` of `streams`, which are ids and times."""
    columns = streams.selected_columns
    return streams.order_by(columns.created_at.desc(), columns.id.desc()).limit(count).subquery()


def _visible(user_id: str, meets: _Meets, count: int, *, sqlite: bool) -> Select[Any, Any]:
    """Ids and times of streams that a user may see: the newest `count` of them, and perhaps more.

    Each part is read by an index. For an OR of all parts, the database would read everybody's streams.
    """
    streams = select(Stream.id, Stream.created_at).where(*meets(Stream))
    own = _newest(streams.where(Stream.owner_id == user_id), count)
    team = select(TeamMember.space_id.label("key")).where(TeamMember.user_id == user_id)
    spaces = union(team, _granted(user_id, GrantScope.SPACE)).subquery()
    experiences = _granted(user_id, GrantScope.EXPERIENCE).distinct().subquery()
    visible = union(
        select(own.c.id, own.c.created_at),
        _newest_of_each(spaces, "space_id", meets, count, sqlite=sqlite),
        _newest_of_each(experiences, "experience_id", meets, count, sqlite=sqlite),
        streams.where(Stream.id.in_(_granted(user_id, GrantScope.STREAM))),
    ).subquery()
    return select(visible.c.id, visible.c.created_at)


def _granted(user_id: str, scope: GrantScope) -> Select[str]:
    """The ids that a user has passes for; a pass that is over counts, too."""
    return select(AccessGrant.scope_id.label("key")).where(
        AccessGrant.user_id == user_id, AccessGrant.scope == scope
    )


def _newest_of_each(
    keys: Subquery, column: str, meets: _Meets, count: int, *, sqlite: bool
) -> Select[Any, Any]:
    """Streams with one of `keys` in `column`: ids and times of the newest `count` of each key, and no others.

    Key by key, because no database reads an index in the order of time for several keys at once.
    """
    other = aliased(Stream)
    of_key = select(other.id, other.created_at).where(getattr(other, column) == keys.c.key, *meets(other))
    newest = of_key.order_by(other.created_at.desc(), other.id.desc()).limit(count).correlate(keys)
    if sqlite:
        # It has no LATERAL.
        is_new = Stream.id.in_(newest.with_only_columns(other.id))
        return select(Stream.id, Stream.created_at).select_from(keys).join(Stream, is_new)
    each = newest.lateral()
    return select(each.c.id, each.c.created_at).select_from(keys).join(each, true())


async def change(
    services: Services,
    caller: Caller,
    stream_id: str,
    changes: Mapping[str, Any],
    status: StreamStatus | None,
) -> None:
    """Change fields, then the status as its endpoint would.

    Only the host application changes `experience_id` and `owner_id`. A former owner who is in the room is
    judged again at once: without another right to be there, they are removed. `record` also holds for the
    session that is on air: it is recorded from now on, or not if no recording has begun.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN, INVALID_TRANSITION, CONFLICT, RECORDING_UNAVAILABLE,
            LIVEKIT_UNAVAILABLE.
    """
    async with services.database.begin() as transaction:
        now = services.clock.now()
        standing = await standing_of(transaction, caller, stream_id, now, lock=True)
        require_steering(standing)
        stream = standing.stream
        former_owner = stream.owner_id
        for field in HOST_ONLY:
            if field in changes and changes[field] != getattr(stream, field) and not standing.is_host:
                raise _only_for_host(field)
        action = None
        if status is not None and status is not stream.status:
            action = action_to(status, stream.status)
            if action is None:
                raise ProblemError(Kind.INVALID_TRANSITION, f"Nobody sets the status {status.value}.")
            _after(action, stream.status)
        if "capacity" in changes and changes["capacity"] != stream.capacity and stream.status in ON_AIR:
            # LiveKit takes a room's limit once, when it is made.
            raise ProblemError(Kind.CONFLICT, "The capacity of a stream on air cannot be changed.")
        changed = _apply(stream, changes)
        if "record" in changed:
            await auto_recording_rows.follow(transaction, services.settings, stream, standing.session, now)
        if changed:
            stream.updated_at = now
            stream.version += 1
            record(
                transaction,
                now=now,
                actor=caller.actor,
                action="stream.updated",
                stream_id=stream.id,
                details={"fields": changed, "version": stream.version},
                event_type="stream.updated",
            )
        if stream.owner_id != former_owner:
            for user_id in (former_owner, stream.owner_id):
                await chat_bans.on_user(transaction, services.settings, user_id, stream.space_id, now)
    if changed and standing.session is not None and stream.status in ON_AIR:
        await _tell_room(services, stream, standing.session)
    if stream.owner_id != former_owner:
        await enforcement.on_changed(services, former_owner, stream_id, None)
    if action is not None:
        await act(services, caller, stream_id, action)


def _only_for_host(field: str) -> ProblemError:
    return ProblemError(Kind.ROLE_FORBIDDEN, f"{field} is set by the host application, acting for itself.")


def _apply(stream: Stream, changes: Mapping[str, Any]) -> list[str]:
    changed = []
    for field, value in changes.items():
        attribute = "details" if field == "metadata" else field
        new = to_stored(value) if field == "metadata" else value
        if getattr(stream, attribute) != new:
            setattr(stream, attribute, new)
            changed.append(field)
    return changed


async def _tell_room(services: Services, stream: Stream, session: StreamSession) -> None:
    """Best effort: what a room is told of its stream is made right by the reconciler."""
    try:
        await services.livekit.set_room_metadata(
            session.room_name, sessions.room_metadata(stream, stream.status)
        )
    except (ProblemError, NotInLiveKit):
        log.warning("room_not_told", stream_id=stream.id, room=session.room_name)


async def delete(
    transaction: AsyncSession, caller: Caller, stream_id: str, now: datetime, *, keeps_files: bool
) -> None:
    """Remove a stream and all that belongs to it, but for its audit entries.

    `keeps_files`: this service can delete recordings' files. Then they are deleted one by one before: a file
    that no recording names anymore would never be found again, and none is to be lost by a slip.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN, CONFLICT while it is on air, or has recordings.
    """
    standing = await standing_of(transaction, caller, stream_id, now, lock=True)
    require_steering(standing)
    if standing.stream.status in ON_AIR:
        raise ProblemError(Kind.CONFLICT, "The stream is on air; end it first.")
    if keeps_files and await transaction.scalar(select(exists().where(Recording.stream_id == stream_id))):
        raise ProblemError(Kind.CONFLICT, "The stream has recordings; delete them first.")
    record(
        transaction,
        now=now,
        actor=caller.actor,
        action="stream.deleted",
        stream_id=stream_id,
        event_type="stream.deleted",
    )
    await transaction.delete(standing.stream)


async def act(services: Services, caller: Caller, stream_id: str, action: Action) -> None:
    """Do `action`. One that is already done changes nothing; many at once are as one.

    Raises:
        ProblemError: NOT_FOUND, ROLE_FORBIDDEN, INVALID_TRANSITION, CONFLICT, and those of LiveKit.
    """
    async with services.locks.hold(stream_id):
        match action:
            case Action.GO_LIVE:
                await _go_live(services, caller, stream_id)
            case Action.END:
                await _end(services, caller, stream_id)
            case Action.PAUSE | Action.RESUME:
                await _pause_or_resume(services, caller, stream_id, action)


async def _go_live(services: Services, caller: Caller, stream_id: str) -> None:
    async with services.database.begin() as transaction:
        now = services.clock.now()
        standing = await _steered(transaction, caller, stream_id, now)
        stream, session = standing.stream, standing.session
        if session is None:
            _after(Action.GO_LIVE, stream.status)
            session = sessions.begin_opening(transaction, stream, now)
        elif session.state is SessionState.CLOSING:
            raise ProblemError(Kind.INVALID_TRANSITION, "The stream is ending.")
        elif session.state is SessionState.OPEN:
            _after(Action.GO_LIVE, stream.status)
            return
    await services.livekit.create_room(sessions.new_room(stream, session))
    try:
        await sessions.finish_opening(services, session, caller.actor)
    except ProblemError as error:
        if error.kind in {Kind.NOT_FOUND, Kind.CONFLICT}:
            await services.livekit.delete_room(session.room_name)
        raise


async def _end(services: Services, caller: Caller, stream_id: str) -> None:
    async with services.database.begin() as transaction:
        standing = await _steered(transaction, caller, stream_id, services.clock.now())
        if _after(Action.END, standing.stream.status) is standing.stream.status:
            return
        session = standing.session
        if session is None:
            raise ProblemError(Kind.CONFLICT, "The stream has no session.")
        sessions.begin_closing(session)
    await services.livekit.delete_room(session.room_name)
    await sessions.finish_closing(services, stream_id, session.id, caller.actor)


async def _pause_or_resume(services: Services, caller: Caller, stream_id: str, action: Action) -> None:
    async with services.database.read() as transaction:
        standing = await _steered(transaction, caller, stream_id, services.clock.now(), lock=False)
        wanted = _on_air(standing, action)
    if wanted is standing.stream.status or standing.session is None:
        return
    # LiveKit first: where it is away, nothing has changed, and the caller is told to try again.
    try:
        await services.livekit.set_room_metadata(
            standing.session.room_name, sessions.room_metadata(standing.stream, wanted)
        )
    except NotInLiveKit:
        # An empty room that LiveKit gave up; the reconciler makes it again, with the new status.
        log.warning("room_is_gone", stream_id=stream_id, room=standing.session.room_name)
    async with services.database.begin() as transaction:
        now = services.clock.now()
        standing = await _steered(transaction, caller, stream_id, now)
        wanted = _on_air(standing, action)
        if wanted is not standing.stream.status:
            event = "stream.paused" if action is Action.PAUSE else "stream.resumed"
            sessions.set_status(
                transaction, standing.stream, wanted, now=now, actor=caller.actor, event=event
            )


def _on_air(standing: Standing, action: Action) -> StreamStatus:
    if standing.session is not None and standing.session.state is SessionState.CLOSING:
        raise ProblemError(Kind.INVALID_TRANSITION, "The stream is ending.")
    return _after(action, standing.stream.status)


async def _steered(
    transaction: AsyncSession, caller: Caller, stream_id: str, now: datetime, *, lock: bool = True
) -> Standing:
    standing = await standing_of(transaction, caller, stream_id, now, lock=lock)
    require_steering(standing)
    return standing


def _after(action: Action, status: StreamStatus) -> StreamStatus:
    try:
        return after(action, status)
    except InvalidTransition as error:
        raise ProblemError(Kind.INVALID_TRANSITION, f"{error}.") from error
