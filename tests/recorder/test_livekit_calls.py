"""The real livekit-server's calls, as a worker of psrpc gets and answers them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from google.protobuf.message import Message
from livekit import api
from livekit.api.twirp_client import TwirpError
from livekit.protocol import egress as proto

from recorder import info as infos
from recorder.errors import Code, EgressError
from recorder.psrpc.bus import Bus
from recorder.psrpc.client import Client
from recorder.psrpc.methods import Method
from recorder.psrpc.server import Affinity, Handler, Server
from recorder.report import Reporter
from recorder.requests.kinds import message_of
from recorder.requests.rpc import StartEgressRequest
from tests.recorder.buses import local, running_bus
from tests.support.speed import scaled
from tests.token_api.livekit_server import LiveKitServer, livekit_server, redis_server
from tests.unit.token_api.support import KEY, SECRET

START = Method("EgressInternal", "StartEgress")
REQUEST = proto.RoomCompositeEgressRequest(
    room_name="daily",
    layout="grid",
    file_outputs=[proto.EncodedFileOutput(filepath="x.mp4")],
    advanced=proto.EncodingOptions(width=640, height=360, key_frame_interval=2.5),
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveKitServer, int]]:
    directory = tmp_path_factory.mktemp("livekit")
    with (
        redis_server(directory) as redis_port,
        livekit_server(directory, redis_port=redis_port) as livekit,
    ):
        yield livekit, redis_port


@pytest.fixture
async def livekit(servers: tuple[LiveKitServer, int]) -> AsyncIterator[api.LiveKitAPI]:
    async with api.LiveKitAPI(servers[0].url.replace("ws://", "http://"), KEY, SECRET) as made:
        await made.room.create_room(api.CreateRoomRequest(name="daily"))
        yield made


@pytest.fixture
async def bus(servers: tuple[LiveKitServer, int]) -> AsyncIterator[Bus]:
    async with running_bus(local(servers[1])) as made:
        yield made


async def test_livekits_client_starts_reads_and_stops_an_egress(livekit: api.LiveKitAPI, bus: Bus) -> None:
    server, client, received = Server(bus), Client(bus, "IOInfo"), []

    async def start(payload: bytes) -> Message:
        request = StartEgressRequest.FromString(payload)
        received.append(request)
        return infos.of_request(request)

    async def stop(payload: bytes) -> Message:
        egress_id = proto.StopEgressRequest.FromString(payload).egress_id
        return proto.EgressInfo(egress_id=egress_id, status=proto.EGRESS_ENDING)

    async with asyncio.timeout(scaled(60)):
        await client.open()
        await server.serve(START, start)
        started = await livekit.egress.start_room_composite_egress(REQUEST)
        [request] = received
        [known] = (await livekit.room.list_rooms(api.ListRoomsRequest(names=["daily"]))).rooms
        assert (request.egress_id, request.room_id) == (started.egress_id, known.sid)
        assert request.egress_id.startswith("EG_")
        assert message_of(request) == REQUEST
        listing = proto.ListEgressRequest(egress_id=started.egress_id)
        [stored] = (await livekit.egress.list_egress(listing)).items
        assert stored == started
        stopping = Method("EgressHandler", "StopEgress", topic=started.egress_id, queue=True)
        await server.serve(stopping, stop)
        stopped = await livekit.egress.stop_egress(proto.StopEgressRequest(egress_id=started.egress_id))
        assert stopped.status == proto.EGRESS_ENDING
        reporter = Reporter(client, lambda _: None)
        running = asyncio.create_task(reporter.run())
        infos.set_complete(started)
        reporter.update(started)
        assert await reporter.final_taken(scaled(20))
        running.cancel()
        [ended] = (await livekit.egress.list_egress(listing)).items
        assert ended == started


@pytest.mark.parametrize("order", [("idle", "busy"), ("busy", "idle")])
async def test_livekits_client_prefers_the_server_that_wants_a_call_most(
    livekit: api.LiveKitAPI, bus: Bus, servers: tuple[LiveKitServer, int], order: tuple[str, str]
) -> None:
    def starting(name: str) -> Handler:
        async def start(payload: bytes) -> Message:
            info = infos.of_request(StartEgressRequest.FromString(payload))
            info.details = name
            return info

        return start

    async with running_bus(local(servers[1])) as other:
        affinities: dict[str, Affinity] = {"idle": lambda _: 0.5, "busy": lambda _: 1.0}
        for each, name in zip((bus, other), order, strict=True):
            await Server(each).serve(START, starting(name), affinity=affinities[name])
        started = [await livekit.egress.start_room_composite_egress(REQUEST) for _ in range(3)]
    assert [each.details for each in started] == ["busy"] * 3


async def test_the_apis_user_gets_the_workers_error(livekit: api.LiveKitAPI, bus: Bus) -> None:
    async def refuse(_payload: bytes) -> Message:
        raise EgressError(Code.INVALID_ARGUMENT, "web egress is not yet supported")

    await Server(bus).serve(START, refuse)
    with pytest.raises(TwirpError) as refused:
        await livekit.egress.start_room_composite_egress(REQUEST)
    assert refused.value.code == "invalid_argument"
    # LiveKit puts words of its own in front.
    assert refused.value.message.endswith(": web egress is not yet supported")
