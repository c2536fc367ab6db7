"""LiveKit's errors as our callers get them: absent, away, or refused; and never what LiveKit wrote."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from livekit.protocol import room as proto_room

from tests.unit.token_api.livekit_double import NO_RESPONSE, LiveKitDouble, TwirpError
from tests.unit.token_api.support import KEY, OTHER_SECRET, SECRET
from token_api.domain.roles import Permissions
from token_api.livekit_api.gateway import Gateway, NotInLiveKit
from token_api.livekit_api.values import NewRoom
from token_api.problems import Kind, ProblemError
from token_api.tokens import ApiCredentials

ROOM = NewRoom("room", "{}", 0, 60, 60)


@pytest.fixture
async def gateway(double: LiveKitDouble) -> AsyncIterator[Gateway]:
    made = Gateway(double.url.replace("ws", "http", 1), ApiCredentials(KEY, SECRET))
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TwirpError("unavailable", 503), Kind.LIVEKIT_UNAVAILABLE),
        (TwirpError("unknown", 500), Kind.LIVEKIT_ERROR),
        (TwirpError("deadline_exceeded", 408), Kind.LIVEKIT_UNAVAILABLE),
        # A proxy before LiveKit says so with a code of its own, or none.
        (TwirpError("internal", 502), Kind.LIVEKIT_UNAVAILABLE),
        (TwirpError("internal", 504), Kind.LIVEKIT_UNAVAILABLE),
        (TwirpError("internal", 500), Kind.LIVEKIT_ERROR),
        (TwirpError("invalid_argument", 400), Kind.LIVEKIT_ERROR),
        (TwirpError("unauthenticated", 401), Kind.LIVEKIT_ERROR),
        (TwirpError("permission_denied", 403), Kind.LIVEKIT_ERROR),
        (TwirpError("resource_exhausted", 429), Kind.LIVEKIT_ERROR),
        (TwirpError("failed_precondition", 412), Kind.LIVEKIT_ERROR),
    ],
    ids=lambda value: f"{value.code}-{value.status}" if isinstance(value, TwirpError) else "",
)
async def test_each_error_of_livekits_is_a_problem_of_ours(
    gateway: Gateway, double: LiveKitDouble, error: TwirpError, kind: Kind
) -> None:
    double.failing["CreateRoom"] = error
    with pytest.raises(ProblemError) as raised:
        await gateway.create_room(ROOM)
    assert raised.value.kind is kind
    # The double writes "as told" into each: LiveKit's texts quote our tokens.
    assert "as told" not in raised.value.detail
    retry_after = (raised.value.headers or {}).get("Retry-After")
    assert (retry_after is not None) is (kind is Kind.LIVEKIT_UNAVAILABLE)


Call = Callable[[Gateway], Awaitable[object]]


@pytest.mark.parametrize(
    "call",
    [
        lambda gateway: gateway.set_room_metadata("nowhere", "{}"),
        lambda gateway: gateway.participant("nowhere", "nobody"),
        lambda gateway: gateway.mute_track("nowhere", "nobody", "TR_1", muted=True),
        lambda gateway: gateway.set_permissions("nowhere", "nobody", Permissions()),
        lambda gateway: gateway.send_data("nowhere", b"{}", topic="chat"),
        lambda gateway: gateway.stop_recording("EG_none"),
        lambda gateway: gateway.start_recording("nowhere", "key", "grid"),
    ],
    ids=["metadata", "participant", "mute", "permissions", "data", "stop", "start"],
)
async def test_what_is_not_there_is_no_problem_but_told(gateway: Gateway, call: Call) -> None:
    with pytest.raises(NotInLiveKit):
        await call(gateway)


async def test_what_is_wanted_gone_and_is_not_there_is_done(gateway: Gateway) -> None:
    assert await gateway.delete_room("nowhere") is False
    assert await gateway.remove_participant("nowhere", "nobody") is False
    assert await gateway.participants("nowhere") == []
    assert await gateway.rooms(["nowhere"]) == []


@pytest.mark.parametrize(
    "nobody_responds",
    [TwirpError("unavailable", 503), TwirpError("unknown", 500, "could not find object")],
    ids=["dead", "forgotten"],
)
@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("DeleteRoom", lambda gateway: gateway.delete_room("room")),
        ("UpdateRoomMetadata", lambda gateway: gateway.set_room_metadata("room", "{}")),
        ("SendData", lambda gateway: gateway.send_data("room", b"{}", topic="chat")),
    ],
)
async def test_a_room_whose_node_died_is_given_to_another_node(
    gateway: Gateway, double: LiveKitDouble, method: str, call: Call, nobody_responds: TwirpError
) -> None:
    """As livekit-server does: nobody responds for the room, until somebody makes it."""
    await gateway.create_room(ROOM)
    double.calls.clear()

    def nobody(asked: str, _request: object) -> TwirpError | None:
        given_away = "CreateRoom" in double.calls
        return nobody_responds if asked == method and not given_away else None

    double.refusing = nobody
    await call(gateway)
    assert double.calls == [method, "ListRooms", "CreateRoom", method]


@pytest.mark.parametrize(
    "call",
    [
        lambda gateway: gateway.set_room_metadata("room", "{}"),
        lambda gateway: gateway.send_data("room", b"{}", topic="chat"),
    ],
    ids=["metadata", "data"],
)
@pytest.mark.parametrize("deleted", ["before", "between"])
async def test_no_request_creates_a_room_that_was_deleted(
    gateway: Gateway, double: LiveKitDouble, call: Call, deleted: str
) -> None:
    """No node answers for a room that was deleted, either."""

    def delete(method: str, _request: object) -> None:
        if method == "CreateRoom":
            del double.rooms["room"]

    await gateway.create_room(ROOM)
    double.refusing = lambda method, request: (
        NO_RESPONSE if method in {"UpdateRoomMetadata", "SendData"} and request.room == "room" else None
    )
    if deleted == "before":
        del double.rooms["room"]
    else:
        # Somebody else deletes it after it was listed.
        double.holding = delete
    double.calls.clear()
    with pytest.raises(NotInLiveKit):
        await call(gateway)
    assert double.rooms == {}
    assert ("CreateRoom" in double.calls) is (deleted == "between")


async def test_a_room_that_was_recreated_with_its_settings_meanwhile_stays(
    gateway: Gateway, double: LiveKitDouble
) -> None:
    await gateway.create_room(ROOM)
    double.refusing = lambda method, _request: (
        NO_RESPONSE if method == "SendData" and double.calls.count("SendData") == 1 else None
    )

    def recreate(method: str, _request: object) -> None:
        if method == "CreateRoom":
            del double.rooms["room"]
            double.room_create(proto_room.CreateRoomRequest(name="room", metadata="{}"))

    double.holding = recreate
    await gateway.send_data("room", b"{}", topic="chat")
    assert [packet.room for packet in double.data] == ["room"]
    assert double.rooms["room"].metadata == "{}"


async def test_a_livekit_that_is_away_as_a_whole_is_asked_no_more_than_it_takes(
    gateway: Gateway, double: LiveKitDouble
) -> None:
    double.refusing = lambda _method, _request: TwirpError("unavailable", 503)
    with pytest.raises(ProblemError) as raised:
        await gateway.delete_room("room")
    assert raised.value.kind is Kind.LIVEKIT_UNAVAILABLE
    assert double.calls == ["DeleteRoom", "ListRooms"]
    # What came in time from no node would take as long again.
    double.calls.clear()
    double.refusing = lambda _method, _request: TwirpError("deadline_exceeded", 408)
    with pytest.raises(ProblemError):
        await gateway.delete_room("room")
    assert double.calls == ["DeleteRoom"]


async def test_nobody_who_listens_is_livekit_away() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        gateway = Gateway(f"http://127.0.0.1:{closed.getsockname()[1]}", ApiCredentials(KEY, SECRET))
        try:
            with pytest.raises(ProblemError) as raised:
                await gateway.rooms()
        finally:
            await gateway.aclose()
    assert raised.value.kind is Kind.LIVEKIT_UNAVAILABLE
    assert (raised.value.headers or {})["Retry-After"]


async def test_a_wrong_secret_is_refused_and_not_taken_for_an_outage(double: LiveKitDouble) -> None:
    """Whoever waits for it to pass would wait for ever."""
    gateway = Gateway(double.url.replace("ws", "http", 1), ApiCredentials(KEY, OTHER_SECRET))
    try:
        with pytest.raises(ProblemError) as raised:
            await gateway.rooms()
    finally:
        await gateway.aclose()
    assert raised.value.kind is Kind.LIVEKIT_ERROR
