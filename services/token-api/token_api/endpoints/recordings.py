"""Recordings: start, list, read, change, stop, delete, and the address of the file."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from token_api.database.tables import Recording
from token_api.domain.paging import DEFAULT_LIMIT, Cursor
from token_api.domain.vocabulary import RecordingLayout, RecordingStatus
from token_api.endpoints.common import (
    LIVEKIT_PROBLEMS,
    STREAM_PROBLEMS,
    Body,
    Key,
    Limit,
    alike,
    answer,
    cursor_of,
    problems,
)
from token_api.endpoints.guard import FOR_ALL, CallerRoute, CurrentCaller
from token_api.problems import Kind
from token_api.state import CurrentState
from token_api.use_cases import recordings
from token_api.use_cases.idempotency import Answer

router = APIRouter(prefix="/v1", tags=["recordings"], route_class=CallerRoute, dependencies=FOR_ALL)


_LAYOUT = (
    "how the picture is arranged: speaker (the one who speaks is large), grid, or single-speaker (nobody "
    "else is shown); -light and -dark choose the background, which is dark without either"
)


class RecordingRequest(Body):
    """A recording to be made. Where it is put is not the caller's to say."""

    layout: RecordingLayout = Field(RecordingLayout.SPEAKER, strict=False, description=_LAYOUT)


class RecordingChange(Body):
    """What is to be changed of a recording that goes on."""

    layout: RecordingLayout = Field(strict=False, description=_LAYOUT)


class RecordingView(BaseModel):
    """A recording."""

    id: str
    stream_id: str
    session_id: str
    status: RecordingStatus = Field(
        description="requested, starting, active, ending; in the end complete, failed or aborted. One that "
        "was aborted because no recorder reported may still become complete or failed"
    )
    layout: RecordingLayout
    error: str = Field(description="why it failed or was aborted; empty otherwise")
    has_file: bool = Field(
        description="whether there is a file to fetch; that of a recording that failed holds all until the "
        "failure"
    )
    size_bytes: int | None = Field(description="of the file; null without one")
    duration_seconds: int | None = Field(description="of the file; null without one")
    requested_by: str = Field(description="auto-record for one that started by itself")
    created_at: datetime
    started_at: datetime | None
    stop_requested_at: datetime | None
    ended_at: datetime | None
    updated_at: datetime


class RecordingPage(BaseModel):
    """Some recordings, newest first."""

    items: list[RecordingView]
    next_cursor: str | None = Field(description="`cursor` of the next page; null at the end")


class RecordingUrl(BaseModel):
    """Where a recording's file can be fetched."""

    url: str = Field(description="opens the file for whoever has it, until `expires_at`; do not keep it")
    file_name: str = Field(description="the name that browsers save it under")
    expires_at: datetime


def view_of(recording: Recording) -> RecordingView:
    """A recording as callers see it."""
    return RecordingView.model_validate(recording, from_attributes=True)


@router.post(
    "/streams/{stream_id}/recordings",
    status_code=202,
    response_model=RecordingView,
    responses=problems(
        *STREAM_PROBLEMS,
        *LIVEKIT_PROBLEMS,
        Kind.RECORDING_UNAVAILABLE,
        Kind.STREAM_NOT_LIVE,
        Kind.RECORDING_ACTIVE,
        Kind.NO_TRACKS,
        Kind.MEDIA_TYPE,
    ),
)
async def start_recording(
    *,
    stream_id: str,
    wanted: RecordingRequest,
    request: Request,
    state: CurrentState,
    caller: CurrentCaller,
    key: Key = None,
) -> JSONResponse:
    """Have the stream recorded as an MP4 file, from now until it is stopped or the stream ends.

    One at a time, and only while somebody publishes something. Where no recorder is free, the answer is 503
    `livekit-unavailable`, after some 12 s; on a platform that does not record, 409 `recording-unavailable`.
    """

    async def change() -> Answer:
        made = await recordings.start(state.services, caller, stream_id, wanted.layout, key)
        return answer(202, view_of(made), location=f"/v1/recordings/{made.id}")

    return await alike(state, request, caller, change, key=key, body=wanted)


@router.get("/streams/{stream_id}/recordings", responses=problems(*STREAM_PROBLEMS))
async def list_recordings(
    *,
    stream_id: str,
    state: CurrentState,
    caller: CurrentCaller,
    cursor: Annotated[Cursor | None, Depends(cursor_of)],
    limit: Limit = DEFAULT_LIMIT,
) -> RecordingPage:
    """A stream's recordings, of all its sessions."""
    page = await recordings.page(state.services, caller, stream_id, cursor, limit)
    return RecordingPage(items=[view_of(item) for item in page.items], next_cursor=page.next_cursor)


@router.get("/recordings/{recording_id}", responses=problems(*STREAM_PROBLEMS))
async def read_recording(recording_id: str, state: CurrentState, caller: CurrentCaller) -> RecordingView:
    """One recording."""
    return view_of(await recordings.read(state.services, caller, recording_id))


@router.patch(
    "/recordings/{recording_id}",
    responses=problems(*STREAM_PROBLEMS, *LIVEKIT_PROBLEMS, Kind.CONFLICT, Kind.MEDIA_TYPE),
)
async def change_recording(
    recording_id: str, wanted: RecordingChange, state: CurrentState, caller: CurrentCaller
) -> RecordingView:
    """Change the layout of a recording that goes on, from now on. Not once it is stopped, or over."""
    return view_of(await recordings.set_layout(state.services, caller, recording_id, wanted.layout))


@router.post(
    "/recordings/{recording_id}/stop",
    response_model=RecordingView,
    responses=problems(*STREAM_PROBLEMS, *LIVEKIT_PROBLEMS),
)
async def stop_recording(
    recording_id: str, request: Request, state: CurrentState, caller: CurrentCaller, key: Key = None
) -> JSONResponse:
    """Have a recording end: its file is complete some time later. Doing it again changes nothing.

    After 503 the service goes on with it by itself.
    """

    async def change() -> Answer:
        return answer(200, view_of(await recordings.stop(state.services, caller, recording_id)))

    return await alike(state, request, caller, change, key=key)


@router.delete(
    "/recordings/{recording_id}",
    status_code=204,
    response_class=Response,
    responses=problems(
        *STREAM_PROBLEMS,
        Kind.RECORDING_ACTIVE,
        Kind.NO_STORAGE,
        Kind.STORAGE_ERROR,
        Kind.STORAGE_UNAVAILABLE,
    ),
)
async def delete_recording(recording_id: str, state: CurrentState, caller: CurrentCaller) -> Response:
    """Delete a recording that is over, with its file. For good: only the audit still knows of it.

    After 502 and 503 it is as it was.
    """
    await recordings.delete(state.services, caller, recording_id)
    return Response(status_code=204)


@router.get(
    "/recordings/{recording_id}/url",
    responses=problems(*STREAM_PROBLEMS, Kind.CONFLICT, Kind.NO_STORAGE),
)
async def recording_url(
    recording_id: str, state: CurrentState, caller: CurrentCaller, response: Response
) -> RecordingUrl:
    """An address of the file that needs no other credentials, for five minutes; each one is in the audit."""
    found = await recordings.download(state.services, caller, recording_id)
    response.headers["Cache-Control"] = "no-store"
    return RecordingUrl.model_validate(found, from_attributes=True)
