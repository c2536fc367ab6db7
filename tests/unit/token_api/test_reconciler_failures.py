"""What fails for one room or participant, whatever it is, stops no other room and no other participant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from livekit.protocol import models as proto
from livekit.protocol import room as proto_room
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from tests.unit.token_api.api import Api
from tests.unit.token_api.livekit_double import TwirpError
from tests.unit.token_api.receiver import eventually
from tests.unit.token_api.test_moderation import admit, inside
from token_api.callers import ServiceCaller
from token_api.database.tables import AuditEntry, Participant, Stream, StreamSession, Visit
from token_api.domain.lifecycle import Action
from token_api.domain.vocabulary import StreamStatus
from token_api.keyed_locks import KeyedLocks
from token_api.problems import Kind, ProblemError
from token_api.use_cases import call_rooms, enforcement, healing, streams, visits, watch

_AWAY = TwirpError("deadline_exceeded", 408)
Refusing = Callable[[str, Any], TwirpError | None]


@pytest.fixture(autouse=True)
def no_rounds(environment: pytest.MonkeyPatch) -> None:
    """No round of the reconciler after the first, as long as a test runs."""
    environment.setenv("TOKEN_API_RECONCILE_SECONDS", "300")


@pytest.fixture(autouse=True)
async def no_watch(no_rounds: None, api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Only the test looks."""

    async def nothing(_services: object, since: object) -> object:
        return since

    with monkeypatch.context() as patched:
        patched.setattr(watch, "look", nothing)
        yield


_LOOK = watch.look


def stranger(api: Api, room: str, identity: str) -> None:
    """Somebody without a token of ours comes in."""
    api.livekit.participants[room][identity] = proto.ParticipantInfo(identity=identity, sid=f"PA_{identity}")


def refusing(method: str, **fields: str) -> Refusing:
    """LiveKit does not take requests of `method` with these fields."""

    def refuse(asked: str, request: Any) -> TwirpError | None:
        is_meant = asked == method and all(getattr(request, name) == text for name, text in fields.items())
        return _AWAY if is_meant else None

    return refuse


async def rooms_with_two_strangers(api: Api) -> list[str]:
    """Rooms of two streams. In each, the one who came first cannot be removed."""
    rooms = [await admit(api, await api.live_stream(), "creator", grant=False) for _ in range(2)]
    api.livekit.refusing = refusing("RemoveParticipant", identity="stuck")
    for room in rooms:
        stranger(api, room, "stuck")
        stranger(api, room, "other")
    return rooms


@pytest.mark.parametrize("by", ["sweep", "heal", "watch"])
async def test_a_participant_who_cannot_be_removed_protects_nobody_else(api: Api, by: str) -> None:
    rooms = await rooms_with_two_strangers(api)
    if by == "watch":
        async with api.services.database.begin() as transaction:
            # Then the watch looks at these rooms.
            await transaction.execute(update(Participant).values(removed_at=api.clock.now()))
    work: dict[str, Callable[[], Awaitable[object]]] = {
        "sweep": partial(healing.sweep, api.services),
        "heal": partial(healing.heal, api.services),
        "watch": partial(_LOOK, api.services, api.clock.now()),
    }
    with pytest.raises(ProblemError) as raised:
        await work[by]()
    assert raised.value.kind is Kind.LIVEKIT_UNAVAILABLE
    for room in rooms:
        assert inside(api, room) - {"u:creator"} == {"stuck"}


@pytest.mark.parametrize("by", ["sweep", "heal"])
async def test_a_room_that_cannot_be_listed_protects_no_other(api: Api, by: str) -> None:
    rooms = [await admit(api, await api.live_stream(), "creator", grant=False) for _ in range(3)]
    for room in rooms:
        stranger(api, room, "stranger")
    for bad in rooms[:2]:
        api.livekit.refusing = refusing("ListParticipants", room=bad)
        with pytest.raises(ProblemError):
            await (healing.sweep if by == "sweep" else healing.heal)(api.services)
    # The first could be listed the second time, so all are out by now; without the others' failures.
    assert [inside(api, room) for room in rooms] == [{"u:creator"}] * 3


async def test_a_sweep_asks_an_absent_livekit_once(api: Api) -> None:
    for _ in range(3):
        await admit(api, await api.live_stream(), "creator", grant=False)
    api.livekit.refusing = lambda _method, _request: _AWAY
    api.livekit.calls.clear()
    with pytest.raises(ProblemError):
        await healing.sweep(api.services)
    assert api.livekit.calls == ["ListRooms"]


async def test_a_mistake_in_one_session_stops_nothing_else_in_the_round(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, gone = await api.live_stream(), await api.live_stream()
    orphan = await api.stream()
    async with api.services.database.begin() as transaction:
        live = update(Stream).where(Stream.id == orphan).values(status=StreamStatus.LIVE)
        await transaction.execute(live)
    for stream_id in (broken, gone):
        await admit(api, stream_id, "creator", grant=False)
    # What the room needs: it is made again.
    lost = await api.rows(select(StreamSession.room_name).where(StreamSession.stream_id == gone))
    (bad,) = await api.rows(select(StreamSession.id).where(StreamSession.stream_id == broken))
    del api.livekit.rooms[lost[0]]
    found = healing._facts

    async def facts(transaction: AsyncSession, session: StreamSession, *, has_room: bool) -> Any:
        if session.id == bad:
            raise RuntimeError("nobody planned for this")
        return await found(transaction, session, has_room=has_room)

    monkeypatch.setattr(healing, "_facts", facts)
    with pytest.raises(RuntimeError, match="nobody planned"):
        await healing.heal(api.services)
    assert lost[0] in api.livekit.rooms
    assert (await api.call("GET", f"/streams/{orphan}"))["status"] == "failed"


async def test_a_room_that_cannot_be_deleted_keeps_no_other(api: Api) -> None:
    names = [f"stream_{'0' * 8}-0000-0000-0000-{'0' * 11}{number}_{'0' * 12}" for number in range(3)]
    # Before they are there: the service's first round may be under way.
    api.livekit.refusing = refusing("DeleteRoom", room=names[1])
    for name in names:
        api.livekit.room_create(proto_room.CreateRoomRequest(name=name))
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "creator", grant=False)
    stranger(api, room, "stranger")
    with pytest.raises(ProblemError):
        await healing.heal(api.services)
    assert sorted(api.livekit.rooms) == sorted([names[1], room])
    assert inside(api, room) == {"u:creator"}


async def test_rights_are_judged_also_in_a_room_that_is_not_healed(api: Api) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "creator", grant=False)
    stranger(api, room, "stranger")
    api.livekit.rooms[room].metadata = "old"
    api.livekit.refusing = refusing("UpdateRoomMetadata")
    with pytest.raises(ProblemError):
        await healing.heal(api.services)
    assert inside(api, room) == {"u:creator"}


@pytest.mark.parametrize("who", ["present", "closed"])
async def test_a_visit_that_cannot_be_written_down_stops_no_other(
    api: Api, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    stream_id = await api.live_stream()
    viewers = [f"viewer-{number}" for number in range(3)]
    rooms = {await admit(api, stream_id, viewer) for viewer in viewers}
    if who == "closed":
        await healing.heal(api.services)
        await api.call("POST", f"/streams/{stream_id}/end")
        api.clock.advance(minutes=2)
    see = visits.see

    async def broken(transaction: AsyncSession, session: StreamSession, seen: Any, **more: Any) -> None:
        if seen.identity == "u:viewer-1":
            raise RuntimeError("nobody planned for this")
        await see(transaction, session, seen, **more)

    monkeypatch.setattr(visits, "see", broken)
    if who == "present":
        (room,) = rooms
        stranger(api, room, "stranger")
    with pytest.raises(RuntimeError, match="nobody planned"):
        await healing.heal(api.services)
    if who == "present":
        assert set(await api.rows(select(Visit.identity))) == {"u:viewer-0", "u:viewer-2"}
        assert inside(api, room) == {f"u:{viewer}" for viewer in viewers}
    else:
        assert await api.rows(select(Visit.identity).where(Visit.left_at.is_(None))) == ["u:viewer-1"]


async def test_a_stream_is_not_ended_when_who_is_in_could_not_be_written_down(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream_id = await api.live_stream()
    await admit(api, stream_id, "creator", grant=False)

    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("nobody planned for this")

    monkeypatch.setattr(visits, "see", broken)
    # For so long that nobody would come any more.
    api.clock.advance(hours=1)
    with pytest.raises(RuntimeError, match="nobody planned"):
        await healing.heal(api.services)
    assert (await api.call("GET", f"/streams/{stream_id}"))["status"] == "live"


async def test_what_fails_in_a_look_stops_nothing_else_in_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"room_name": "call-1", "participant_identity": "a"}
    await api.call("POST", "/token", json=body, status=201)
    room = await admit(api, await api.live_stream(), "creator", grant=False)
    gone = await admit(api, await api.live_stream(), "creator", grant=False)
    del api.livekit.rooms[gone]
    stranger(api, room, "stranger")
    async with api.services.database.begin() as transaction:
        await transaction.execute(update(Participant).values(removed_at=api.clock.now()))

    async def broken(_services: object) -> None:
        raise RuntimeError("nobody planned for this")

    monkeypatch.setattr(call_rooms, "reconcile", broken)
    with pytest.raises(RuntimeError, match="nobody planned"):
        await _LOOK(api.services, api.clock.now())
    assert gone in api.livekit.rooms
    assert "stranger" not in inside(api, room)


async def test_a_room_that_cannot_be_restored_keeps_no_other(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = [await admit(api, await api.live_stream(), "creator", grant=False) for _ in range(3)]
    api.livekit.rooms.clear()
    gone = healing.on_room_gone
    calls = 0

    async def broken(services: Any, stream_id: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("nobody planned for this")
        await gone(services, stream_id)

    monkeypatch.setattr(healing, "on_room_gone", broken)
    with pytest.raises(RuntimeError, match="nobody planned"):
        await healing.restore_rooms(api.services)
    assert len(api.livekit.rooms) == len(rooms) - 1


async def test_a_ban_is_answered_and_enforced_elsewhere_when_one_room_makes_trouble(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams_ = [await api.live_stream() for _ in range(3)]
    rooms = [await admit(api, stream_id, "viewer") for stream_id in streams_]
    look = enforcement._look

    async def broken(services: Any, room: str, identity: str, *, coming: bool) -> None:
        if room == rooms[0]:
            raise RuntimeError("nobody planned for this")
        await look(services, room, identity, coming=coming)

    monkeypatch.setattr(enforcement, "_look", broken)
    wanted = {"user_id": "viewer", "scope": "space"}
    await api.call("POST", f"/streams/{streams_[1]}/bans", status=201, json=wanted)
    assert [inside(api, room) for room in rooms[1:]] == [set(), set()]
    # By a sweep, that the bell called for.
    await eventually(lambda: inside(api, rooms[0]) == set(), "the viewer to be out of the first room, too")


async def test_a_room_that_is_recreated_while_another_replica_ends_the_stream_does_not_stay(
    api: Api,
) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "creator", grant=False)
    del api.livekit.rooms[room]
    loop = asyncio.get_running_loop()
    # Another replica's locks are its own.
    replica = replace(api.services, locks=KeyedLocks())

    def end(method: str) -> None:
        if method == "CreateRoom":
            api.livekit.before = None
            ending = streams.act(replica, ServiceCaller(), stream_id, Action.END)
            asyncio.run_coroutine_threadsafe(ending, loop).result(timeout=20)

    api.livekit.before = end
    await healing.restore_rooms(api.services)
    assert api.livekit.rooms == {}
    assert (await api.call("GET", f"/streams/{stream_id}"))["status"] == "ended"
    noted = select(AuditEntry).where(AuditEntry.action == "reconciler.room-recreated")
    assert await api.rows(noted) == []


async def test_the_room_of_a_session_that_was_given_up_meanwhile_does_not_stay(api: Api) -> None:
    stream_id = await api.stream()
    api.livekit.failing["CreateRoom"] = _AWAY
    await api.call("POST", f"/streams/{stream_id}/go-live", status=503)
    api.livekit.failing.clear()
    api.clock.advance(seconds=30)
    loop = asyncio.get_running_loop()

    async def give_up() -> None:
        async with api.services.database.begin() as transaction:
            await transaction.execute(delete(StreamSession).where(StreamSession.stream_id == stream_id))

    def before(method: str) -> None:
        if method == "CreateRoom":
            api.livekit.before = None
            asyncio.run_coroutine_threadsafe(give_up(), loop).result(timeout=20)

    api.livekit.before = before
    await healing.heal(api.services)
    assert api.livekit.rooms == {}
