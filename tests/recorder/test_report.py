"""Reports reach LiveKit, sooner or later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from livekit.protocol import egress as proto

from recorder import info as infos
from recorder.errors import Code, EgressError
from recorder.psrpc.bus import Bus
from recorder.psrpc.client import Client
from recorder.psrpc.methods import Method
from recorder.psrpc.server import Server
from recorder.report import Reporter
from tests.recorder.buses import local, running_bus
from tests.support.speed import scaled
from tests.token_api.livekit_server import redis_server

UPDATE = Method("IOInfo", "UpdateEgress", queue=True)
STARTING, ACTIVE, ENDING, COMPLETE = (
    proto.EgressInfo(egress_id="EG_1", status=status)
    for status in (proto.EGRESS_STARTING, proto.EGRESS_ACTIVE, proto.EGRESS_ENDING, proto.EGRESS_COMPLETE)
)


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture
async def bus(redis_port: int) -> AsyncIterator[Bus]:
    async with running_bus(local(redis_port)) as made:
        yield made


class Reports:
    """A reporter that runs, and what it saved."""

    def __init__(self, client: Client) -> None:
        self.saved: list[proto.EgressInfo] = []
        self.reporter = Reporter(client, self._save)

    def _save(self, info: proto.EgressInfo) -> None:
        saved = proto.EgressInfo()
        saved.CopyFrom(info)
        self.saved.append(saved)


@pytest.fixture
async def reports(redis_port: int) -> AsyncIterator[Reports]:
    async with running_bus(local(redis_port)) as of_reporter:
        client = Client(of_reporter, "IOInfo")
        async with asyncio.timeout(scaled(10)):
            await client.open()
        made = Reports(client)
        running = asyncio.create_task(made.reporter.run())
        yield made
        running.cancel()


class LiveKit:
    """Takes reports, unless it has an error."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[proto.EgressInfo] = asyncio.Queue()
        self.error: EgressError | None = None

    async def update(self, payload: bytes) -> Message:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        self.taken.put_nowait(proto.EgressInfo.FromString(payload))
        return Empty()


async def test_each_state_is_saved_and_reported(bus: Bus, reports: Reports) -> None:
    livekit = LiveKit()
    async with asyncio.timeout(scaled(20)):
        await Server(bus).serve(UPDATE, livekit.update)
        for state in (ACTIVE, ENDING, COMPLETE):
            reports.reporter.update(state)
            assert await livekit.taken.get() == state
            assert reports.saved[-1] == state
            assert await reports.reporter.final_taken(scaled(5) if state is COMPLETE else 0) is (
                state is COMPLETE
            )


async def test_only_the_newest_state_is_reported_when_livekit_is_back(bus: Bus, reports: Reports) -> None:
    reports.reporter.update(ACTIVE)
    reports.reporter.update(COMPLETE)
    assert not await reports.reporter.final_taken(scaled(0.3))
    livekit = LiveKit()
    async with asyncio.timeout(scaled(30)):
        await Server(bus).serve(UPDATE, livekit.update)
        assert await livekit.taken.get() == COMPLETE
        assert await reports.reporter.final_taken(scaled(10))
    assert reports.saved == [ACTIVE, COMPLETE]


async def test_a_state_that_livekit_could_not_store_is_reported_again(bus: Bus, reports: Reports) -> None:
    livekit = LiveKit()
    livekit.error = EgressError(Code.INTERNAL, "could not update egress info")
    async with asyncio.timeout(scaled(20)):
        await Server(bus).serve(UPDATE, livekit.update)
        reports.reporter.update(COMPLETE)
        assert await livekit.taken.get() == COMPLETE


async def test_a_state_is_reported_as_it_was_with_the_single_result(bus: Bus, reports: Reports) -> None:
    livekit = LiveKit()
    info = proto.EgressInfo(status=proto.EGRESS_ACTIVE, stream_results=[proto.StreamInfo(url="rtmp://a")])
    async with asyncio.timeout(scaled(20)):
        await Server(bus).serve(UPDATE, livekit.update)
        reports.reporter.update(info)
        infos.end_stream(info.stream_results[0], 5)
        taken = await livekit.taken.get()
    assert [each.ended_at for each in taken.stream.info] == [0]
    assert reports.saved == [taken]
