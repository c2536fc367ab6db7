"""Rooms of POST /v1/token: LiveKit has them as long as somebody can have a token, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from livekit.protocol import models as proto
from livekit.protocol import room as proto_room
from sqlalchemy import select

from tests.unit.token_api.api import START, Api, problem
from tests.unit.token_api.livekit_double import TwirpError
from tests.unit.token_api.test_inbox import event, send, worked_off
from token_api.database.tables import CallRoom
from token_api.livekit_api.values import Room
from token_api.use_cases import call_rooms

ROOM = "call-1"
BODY = {"room_name": ROOM, "participant_identity": "a", "ttl_seconds": 600}
# How long LiveKit's own tokens hold, which everyone in a room has.
RENEWED_MINUTES = 10


@pytest.fixture(autouse=True)
def no_rounds(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TOKEN_API_RECONCILE_SECONDS", "300")


async def token(api: Api) -> None:
    await api.call("POST", "/token", json=BODY, status=201)


async def test_a_token_is_given_for_a_room_that_exists(api: Api) -> None:
    await token(api)
    made = api.livekit.rooms[ROOM]
    # It stays empty for as long as the token can be used.
    assert (made.empty_timeout, made.departure_timeout) == (600, 600)


async def test_without_the_room_there_is_no_token(api: Api) -> None:
    api.livekit.failing["CreateRoom"] = TwirpError("unavailable", 503)
    response = await api.client.post("/v1/token", json=BODY, headers=api.service())
    assert problem(response) == (503, "livekit-unavailable")
    assert response.headers["retry-after"] == "2"
    api.livekit.failing.clear()
    await token(api)
    assert ROOM in api.livekit.rooms


async def test_many_tokens_at_once_are_one_request_to_livekit(api: Api) -> None:
    await asyncio.gather(*(token(api) for _ in range(20)))
    assert api.livekit.calls.count("CreateRoom") == 1


@pytest.mark.parametrize("by", ["event", "round"])
async def test_a_room_is_made_again_while_a_token_can_be_used(api: Api, by: str) -> None:
    await token(api)
    # As long as the first token holds, another holds longer.
    api.clock.advance(minutes=9)
    await token(api)
    api.clock.advance(minutes=9)
    del api.livekit.rooms[ROOM]
    await gone(api, by)
    assert ROOM in api.livekit.rooms
    api.clock.advance(minutes=1, hours=1)
    del api.livekit.rooms[ROOM]
    await gone(api, by)
    assert ROOM not in api.livekit.rooms


@pytest.mark.parametrize("by", ["event", "round"])
async def test_a_room_with_participants_is_made_again_whenever_livekit_removes_it(api: Api, by: str) -> None:
    await token(api)
    api.livekit.participants[ROOM]["a"] = proto.ParticipantInfo(identity="a", sid="PA_a")
    for _ in range(20):
        await call_rooms.reconcile(api.services)
        api.clock.advance(minutes=1)
    del api.livekit.rooms[ROOM]
    await gone(api, by)
    assert ROOM in api.livekit.rooms
    # Whoever was in has had time to come back: nobody did.
    api.clock.advance(minutes=2 * RENEWED_MINUTES)
    del api.livekit.rooms[ROOM]
    await gone(api, by)
    assert ROOM not in api.livekit.rooms


async def test_a_room_that_livekit_refuses_keeps_no_other_from_being_made(api: Api) -> None:
    names = [f"call-{number}" for number in range(5)]
    for name in names:
        await api.call("POST", "/token", json={**BODY, "room_name": name}, status=201)
    api.livekit.rooms.clear()
    api.livekit.refusing = lambda method, request: (
        TwirpError("internal", 500) if method == "CreateRoom" and request.name == names[2] else None
    )
    await call_rooms.reconcile(api.services)
    assert sorted(api.livekit.rooms) == [name for name in names if name != names[2]]


async def test_rooms_that_nobody_can_join_are_not_remembered_for_ever(api: Api) -> None:
    await token(api)
    (room,) = await api.rows(select(CallRoom))
    assert room.wanted_until > api.clock.now()
    # An event of a room that this service did not make is none of its business.
    await send(api, event("room_finished", "theirs", 0))
    await worked_off(api)
    assert "theirs" not in api.livekit.rooms


async def test_the_host_ends_a_call_for_the_tokens_that_there_are(api: Api) -> None:
    await token(api)
    await api.call("DELETE", f"/rooms/{ROOM}", status=204)
    assert ROOM not in api.livekit.rooms
    for by in ("event", "round"):
        await gone(api, by)
        assert ROOM not in api.livekit.rooms
    answer = await api.client.delete(f"/v1/rooms/{ROOM}", headers=api.service())
    assert problem(answer) == (404, "not-found")
    await token(api)
    assert ROOM in api.livekit.rooms


@pytest.mark.parametrize("by", ["event", "round"])
async def test_a_removed_room_that_a_late_join_creates_is_removed_again(api: Api, by: str) -> None:
    """The join passed LiveKit's check before the removal."""
    await token(api)
    await api.call("DELETE", f"/rooms/{ROOM}", status=204)
    # LiveKit renews the tokens of participants, so the room is watched from the last time that it was there.
    for _ in range(3):
        api.clock.advance(minutes=9)
        api.livekit.room_create(proto_room.CreateRoomRequest(name=ROOM))
        await came(api, by)
        assert ROOM not in api.livekit.rooms
    api.clock.advance(minutes=30)
    api.livekit.room_create(proto_room.CreateRoomRequest(name=ROOM))
    await came(api, by)
    # No token of this service is valid any more: whoever created this room may have it.
    assert ROOM in api.livekit.rooms


async def test_a_round_does_not_recreate_what_the_host_removes_meanwhile(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await token(api)
    api.livekit.participants[ROOM]["a"] = proto.ParticipantInfo(identity="a", sid="PA_a")
    api.clock.advance(minutes=5)
    rooms = api.services.livekit.rooms

    async def listed_and_removed(names: Sequence[str] = ()) -> list[Room]:
        found = await rooms(names)
        monkeypatch.setattr(api.services.livekit, "rooms", rooms)
        await api.call("DELETE", f"/rooms/{ROOM}", status=204)
        return found

    monkeypatch.setattr(api.services.livekit, "rooms", listed_and_removed)
    await call_rooms.reconcile(api.services)
    for by in ("round", "event"):
        await gone(api, by)
        assert ROOM not in api.livekit.rooms


async def test_a_room_of_others_may_come_back_after_it_was_deleted_here(api: Api) -> None:
    """The host application created it with LiveKit's API, so it may create it again."""
    api.livekit.room_create(proto_room.CreateRoomRequest(name="theirs"))
    await api.call("DELETE", "/rooms/theirs", status=204)
    api.livekit.room_create(proto_room.CreateRoomRequest(name="theirs"))
    await call_rooms.reconcile(api.services)
    assert "theirs" in api.livekit.rooms


async def test_a_call_is_ended_also_where_livekit_did_not_answer_the_first_time(api: Api) -> None:
    await token(api)
    api.livekit.failing["DeleteRoom"] = TwirpError("unavailable", 503)
    answer = await api.client.delete(f"/v1/rooms/{ROOM}", headers=api.service())
    assert problem(answer) == (503, "livekit-unavailable")
    api.livekit.failing.clear()
    await api.call("DELETE", f"/rooms/{ROOM}", status=204)
    assert ROOM not in api.livekit.rooms


async def test_a_room_of_a_stream_is_not_removed_like_a_call(api: Api) -> None:
    stream_id = await api.live_stream()
    [room] = api.livekit.rooms
    answer = await api.client.delete(f"/v1/rooms/{room}", headers=api.service())
    assert problem(answer) == (422, "validation")
    assert "/end removes them" in answer.text
    assert (stream_id in room, room in api.livekit.rooms) == (True, True)


async def came(api: Api, by: str) -> None:
    """LiveKit has created the room."""
    if by == "event":
        at = (api.clock.now() - START).total_seconds()
        await send(api, event("room_started", ROOM, at))
        await worked_off(api)
    else:
        await call_rooms.reconcile(api.services)


async def gone(api: Api, by: str) -> None:
    """LiveKit removed the room: tell by an event, or have the reconciler see it."""
    if by == "event":
        at = (api.clock.now() - START).total_seconds()
        await send(api, event("room_finished", ROOM, at))
        await worked_off(api)
    else:
        await call_rooms.reconcile(api.services)
