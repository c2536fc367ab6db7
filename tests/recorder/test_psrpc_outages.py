"""psrpc while its Redis is away, hangs, or fails over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis

from recorder.psrpc import bus as bus_module
from recorder.psrpc.client import CallFailed
from recorder.psrpc.methods import Method
from recorder.psrpc.server import Server
from tests.ports import free_port
from tests.recorder.buses import (
    SERVICE,
    RestartableRedis,
    call,
    call_until_answered,
    local,
    opened_client,
    running_bus,
)
from tests.recorder.test_psrpc import answering
from tests.support.speed import scaled
from tests.token_api.clients import eventually

START, STOP = Method(SERVICE, "Start"), Method(SERVICE, "Stop", queue=True)


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RestartableRedis]:
    made = RestartableRedis(tmp_path)
    await made.start()
    yield made
    await made.stop()


async def test_calls_work_again_when_redis_is_back(redis: RestartableRedis) -> None:
    async with running_bus(local(redis.port)) as of_server, running_bus(local(redis.port)) as of_client:
        server, client = Server(of_server), await opened_client(of_client)
        await server.serve(START, answering("a"))
        await redis.stop()
        await eventually(
            lambda: not (of_server.connected.is_set() or of_client.connected.is_set()), "the loss to be seen"
        )
        with pytest.raises(CallFailed, match=r"^Studio\.Start: ") as failed:
            await call(client, "Start")
        assert failed.value.code == "unavailable"
        # What is asked for meanwhile is done later.
        late = asyncio.create_task(server.serve(STOP, answering("b")))
        await redis.start()
        assert await call_until_answered(client, "Start") == "a EG_1"
        async with asyncio.timeout(scaled(10)):
            await late
        assert await call_until_answered(client, "Stop") == "b EG_1"


async def test_a_bus_that_finds_no_redis_connects_later(redis: RestartableRedis) -> None:
    await redis.stop()
    async with running_bus(local(redis.port)) as bus:
        serving = asyncio.create_task(Server(bus).serve(START, answering("a")))
        async with running_bus(local(redis.port)) as of_client:
            opening = asyncio.create_task(opened_client(of_client))
            await redis.start()
            async with asyncio.timeout(scaled(15)):
                await serving
            assert await call_until_answered(await opening, "Start") == "a EG_1"


async def test_channels_that_are_not_wanted_any_more_do_not_come_back(redis: RestartableRedis) -> None:
    async with running_bus(local(redis.port)) as of_server, running_bus(local(redis.port)) as of_client:
        server, client = Server(of_server), await opened_client(of_client)
        await server.serve(START, answering("a"))
        await server.serve(STOP, answering("b"))
        await redis.stop()
        await eventually(lambda: not of_server.connected.is_set(), "the loss to be seen")
        await server.stop(START)
        await redis.start()
        assert await call_until_answered(client, "Stop") == "b EG_1"
        with pytest.raises(CallFailed, match="nobody answered"):
            await call(client, "Start", seconds=0.3)


class Relay:
    """Connects clients to a server until it hangs: then it passes nothing on, and closes nothing."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._passing = asyncio.Event()
        self._passing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = free_port()

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()

    def hang(self) -> None:
        """Pass nothing on for connections that exist. New ones work."""
        self._passing.clear()
        self._passing = asyncio.Event()
        self._passing.set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        for source, sink in ((reader, back), (there, writer)):
            self._tasks.add(asyncio.create_task(self._pass_on(source, sink, self._passing)))

    @staticmethod
    async def _pass_on(
        source: asyncio.StreamReader, sink: asyncio.StreamWriter, passing: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                if passing.is_set():
                    sink.write(data)
                    await sink.drain()


async def test_a_connection_that_leads_nowhere_is_given_up(
    redis: RestartableRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that lost its power closes no connection."""
    monkeypatch.setattr(bus_module, "_PING_SECONDS", 0.2)
    monkeypatch.setattr(bus_module, "_SILENT_SECONDS", scaled(1.0))
    async with (
        Relay(redis.port) as relay,
        running_bus(local(relay.port)) as of_server,
        running_bus(local(redis.port)) as of_client,
    ):
        client = await opened_client(of_client)
        await Server(of_server).serve(START, answering("a"))
        assert await call(client, "Start") == "a EG_1"
        relay.hang()
        await eventually(lambda: not of_server.connected.is_set(), "the silence to be noticed")
        assert await call_until_answered(client, "Start") == "a EG_1"


async def test_an_idle_connection_is_kept(redis: RestartableRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis answers the pings of a bus that gets no messages."""
    monkeypatch.setattr(bus_module, "_PING_SECONDS", 0.05)
    silence = scaled(0.5)
    monkeypatch.setattr(bus_module, "_SILENT_SECONDS", silence)
    async with running_bus(local(redis.port)) as bus:
        async with asyncio.timeout(scaled(10)):
            await bus.subscribe("a", lambda _: None)
        with Redis(port=redis.port) as observer:
            before = observer.client_list(_type="pubsub")
            await eventually(lambda: _pings(observer) * 0.05 > 2 * silence, "pings")
            after = observer.client_list(_type="pubsub")
    assert [each["id"] for each in before] == [each["id"] for each in after]


def _pings(redis: Redis) -> int:
    calls: int = redis.info("commandstats").get("cmdstat_ping", {}).get("calls", 0)
    return calls
