"""psrpc over a real Redis: calls, their errors, and who answers them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from google.protobuf.message import Message
from livekit.protocol import egress as proto
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from recorder.errors import Code, EgressError
from recorder.psrpc.bus import Bus
from recorder.psrpc.client import CallFailed, Client
from recorder.psrpc.methods import Method, channel
from recorder.psrpc.server import NANOSECONDS, Handler, Server
from recorder.psrpc.wire import ClaimRequest, ClaimResponse, Request, Response, unpack
from recorder.requests.rpc import ListActiveEgressRequest, ListActiveEgressResponse
from tests.recorder.buses import SERVICE, call, local, opened_client, running_bus
from tests.support.speed import scaled
from tests.token_api.clients import eventually
from tests.token_api.livekit_server import redis_server

START = Method(SERVICE, "Start")


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture
async def buses(redis_port: int) -> AsyncIterator[list[Bus]]:
    """Three, each as a process of its own has it."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running_bus(local(redis_port))) for _ in range(3)]


class Caller:
    """A caller that chooses by itself, and sees every claim and response."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.claims: asyncio.Queue[ClaimRequest] = asyncio.Queue()
        self.responses: asyncio.Queue[Response] = asyncio.Queue()

    async def open(self) -> None:
        await self._bus.subscribe(channel(SERVICE, "CLI_1", "CLAIM"), self._claimed)
        await self._bus.subscribe(channel(SERVICE, "CLI_1", "RES"), self._answered)

    def _claimed(self, payload: bytes) -> None:
        self.claims.put_nowait(unpack(ClaimRequest, payload))

    def _answered(self, payload: bytes) -> None:
        self.responses.put_nowait(unpack(Response, payload))

    async def request(self, method: Method, *, call_id: str = "REQ_1", seconds: float = 10) -> None:
        now = time.time_ns()
        expiry = now + int(scaled(seconds) * NANOSECONDS)
        sent = Request(request_id=call_id, client_id="CLI_1", sent_at=now, expiry=expiry)
        await self._bus.publish(method.requests, sent)

    async def choose(self, method: Method, claim: ClaimRequest) -> None:
        choice = ClaimResponse(request_id=claim.request_id, server_id=claim.server_id)
        await self._bus.publish(method.choices, choice)


@pytest.fixture
async def caller(buses: list[Bus]) -> Caller:
    made = Caller(buses[0])
    await made.open()
    return made


@pytest.fixture
async def client(buses: list[Bus]) -> Client:
    return await opened_client(buses[0])


def answering(name: str) -> Handler:
    """A handler that answers with its name and what it was asked."""

    async def handle(payload: bytes) -> Message:
        egress_id = proto.StopEgressRequest.FromString(payload).egress_id
        return proto.EgressInfo(room_name=f"{name} {egress_id}".strip())

    return handle


def raising(error: Exception) -> Handler:
    async def handle(_payload: bytes) -> Message:
        raise error

    return handle


async def test_a_server_answers_a_call(buses: list[Bus], client: Client) -> None:
    await Server(buses[1]).serve(START, answering("a"))
    assert await call(client, "Start", "EG_7") == "a EG_7"


async def test_many_calls_at_once_get_their_own_answers(buses: list[Bus], client: Client) -> None:
    for bus in buses[1:]:
        await Server(bus).serve(START, answering("a"))
    wanted = [f"EG_{number}" for number in range(50)]
    answers = await asyncio.gather(*(call(client, "Start", egress_id) for egress_id in wanted))
    assert answers == [f"a {egress_id}" for egress_id in wanted]


async def test_a_claim_and_an_answer_are_sent_again_if_redis_does_not_take_them(
    buses: list[Bus], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine with much to do may not open a connection in time."""
    await Server(buses[1]).serve(START, answering("a"))
    publish, seen = buses[1].publish, list[str]()

    async def every_other(name: str, message: Message) -> None:
        seen.append(name)
        if len(seen) % 2:
            raise RedisTimeoutError("Timeout connecting to server")
        await publish(name, message)

    monkeypatch.setattr(buses[1], "publish", every_other)
    assert await call(client, "Start") == "a EG_1"
    assert len(seen) == 4


async def _malformed(_payload: bytes) -> Message:
    return proto.EgressInfo.FromString(b"\xff")


@pytest.mark.parametrize(
    ("handler", "code", "text"),
    [
        (raising(EgressError(Code.NOT_FOUND, "no such egress")), "not_found", "Studio.Start: no such egress"),
        (_malformed, "malformed_request", "Studio.Start: Error parsing message"),
        # What a bug says is for the log, not for the API's user.
        (raising(KeyError("secret")), "internal", "Studio.Start: internal error, see the worker's log"),
    ],
)
async def test_the_caller_gets_the_handlers_error(
    buses: list[Bus], client: Client, handler: Handler, code: str, text: str
) -> None:
    await Server(buses[1]).serve(START, handler)
    with pytest.raises(CallFailed) as failed:
        await call(client, "Start")
    assert failed.value.code == code
    assert str(failed.value).startswith(text)


async def test_nobody_answers_a_call_that_nobody_wants(buses: list[Bus], client: Client) -> None:
    def broken(_payload: bytes) -> float:
        raise KeyError("x")

    await Server(buses[1]).serve(START, answering("a"), affinity=lambda _: -1.0)
    await Server(buses[2]).serve(START, answering("b"), affinity=broken)
    with pytest.raises(CallFailed, match=r"nobody answered Studio\.Start within") as failed:
        await call(client, "Start", seconds=0.3)
    assert failed.value.code == "unavailable"


async def test_a_call_goes_to_the_server_that_the_caller_chooses(buses: list[Bus], caller: Caller) -> None:
    first, second = Server(buses[1]), Server(buses[2])
    names = {first.id: "a", second.id: "b"}
    await first.serve(START, answering("a"), affinity=lambda _: 0.5)
    await second.serve(START, answering("b"), affinity=lambda _: 1.0)
    async with asyncio.timeout(scaled(10)):
        await caller.request(START)
        claims = [await caller.claims.get() for _ in range(2)]
        assert {names[claim.server_id]: claim.affinity for claim in claims} == {"a": 0.5, "b": 1.0}
        for claim in claims:
            await caller.request(START, call_id=f"to {names[claim.server_id]}")
        # Both requests are claimed by both servers.
        for claim in [await caller.claims.get() for _ in range(4)]:
            if claim.request_id == f"to {names[claim.server_id]}":
                await caller.choose(START, claim)
        responses = [await caller.responses.get() for _ in range(2)]
    assert {each.request_id: names[each.server_id] for each in responses} == {"to a": "a", "to b": "b"}


async def test_one_of_several_servers_takes_a_queued_call(buses: list[Bus], client: Client) -> None:
    method = Method(SERVICE, "Stop", topic="EG_1", queue=True)
    taken: list[bytes] = []

    def take(payload: bytes) -> float:
        taken.append(payload)
        return 1.0

    for bus in buses[1:]:
        await Server(bus).serve(method, answering("a"), affinity=take)
    caller = Caller(buses[0])
    await caller.open()
    async with asyncio.timeout(scaled(20)):
        for number in range(10):
            await caller.request(method, call_id=f"REQ_{number}")
            await caller.choose(method, await caller.claims.get())
            assert (await caller.responses.get()).request_id == f"REQ_{number}"
    assert len(taken) == 10
    assert caller.claims.empty()


async def test_every_server_answers_a_call_without_claims(buses: list[Bus], caller: Caller) -> None:
    method = Method("EgressInternal", "ListActiveEgress", claim=False)

    def listing(*egress_ids: str) -> Handler:
        async def handle(payload: bytes) -> Message:
            ListActiveEgressRequest.FromString(payload)
            return ListActiveEgressResponse(egress_ids=egress_ids)

        return handle

    await Server(buses[1]).serve(method, listing("EG_1"))
    await Server(buses[2]).serve(method, listing("EG_2", "EG_3"))
    responses: asyncio.Queue[bytes] = asyncio.Queue()
    async with asyncio.timeout(scaled(10)):
        await buses[0].subscribe("EgressInternal|CLI_1|RES", responses.put_nowait)
        expiry = time.time_ns() + int(scaled(10) * NANOSECONDS)
        sent = Request(request_id="REQ_1", client_id="CLI_1", expiry=expiry, multi=True)
        await buses[0].publish(method.requests, sent)
        answers = [unpack(Response, await responses.get()).raw_response for _ in range(2)]
    listed = {tuple(ListActiveEgressResponse.FromString(answer).egress_ids) for answer in answers}
    assert listed == {("EG_1",), ("EG_2", "EG_3")}


async def test_a_call_that_is_too_old_is_not_answered(buses: list[Bus], caller: Caller) -> None:
    handled: list[bytes] = []

    def want(payload: bytes) -> float:
        handled.append(payload)
        return 1.0

    await Server(buses[1]).serve(START, answering("a"), affinity=want)
    await caller.request(START, call_id="old", seconds=-1)
    await caller.request(START, call_id="new")
    async with asyncio.timeout(scaled(10)):
        assert (await caller.claims.get()).request_id == "new"
    assert len(handled) == 1


async def test_a_server_that_cannot_read_a_call_answers_without_a_claim(
    buses: list[Bus], client: Client
) -> None:
    """As livekit/psrpc's servers do: the caller must not wait for a claim."""

    def refuse(payload: bytes) -> None:
        request = unpack(Request, payload)
        response = Response(request_id=request.request_id, error="unreadable", code="malformed_request")
        asyncio.get_running_loop().create_task(
            buses[1].publish(channel(SERVICE, request.client_id, "RES"), response)
        )

    await buses[1].subscribe(START.requests, refuse)
    with pytest.raises(CallFailed, match=r"Studio\.Start: unreadable"):
        await call(client, "Start", seconds=60)


async def test_garbage_on_a_channel_concerns_nobody_else(
    buses: list[Bus], client: Client, redis_port: int
) -> None:
    await Server(buses[1]).serve(START, answering("a"))
    async with Redis(port=redis_port) as redis:
        for name in (START.requests, START.choices):
            await redis.publish(name, b"\xff\xff garbage")
    assert await call(client, "Start") == "a EG_1"


async def test_a_call_under_way_is_answered_by_a_server_that_stops(buses: list[Bus], client: Client) -> None:
    handling, go_on = asyncio.Event(), asyncio.Event()

    async def slow(payload: bytes) -> Message:
        handling.set()
        await go_on.wait()
        return await answering("a")(payload)

    server = Server(buses[1])
    await server.serve(START, slow)
    async with asyncio.timeout(scaled(20)):
        under_way = asyncio.create_task(call(client, "Start"))
        await handling.wait()
        stopping = asyncio.create_task(server.stop(START))
        # It takes no new calls meanwhile.
        with pytest.raises(CallFailed, match="nobody answered"):
            await call(client, "Start", seconds=0.3)
        assert not stopping.done()
        go_on.set()
        assert await under_way == "a EG_1"
        await stopping


async def test_a_claimed_call_is_answered_by_a_server_that_stops(buses: list[Bus], caller: Caller) -> None:
    server = Server(buses[1])
    await server.serve(START, answering("a"))
    async with asyncio.timeout(scaled(10)):
        await caller.request(START)
        claim = await caller.claims.get()
        stopping = asyncio.create_task(server.stop(START))
        await caller.choose(START, claim)
        response = await caller.responses.get()
        await stopping
    assert proto.EgressInfo.FromString(response.raw_response).room_name == "a"


async def test_a_channel_can_be_subscribed_to_anew(buses: list[Bus], client: Client) -> None:
    server = Server(buses[1])
    for name in ("a", "b"):
        async with asyncio.timeout(scaled(10)):
            await server.serve(START, answering(name))
            assert await call(client, "Start") == f"{name} EG_1"
            await server.stop(START)


async def test_redis_forgets_a_channel_that_is_not_wanted_any_more(buses: list[Bus], redis_port: int) -> None:
    server = Server(buses[1])
    await server.serve(START, answering("a"))
    with SyncRedis(port=redis_port) as observer:

        def subscribers() -> int:
            return sum(count for _, count in observer.pubsub_numsub(START.requests, START.choices))

        assert subscribers() == 2
        await server.stop(START)
        await eventually(lambda: subscribers() == 0, "Redis to forget the channels")


async def test_waiting_for_a_subscription_ends_when_it_is_not_wanted_any_more(redis_port: int) -> None:
    idle: Any = Bus(Redis(port=redis_port))
    async with asyncio.timeout(scaled(10)):
        waiting = asyncio.create_task(idle.subscribe("a", lambda _: None))
        await asyncio.sleep(0)
        idle.unsubscribe("a")
        await waiting
