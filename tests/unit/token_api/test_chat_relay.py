"""What rooms are told of their chats when LiveKit takes only some of it: in order, and one room by one."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.unit.token_api.api import Api
from tests.unit.token_api.livekit_double import TwirpError
from token_api.database.tables import ChatRelay, StreamSession
from token_api.use_cases import chat_relay
from token_api.use_cases.chat_relay import CLAIM_SECONDS, relay_due


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's own rounds find nothing: a test has a round when it calls for one."""

    async def nothing(_services: object) -> bool:
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
    # They are nobody's: the next round, of whichever replica, may have them.
    assert [row.claimed_until for row in left] == [None, None]
    await tell(api, one, "fourth")
    api.livekit.refusing = None
    await relay_due(api.services)
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
    claimed = await chat_relay._claim(api.services)
    assert [json.loads(packet.payload)["text"] for packet in claimed] == ["once"]
    await relay_due(api.services)
    assert told(api, room) == []
    assert await chat_relay._claim(api.services) == []
