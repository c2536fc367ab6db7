"""psrpc's two sides over a real Redis, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from livekit.protocol import egress as proto

from recorder.psrpc.bus import Bus
from recorder.psrpc.client import CallFailed, Client
from recorder.redis_connection import connect
from recorder.settings import RedisSettings
from tests.ports import free_port
from tests.support.speed import scaled
from tests.token_api.livekit_server import redis_server

SERVICE = "Studio"
# A call is lost for a server that is not subscribed at that moment, so callers call again.
_ONE_TRY_SECONDS = 1.0


class RestartableRedis:
    """A Redis that can be stopped and started again at its port."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running = ExitStack()
        self.port = free_port()

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        server = redis_server(self._directory, self.port)
        await asyncio.to_thread(self._running.enter_context, server)

    async def stop(self) -> None:
        """Stop it, if it runs."""
        await asyncio.to_thread(self._running.close)


def local(port: int) -> RedisSettings:
    """A Redis on loopback."""
    return RedisSettings(address=f"127.0.0.1:{port}")


@asynccontextmanager
async def running_bus(settings: RedisSettings) -> AsyncIterator[Bus]:
    """A bus with connections of its own, as a process has it."""
    redis = connect(settings)
    bus = Bus(redis)
    running = asyncio.create_task(bus.run())
    try:
        yield bus
    finally:
        running.cancel()
        await asyncio.wait([running])
        await redis.aclose()
        assert running.cancelled(), running


async def opened_client(bus: Bus) -> Client:
    """A client of SERVICE that hears answers."""
    client = Client(bus, SERVICE)
    async with asyncio.timeout(scaled(10)):
        await client.open()
    return client


async def call(client: Client, method: str, egress_id: str = "EG_1", *, seconds: float = 10) -> str:
    """Call a method that answers with an EgressInfo; the room's name in it. Raises CallFailed."""
    request = proto.StopEgressRequest(egress_id=egress_id)
    answer = await client.call(method, request, seconds=scaled(seconds))
    return proto.EgressInfo.FromString(answer).room_name


async def call_until_answered(client: Client, method: str) -> str:
    """Call a method again and again until somebody answers."""
    async with asyncio.timeout(scaled(30)):
        while True:
            try:
                return await call(client, method, seconds=_ONE_TRY_SECONDS)
            except CallFailed as error:
                if error.code != "unavailable":
                    raise
