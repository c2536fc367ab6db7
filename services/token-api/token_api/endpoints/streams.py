"""Streams: make, list, read, change, delete; go live, pause, resume, end."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, model_validator
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.tables import Stream, StreamSession
from token_api.domain.access import Admitted, Refusal, Refused
from token_api.domain.lifecycle import Action
from token_api.domain.paging import DEFAULT_LIMIT, Cursor
from token_api.domain.vocabulary import (
    RecordingLayout,
    SessionState,
    StreamKind,
    StreamRecordingState,
    StreamStatus,
)
from token_api.endpoints.common import (
    LIVEKIT_PROBLEMS,
    STREAM_PROBLEMS,
    Body,
    HostId,
    Key,
    Limit,
    Title,
    alike,
    answer,
    cursor_of,
    once,
    problems,
)
from token_api.endpoints.guard import FOR_ALL, CallerRoute, CurrentCaller
from token_api.free_json import FreeJson, from_stored
from token_api.problems import Kind, ProblemError
from token_api.state import CurrentState, State
from token_api.storage.store import store_of
from token_api.use_cases import chat_bans, stream_recordings, streams
from token_api.use_cases.idempotency import Answer
from token_api.use_cases.standing import standing_of
from token_api.use_cases.stream_recordings import StreamRecording

router = APIRouter(prefix="/v1/streams", tags=["streams"], route_class=CallerRoute, dependencies=FOR_ALL)

Capacity = Annotated[int, Field(ge=1, le=100_000)]


_RECORD = (
    "Record each session, once, from the creator's first track to the end of the stream. Whoever stops that "
    "recording stops it for good"
)


class StreamRequest(Body):
    """A stream to be made."""

    title: Title
    kind: StreamKind = Field(
        StreamKind.STREAM,
        strict=False,
        description="stream: one to many; consultation: everybody who has access may publish",
    )
    space_id: HostId = Field(description="The space that it belongs to; its team may steer it")
    owner_id: HostId | None = Field(
        None, description="The creator: required of the host application; for a user, themselves"
    )
    experience_id: HostId | None = Field(
        None,
        description="What it is part of: grants may open all of that. Set by the host application",
    )
    metadata: FreeJson = Field(default_factory=dict, description="The host application's own; viewers see it")
    capacity: Capacity | None = Field(
        None, description="How many viewers may be in at once; no limit if not given"
    )
    record: bool = Field(False, description=_RECORD)
    record_layout: RecordingLayout = Field(
        RecordingLayout.SPEAKER, strict=False, description="the layout of recordings that start by themselves"
    )


class StreamChange(Body):
    """What is to be changed of a stream; what is not given stays."""

    title: Title | None = None
    owner_id: HostId | None = Field(
        None, description="Set by the host application: transfers the stream to another creator"
    )
    experience_id: HostId | None = Field(None, description="Set by the host application")
    metadata: FreeJson | None = None
    capacity: Capacity | None = Field(None, description="null: no limit")
    record: bool | None = Field(
        None,
        description=f"{_RECORD}. On air it holds at once: true records from now on, false keeps a recording "
        "from starting, but stops none",
    )
    record_layout: RecordingLayout | None = Field(
        None, strict=False, description="For recordings that have not started"
    )
    status: StreamStatus | None = Field(
        None, strict=False, description="live, paused or ended: the same as go-live, resume, pause, end"
    )

    @model_validator(mode="after")
    def _not_null(self) -> StreamChange:
        for field in ("title", "owner_id", "metadata", "record", "record_layout", "status"):
            if field in self.model_fields_set and getattr(self, field) is None:
                raise ValueError(f"{field} may not be null; leave it out to keep it")
        return self


class StreamRecordingView(BaseModel):
    """The latest recording of a stream, or the one that is to start by itself."""

    state: StreamRecordingState = Field(
        description="armed: waits for the creator's first track; never-started: nothing was published within "
        "ten minutes, or by the end of the stream (on air, it still starts with the first track); waiting: "
        "LiveKit has no free recorder, and is asked again; else the status of the recording"
    )
    recording_id: str | None = Field(description="null while there is no recording")


class StreamView(BaseModel):
    """A stream."""

    id: str
    kind: StreamKind
    title: str
    owner_id: str
    space_id: str
    experience_id: str | None
    metadata: dict[str, Any] = Field(description="empty for users who may not enter, see `room_name`")
    capacity: int | None
    status: StreamStatus
    room_name: str | None = Field(
        description="LiveKit's room while the stream is on air; null for users who are banned, or whose "
        "access has not begun, has ended or was cancelled"
    )
    started_at: datetime | None
    ended_at: datetime | None
    created_at: datetime
    updated_at: datetime
    version: int = Field(description="grows with every change")
    chat_enabled: bool
    chat_slow_mode_seconds: int
    record: bool = Field(description="whether its sessions are recorded by themselves")
    record_layout: RecordingLayout
    recording: StreamRecordingView | None = Field(
        description="null if it was never recorded, and is not to be; and for users who may not enter"
    )


class StreamPage(BaseModel):
    """Some streams, newest first."""

    items: list[StreamView]
    next_cursor: str | None = Field(description="`cursor` of the next page; null at the end")


def view_of(
    stream: Stream,
    session: StreamSession | None,
    recording: StreamRecording | None = None,
    decision: Admitted | Refused | None = None,
) -> StreamView:
    """A stream as a caller sees it.

    Args:
        recording: its latest one; None if it has none.
        decision: whether the caller's user may enter; None for the host application. Users who may not enter
            see no room name. They see metadata only if their access has not begun yet.
    """
    on_air = session is not None and session.state in {SessionState.OPEN, SessionState.CLOSING}
    refusal = decision.reason if isinstance(decision, Refused) else None
    may_read = refusal in {None, Refusal.NOT_STARTED}
    return StreamView(
        id=stream.id,
        kind=stream.kind,
        title=stream.title,
        owner_id=stream.owner_id,
        space_id=stream.space_id,
        experience_id=stream.experience_id,
        metadata=from_stored(stream.details) if may_read else {},
        capacity=stream.capacity,
        status=stream.status,
        room_name=session.room_name if session is not None and on_air and refusal is None else None,
        started_at=stream.started_at,
        ended_at=stream.ended_at,
        created_at=stream.created_at,
        updated_at=stream.updated_at,
        version=stream.version,
        chat_enabled=stream.chat_enabled,
        chat_slow_mode_seconds=stream.chat_slow_mode_seconds,
        record=stream.record,
        record_layout=stream.record_layout,
        recording=StreamRecordingView.model_validate(recording, from_attributes=True)
        if recording is not None and refusal is None
        else None,
    )


async def _read(state: State, caller: CurrentCaller, stream_id: str) -> StreamView:
    async with state.services.database.read() as transaction:
        standing = await standing_of(transaction, caller, stream_id, state.services.clock.now())
        recordings = await stream_recordings.latest(transaction, [stream_id])
        return view_of(standing.stream, standing.session, recordings.get(stream_id), standing.decision)


@router.post(
    "",
    status_code=201,
    response_model=StreamView,
    responses=problems(Kind.ROLE_FORBIDDEN, Kind.BANNED, Kind.RECORDING_UNAVAILABLE, Kind.MEDIA_TYPE),
)
async def create_stream(
    wanted: StreamRequest, request: Request, state: CurrentState, caller: CurrentCaller, key: Key = None
) -> JSONResponse:
    """Plan a stream. It is a draft until it goes live."""
    owner_id = wanted.owner_id or caller.user_id
    if owner_id is None:
        raise ProblemError(Kind.VALIDATION, "owner_id: nothing given; required of the host application.")

    async def change(transaction: AsyncSession, now: datetime) -> Answer:
        new = streams.NewStream(
            kind=wanted.kind,
            title=wanted.title,
            owner_id=owner_id,
            space_id=wanted.space_id,
            experience_id=wanted.experience_id,
            metadata=wanted.metadata,
            capacity=wanted.capacity,
            record=wanted.record,
            record_layout=wanted.record_layout,
        )
        stream = await streams.create(transaction, state.settings, caller, new, now)
        await chat_bans.on_stream(transaction, state.services.settings, stream, now)
        return answer(201, view_of(stream, None), location=f"/v1/streams/{stream.id}")

    return await once(state, request, caller, change, key=key, body=wanted)


@router.get("", responses=problems())
async def list_streams(
    *,
    state: CurrentState,
    caller: CurrentCaller,
    cursor: Annotated[Cursor | None, Depends(cursor_of)],
    status: StreamStatus | None = None,
    kind: StreamKind | None = None,
    space_id: HostId | None = None,
    owner_id: HostId | None = None,
    experience_id: HostId | None = None,
    limit: Limit = DEFAULT_LIMIT,
) -> StreamPage:
    """Streams that the caller may see: a user their own, their teams', and those a grant of theirs names."""
    now = state.services.clock.now()
    filters = streams.Filters(status, kind, space_id, owner_id, experience_id)
    async with state.services.database.read() as transaction:
        page = await streams.page(transaction, caller, filters, cursor=cursor, limit=limit, now=now)
        recordings = await stream_recordings.latest(transaction, [item.stream.id for item in page.items])
    items = [
        view_of(item.stream, item.session, recordings.get(item.stream.id), item.decision)
        for item in page.items
    ]
    return StreamPage(items=items, next_cursor=page.next_cursor)


@router.get("/{stream_id}", responses=problems(Kind.NOT_FOUND, Kind.NO_GRANT))
async def read_stream(stream_id: str, state: CurrentState, caller: CurrentCaller) -> StreamView:
    """One stream. For a user whom nothing connects with it, there is none."""
    return await _read(state, caller, stream_id)


@router.patch(
    "/{stream_id}",
    responses=problems(
        *STREAM_PROBLEMS,
        *LIVEKIT_PROBLEMS,
        Kind.INVALID_TRANSITION,
        Kind.CONFLICT,
        Kind.RECORDING_UNAVAILABLE,
        Kind.MEDIA_TYPE,
    ),
)
async def change_stream(
    stream_id: str, wanted: StreamChange, state: CurrentState, caller: CurrentCaller
) -> StreamView:
    """Change a stream. A new status does all that its own endpoint does."""
    changes = wanted.model_dump(exclude_unset=True, exclude={"status"})
    await streams.change(state.services, caller, stream_id, changes, wanted.status)
    return await _read(state, caller, stream_id)


@router.delete(
    "/{stream_id}",
    status_code=204,
    response_class=Response,
    responses=problems(*STREAM_PROBLEMS, Kind.CONFLICT),
)
async def delete_stream(stream_id: str, state: CurrentState, caller: CurrentCaller) -> Response:
    """Remove a stream with its messages and figures. Not while it is on air, or has recordings.

    Where the service has no object store, recordings are removed with it; their files stay where they are.
    """
    now, keeps_files = state.services.clock.now(), store_of(state.settings) is not None
    async with state.services.database.begin() as transaction:
        await streams.delete(transaction, caller, stream_id, now, keeps_files=keeps_files)
    return Response(status_code=204)


def _add_action(action: Action, summary: str) -> None:
    async def endpoint(
        stream_id: str, request: Request, state: CurrentState, caller: CurrentCaller, key: Key = None
    ) -> JSONResponse:
        async def change() -> Answer:
            await streams.act(state.services, caller, stream_id, action)
            return answer(200, await _read(state, caller, stream_id))

        return await alike(state, request, caller, change, key=key)

    router.add_api_route(
        f"/{{stream_id}}/{action.value}",
        endpoint,
        methods=["POST"],
        operation_id=f"{action.value.replace('-', '_')}_stream",
        name=action.value,
        summary=summary,
        description="Doing it again changes nothing, and gives the same answer.",
        response_model=StreamView,
        responses=problems(*STREAM_PROBLEMS, *LIVEKIT_PROBLEMS, Kind.INVALID_TRANSITION, Kind.CONFLICT),
    )


_add_action(Action.GO_LIVE, "Make the room, and let people in")
_add_action(Action.PAUSE, "Tell the room that the stream pauses; nobody is put out")
_add_action(Action.RESUME, "Tell the room that the stream goes on")
_add_action(Action.END, "Put everyone out, remove the room, and end the stream for good")
