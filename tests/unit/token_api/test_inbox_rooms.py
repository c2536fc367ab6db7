"""Events of one room are handled in their order by one replica; a slow room delays no other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.unit.token_api.api import Api
from tests.unit.token_api.receiver import eventually
from tests.unit.token_api.test_inbox import Room, live_room, visit
from token_api.database.tables import InboxClaim, WebhookInbox
from token_api.domain.vocabulary import InboxState
from token_api.livekit_api.values import EgressState
from token_api.use_cases import webhooks_in
from token_api.use_cases.services import Services
from token_api.use_cases.webhooks_in import Reactions
from token_api.workers.inbox import InboxWorker

_OTHERS_SECONDS = 1.0
_WORK = InboxWorker.work


class Handler:
    """Records who came, and holds up the events of the rooms in `slow` until `go_on`."""

    def __init__(self) -> None:
        self.slow: set[str] = set()
        self.go_on = asyncio.Event()
        self.began: list[tuple[str, str]] = []
        self.ended: list[tuple[str, str]] = []
        self._in: dict[str, int] = {}

    async def on_joined(self, _services: Services, room: str, identity: str) -> None:
        self._in[room] = self._in.get(room, 0) + 1
        assert self._in[room] == 1, f"two events of {room} are handled at once"
        self.began.append((room, identity))
        # Let the other replica run.
        await asyncio.sleep(0)
        if room in self.slow:
            await self.go_on.wait()
        self.ended.append((room, identity))
        self._in[room] -= 1

    async def ignore(self, _services: Services, _room: str, _identity: str) -> None:
        """Tracks are not tested here."""

    async def ignore_egress(self, _services: Services, _state: EgressState) -> None:
        """Recordings are not tested here."""

    async def ignore_room(self, _services: Services, _stream_id: str) -> None:
        """That LiveKit removes rooms is not tested here."""

    @property
    def reactions(self) -> Reactions:
        return Reactions(self.on_joined, self.ignore, self.ignore_egress, self.ignore_room)


@pytest.fixture
def no_own_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the test's workers process events."""

    async def rest(_self: InboxWorker) -> float:
        return 300.0

    monkeypatch.setattr("token_api.workers.inbox.InboxWorker.work", rest)


async def came(api: Api, room: Room, number: int) -> None:
    """File that viewer `number` came in, in this order."""
    [told] = visit(room.name, f"u:v{number}", f"PA_{number}", float(number), None)
    now = api.clock.now()
    async with api.services.database.begin() as transaction:
        transaction.add(
            WebhookInbox(
                event_id=f"EV_{room.name}_{number}",
                event_type="participant_joined",
                room_name=room.name,
                body=json.dumps(told),
                happened_at=now + timedelta(seconds=number),
                received_at=now,
                next_at=now,
            )
        )


@asynccontextmanager
async def replicas(api: Api, handler: Handler, count: int) -> AsyncIterator[list[InboxWorker]]:
    """Workers of so many replicas, which look for work all the time."""
    workers = [InboxWorker(api.services, handler.reactions) for _ in range(count)]
    stop = asyncio.Event()

    async def turn(worker: InboxWorker) -> None:
        while not stop.is_set():
            await _WORK(worker)
            await asyncio.sleep(0.01)

    turning = [asyncio.create_task(turn(worker)) for worker in workers]
    try:
        yield workers
    finally:
        stop.set()
        handler.go_on.set()
        await asyncio.gather(*turning)
        for worker in workers:
            await worker.aclose()


@pytest.mark.usefixtures("no_own_worker")
async def test_a_room_whose_events_take_long_delays_no_other(api: Api) -> None:
    slow, quick = await live_room(api, viewers=3), await live_room(api, viewers=3)
    handler = Handler()
    handler.slow.add(slow.name)
    for number in range(3):
        await came(api, slow, number)
    async with replicas(api, handler, 1):
        await eventually(lambda: bool(handler.began), "the slow room's first event")
        for number in range(3):
            await came(api, quick, number)
        await eventually(lambda: len(handler.ended) == 3, "the other room", within=_OTHERS_SECONDS)
        assert [room for room, _ in handler.ended] == [quick.name] * 3
        assert handler.began[0] == (slow.name, "u:v0")
        handler.go_on.set()
        await eventually(lambda: len(handler.ended) == 6, "the slow room")


@pytest.mark.usefixtures("no_own_worker")
async def test_two_replicas_handle_each_event_once_and_those_of_a_room_in_order(api: Api) -> None:
    rooms = [await live_room(api, viewers=10) for _ in range(4)]
    for number in range(10):
        for room in rooms:
            await came(api, room, number)
    handler = Handler()
    async with replicas(api, handler, 2):
        await eventually(lambda: len(handler.ended) == 40, "all events", within=60)
    for room in rooms:
        identities = [identity for name, identity in handler.began if name == room.name]
        assert identities == [f"u:v{number}" for number in range(10)]
    assert set(await api.rows(select(WebhookInbox.state))) == {InboxState.DONE}
    assert await api.rows(select(InboxClaim)) == []


@pytest.mark.usefixtures("no_own_worker")
async def test_a_claim_that_has_ended_is_neither_renewed_nor_given_back(api: Api) -> None:
    room = await live_room(api)
    first = await webhooks_in.claim_room(api.services, room.name)
    assert first is not None
    assert await webhooks_in.renew(api.services, first)
    api.clock.advance(seconds=webhooks_in.LEASE.total_seconds())
    second = await webhooks_in.claim_room(api.services, room.name)
    assert second is not None
    api.clock.advance(seconds=1)
    assert not await webhooks_in.renew(api.services, first)
    await webhooks_in.release(api.services, first)
    assert await webhooks_in.claim_room(api.services, room.name) is None
    await webhooks_in.release(api.services, second)
    assert await webhooks_in.claim_room(api.services, room.name) is not None
