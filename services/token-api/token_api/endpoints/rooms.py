"""Rooms for which POST /v1/token gives tokens to the host application."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import AfterValidator

from token_api.domain.room_names import RESERVED, has_reserved_prefix
from token_api.endpoints.common import LIVEKIT_PROBLEMS, problems
from token_api.endpoints.guard import FOR_SERVICE, ServiceRoute
from token_api.endpoints.token import RoomName
from token_api.problems import Kind
from token_api.state import CurrentState
from token_api.use_cases import call_rooms

router = APIRouter(prefix="/v1/rooms", tags=["tokens"], route_class=ServiceRoute, dependencies=FOR_SERVICE)


def _of_no_stream(room_name: str) -> str:
    if has_reserved_prefix(room_name):
        raise ValueError(f"{RESERVED}; POST /v1/streams/{{id}}/end removes them")
    return room_name


OwnRoomName = Annotated[
    RoomName, AfterValidator(_of_no_stream), Path(description="As POST /v1/token was given it")
]


@router.delete(
    "/{room_name}",
    status_code=204,
    response_class=Response,
    responses=problems(Kind.NOT_FOUND, *LIVEKIT_PROBLEMS),
)
async def delete_room(room_name: OwnRoomName, state: CurrentState) -> Response:
    """End a call: everybody is put out, and no token that was issued before joins the room again.

    The next token for a room of this name makes it again, also for those who have an older one.
    """
    await call_rooms.remove(state.services, room_name)
    return Response(status_code=204)
