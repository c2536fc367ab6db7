"""Packets of a room arrive in their order; a room whose packets take long, or fail, delays no other room."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.unit.token_api.api import Api
from tests.unit.token_api.livekit_double import TwirpError
from tests.unit.token_api.receiver import eventually
from token_api.database.engine import Database
from token_api.database.tables import ChatRelay, StreamSession
from token_api.livekit_api.gateway import TIMEOUT_SECONDS
from token_api.use_cases import chat_relay
from token_api.use_cases.chat_relay import CLAIM_SECONDS, RETRY_SECONDS, TURN_SECONDS, relay_due
from token_api.use_cases.services import Services
from token_api.wakeups import Wakeups
from token_api.workers.loop import Worker, is_stopping, working

_OTHERS_SECONDS = 1.0
# As the service has it; tests wait longer.
_LIVEKIT_SECONDS = TIMEOUT_SECONDS


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's own rounds find nothing: a test has a round when it calls for one."""

    async def nothing(_services: object, _is_stopping: object) -> bool:
        return False

    monkeypatch.setattr("token_api.workers.chat.relay_due", nothing)


async def session_of(api: Api, stream_id: str) -> StreamSession:
    (found,) = await api.rows(select(StreamSession).where(StreamSession.stream_id == stream_id))
    assert isinstance(found, StreamSession)
    return found


async def live_rooms(api: Api, count: int) -> list[StreamSession]:
    return [await session_of(api, await api.live_stream()) for _ in range(count)]


async def tell(api: Api, session: StreamSession, *texts: str) -> None:
    async with api.services.database.begin() as transaction:
        for text in texts:
            chat_relay.tell(transaction, session.id, {"text": text}, api.clock.now())
            await transaction.flush()


def told(api: Api, session: StreamSession) -> list[str]:
    return [
        json.loads(packet.data)["text"] for packet in api.livekit.data if packet.room == session.room_name
    ]


def count_of(api: Api, session: StreamSession, wanted: int) -> Callable[[], bool]:
    """Whether the room was sent so many packets."""
    return lambda: len(told(api, session)) == wanted


def refusing(session: StreamSession, *texts: str) -> Callable[[str, Any], TwirpError | None]:
    """LiveKit does not take these of a room's packets."""

    def refuse(method: str, request: Any) -> TwirpError | None:
        wanted = method == "SendData" and request.room == session.room_name
        if wanted and json.loads(request.data)["text"] in texts:
            return TwirpError("deadline_exceeded", 408)
        return None

    return refuse


def count(api: Api, outcome: str) -> float:
    found: float = api.services.metrics.chat_relays.labels(outcome)._value.get()
    return found


async def test_what_follows_a_packet_that_failed_does_not_overtake_it(api: Api) -> None:
    one, other = await live_rooms(api, 2)
    # Turn by turn, as they are written.
    for text in ("first", "second", "third"):
        await tell(api, one, text)
        await tell(api, other, text)
    api.livekit.refusing = refusing(one, "second")
    await relay_due(api.services)
    assert told(api, one) == ["first"]
    # A room whose packets are taken waits for no other.
    assert told(api, other) == ["first", "second", "third"]
    assert (count(api, "sent"), count(api, "failed")) == (4, 1)
    left = await api.rows(select(ChatRelay).order_by(ChatRelay.position))
    assert [json.loads(row.payload)["text"] for row in left] == ["second", "third"]
    # No replica tries again before the pause is over.
    assert [row.claimed_until for row in left] == [api.clock.now() + timedelta(seconds=RETRY_SECONDS), None]
    await tell(api, one, "fourth")
    api.livekit.refusing = None
    assert await relay_due(api.services)
    assert told(api, one) == ["first"]
    api.clock.advance(seconds=RETRY_SECONDS)
    assert not await relay_due(api.services)
    assert told(api, one) == ["first", "second", "third", "fourth"]
    assert await api.rows(select(ChatRelay)) == []
    assert (count(api, "sent"), count(api, "failed")) == (7, 1)


async def test_a_round_ends_at_a_failure_instead_of_asking_at_once_again(api: Api) -> None:
    (room,) = await live_rooms(api, 1)
    await tell(api, room, "first", "second")
    api.livekit.refusing = refusing(room, "first")
    api.livekit.calls.clear()
    await relay_due(api.services)
    assert api.livekit.calls.count("SendData") == 1


async def test_more_than_a_batch_is_sent_in_one_round_in_its_order(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_relay, "BATCH", 3)
    (room,) = await live_rooms(api, 1)
    texts = [str(number) for number in range(8)]
    await tell(api, room, *texts)
    await relay_due(api.services)
    assert told(api, room) == texts


async def test_a_room_that_is_gone_is_told_nothing_and_holds_up_nobody(api: Api) -> None:
    gone, there = await live_rooms(api, 2)
    await tell(api, gone, "lost")
    await tell(api, there, "kept")
    del api.livekit.rooms[gone.room_name]
    await relay_due(api.services)
    assert (told(api, gone), told(api, there)) == ([], ["kept"])
    assert (count(api, "no_room"), count(api, "sent"), count(api, "failed")) == (1, 1, 0)
    assert await api.rows(select(ChatRelay)) == []


async def test_what_another_replica_has_claimed_is_left_to_it_until_its_claim_ends(api: Api) -> None:
    (room,) = await live_rooms(api, 1)
    await tell(api, room, "claimed")
    until = api.clock.now() + timedelta(seconds=CLAIM_SECONDS)
    async with api.services.database.begin() as transaction:
        # As a replica that died on the way leaves it.
        await transaction.execute(update(ChatRelay).values(claimed_until=until))
    await relay_due(api.services)
    assert told(api, room) == []
    api.clock.advance(seconds=CLAIM_SECONDS)
    await relay_due(api.services)
    assert told(api, room) == ["claimed"]


async def test_a_packet_that_is_being_sent_is_not_sent_by_another_round_too(api: Api) -> None:
    (room,) = await live_rooms(api, 1)
    await tell(api, room, "once")
    claimed = await chat_relay._claim(api.services, room.id)
    assert claimed is not None
    assert [json.loads(packet.payload)["text"] for packet in claimed.packets] == ["once"]
    # Nor does a later packet overtake it.
    await tell(api, room, "later")
    assert await relay_due(api.services)
    assert told(api, room) == []
    assert await chat_relay._claim(api.services, room.id) is None


def test_a_claim_holds_longer_than_a_turn_and_the_last_packet_in_it() -> None:
    assert CLAIM_SECONDS > TURN_SECONDS + 4 * _LIVEKIT_SECONDS


class Held:
    """LiveKit does not answer SendData of these rooms until the end of the block."""

    def __init__(self, api: Api, *sessions: StreamSession) -> None:
        self._api = api
        self._rooms = {session.room_name for session in sessions}
        self._go_on = threading.Event()
        self.waiting = 0

    def _hold(self, method: str, request: Any) -> None:
        if method == "SendData" and request.room in self._rooms:
            self.waiting += 1
            self._go_on.wait(60)

    def __enter__(self) -> Held:
        self._api.livekit.holding = self._hold
        return self

    def __exit__(self, *_: object) -> None:
        self._go_on.set()


@asynccontextmanager
async def relaying(services: Services) -> AsyncIterator[None]:
    """A round that goes on until all is sent."""
    task = asyncio.create_task(relay_due(services))
    try:
        yield
        await task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def own(api: Api) -> Services:
    """A replica's services, with bells of its own."""
    return replace(api.services, wakeups=Wakeups())


async def test_a_room_whose_packets_take_long_delays_no_other(api: Api) -> None:
    slow, quick = await live_rooms(api, 2)
    await tell(api, slow, "first", "second")
    services = own(api)
    async with relaying(services):
        with Held(api, slow) as held:
            await eventually(lambda: held.waiting == 1, "the slow room's first packet")
            for number in range(3):
                await tell(api, quick, str(number))
                services.wakeups.chat.set()
                await eventually(count_of(api, quick, number + 1), "the other room", within=_OTHERS_SECONDS)
            assert (told(api, slow), held.waiting) == ([], 1)
    assert (told(api, slow), told(api, quick)) == (["first", "second"], ["0", "1", "2"])


async def test_rooms_that_fail_do_not_take_the_places_of_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_relay, "ROOMS_AT_ONCE", 3)
    monkeypatch.setattr(chat_relay, "FAILED_AT_ONCE", 2)
    *failing, quick = await live_rooms(api, 5)
    for session in failing:
        await tell(api, session, "failed")
    async with api.services.database.begin() as transaction:
        # As a failure, or a replica that died, leaves them.
        await transaction.execute(update(ChatRelay).values(claimed_until=api.clock.now()))
    await tell(api, quick, "sent")
    async with relaying(own(api)):
        with Held(api, *failing) as held:
            await eventually(lambda: told(api, quick) == ["sent"], "the other", within=_OTHERS_SECONDS)
            await eventually(lambda: held.waiting == 2, "some of those that failed")
    assert [told(api, session) for session in failing] == [["failed"]] * 4


async def test_rooms_have_turns_however_many_packets_one_has(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_relay, "ROOMS_AT_ONCE", 1)
    monkeypatch.setattr(chat_relay, "BATCH", 2)
    busy, *others = await live_rooms(api, 3)
    await tell(api, busy, *(f"{number}" for number in range(8)))
    for session in others:
        await tell(api, session, "a", "b")
    assert not await relay_due(api.services)
    turns = [packet.room for packet in api.livekit.data[::2]]
    assert set(turns[:3]) == {session.room_name for session in (busy, *others)}
    assert turns[3:] == [busy.room_name] * 3
    assert told(api, busy) == [str(number) for number in range(8)]


async def test_two_replicas_send_each_packet_once_and_those_of_a_room_in_order(
    api: Api, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_relay, "BATCH", 3)
    rooms = await live_rooms(api, 4)
    texts = [str(number) for number in range(10)]
    for text in texts:
        for room in rooms:
            await tell(api, room, text)
    sending: Counter[str] = Counter()
    at_once: list[str] = []

    def watch(method: str, request: Any) -> None:
        if method != "SendData":
            return
        sending[request.room] += 1
        if sending[request.room] > 1:
            at_once.append(request.room)
        # Let the other replica run.
        time.sleep(0.002)
        sending[request.room] -= 1

    api.livekit.holding = watch
    second = Database(database)
    try:
        replicas = [own(api), replace(own(api), database=second)]
        async with asyncio.timeout(60):
            while await api.rows(select(ChatRelay.position).limit(1)):
                await asyncio.gather(*(relay_due(replica) for replica in replicas))
    finally:
        await second.aclose()
    assert [told(api, room) for room in rooms] == [texts] * 4
    assert at_once == []


@pytest.mark.parametrize("state", ["closing", "closed"])
async def test_a_session_that_is_not_open_is_sent_nothing(api: Api, state: str) -> None:
    ended, there = await live_rooms(api, 2)
    if state == "closing":
        api.livekit.failing["DeleteRoom"] = TwirpError("deadline_exceeded", 408)
        await api.call("POST", f"/streams/{ended.stream_id}/end", status=503)
    else:
        await api.call("POST", f"/streams/{ended.stream_id}/end")
    await tell(api, ended, "first", "second")
    await tell(api, there, "kept")
    api.livekit.calls.clear()
    assert not await relay_due(api.services)
    assert (told(api, ended), told(api, there)) == ([], ["kept"])
    assert api.livekit.calls.count("SendData") == 1
    assert count(api, "no_room") == 2
    assert await api.rows(select(ChatRelay)) == []


async def test_a_packet_that_is_being_sent_when_the_stream_ends_does_not_bring_the_room_back(
    api: Api,
) -> None:
    (ended,) = await live_rooms(api, 1)
    await tell(api, ended, "first", "second")
    async with relaying(own(api)):
        with Held(api, ended) as held:
            await eventually(lambda: held.waiting == 1, "the first packet")
            await api.call("POST", f"/streams/{ended.stream_id}/end")
    assert api.livekit.rooms == {}
    assert "CreateRoom" not in api.livekit.calls[api.livekit.calls.index("SendData") :]
    assert (count(api, "no_room"), await api.rows(select(ChatRelay))) == (2, [])


async def test_a_room_that_is_gone_costs_one_answer_and_not_one_for_each_packet(api: Api) -> None:
    (gone,) = await live_rooms(api, 1)
    await tell(api, gone, "first", "second", "third")
    del api.livekit.rooms[gone.room_name]
    await relay_due(api.services)
    assert api.livekit.calls.count("SendData") == 1
    assert count(api, "no_room") == 3


async def test_a_round_begins_nothing_more_when_the_process_stops(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_relay, "BATCH", 2)
    (room,) = await live_rooms(api, 1)
    await tell(api, room, *(str(number) for number in range(6)))
    services, ended = own(api), []

    async def work() -> None:
        ended.append(await relay_due(services, is_stopping))

    with Held(api, room) as held:
        async with (
            asyncio.timeout(20),
            working([Worker("chat", work, services.wakeups.chat, 3600)], patience=60),
        ):
            await eventually(lambda: held.waiting == 1, "the first packet")
            # The process is told to stop while the packet is sent.
            asyncio.get_running_loop().call_later(0.1, held.__exit__)
    assert ended == [True]
    assert told(api, room) == ["0", "1"]
    assert [row.claimed_until for row in await api.rows(select(ChatRelay))] == [None] * 4


async def test_a_failure_that_nobody_planned_for_stops_no_other_room(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_relay, "RETRY_SECONDS", 0)
    bad, good = await live_rooms(api, 2)
    send = api.services.livekit.send_data

    async def broken(room: str, data: bytes, *, topic: str) -> None:
        if room == bad.room_name:
            raise RuntimeError("nobody planned for this")
        await send(room, data, topic=topic)

    for session in (bad, good):
        await tell(api, session, "first")
    with monkeypatch.context() as patched:
        patched.setattr(api.services.livekit, "send_data", broken)
        assert await relay_due(api.services)
    assert told(api, good) == ["first"]
    api.clock.advance(seconds=CLAIM_SECONDS)
    await relay_due(api.services)
    assert told(api, bad) == ["first"]
