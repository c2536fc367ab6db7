"""How recordings end: with which state, error and file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from livekit.protocol import egress as proto

from tests.recorder.conftest import Egresses, Studio
from tests.recorder.marked import MOST_MISSING, marked, watch
from tests.recorder.worker import Worker, recorder

_SMALL = proto.EncodingOptions(width=320, height=180, framerate=15, video_bitrate=500)
_SECONDS = 3.0


@pytest.mark.usefixtures("worker")
async def test_the_room_ends(studio: Studio, egresses: Egresses, tmp_path: Path) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    async with marked(studio.livekit.url, "alice", room):
        info = await egresses.record_room(room, advanced=_SMALL)
        await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
        await asyncio.sleep(_SECONDS)
        await egresses.delete_room(room)
        ended = await egresses.ends(info.egress_id)
    assert (ended.status, ended.error_code) == (proto.EGRESS_COMPLETE, 0)
    assert ended.details == "End reason: Source closed"
    assert watch(studio.fetch(f"{room}.mp4", tmp_path)).duration >= _SECONDS - 0.5


@pytest.mark.usefixtures("worker")
@pytest.mark.long
async def test_two_at_once(studio: Studio, egresses: Egresses, tmp_path: Path) -> None:
    rooms = [studio.new_room(), studio.new_room()]
    for room in rooms:
        await egresses.create_room(room)
    async with (
        marked(studio.livekit.url, "alice", rooms[0]),
        marked(studio.livekit.url, "bob", rooms[1]),
    ):
        started = [await egresses.record_room(room, advanced=_SMALL) for room in rooms]
        for info in started:
            await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
        await asyncio.sleep(_SECONDS)
        for info in started:
            await egresses.stop(info.egress_id)
        ended = [await egresses.ends(info.egress_id) for info in started]
    assert [(info.status, info.error_code) for info in ended] == [(proto.EGRESS_COMPLETE, 0)] * 2
    for room in rooms:
        seen = watch(studio.fetch(f"{room}.mp4", tmp_path))
        assert seen.duration >= _SECONDS - 0.5
        assert seen.missing < MOST_MISSING


@pytest.mark.usefixtures("worker")
async def test_stopped_before_it_began(studio: Studio, egresses: Egresses) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    async with marked(studio.livekit.url, "silent", room, camera=False, microphone=False):
        info = await egresses.record_room(room)
        await egresses.stop(info.egress_id)
        ended = await egresses.ends(info.egress_id)
    assert (ended.status, ended.error, ended.error_code) == (
        proto.EGRESS_ABORTED,
        "Stop called before pipeline could start",
        412,
    )


async def test_a_busy_worker_leaves_requests_to_others(
    studio: Studio, egresses: Egresses, tmp_path: Path, worker: Worker
) -> None:
    """The second worker has less to spare than a recording costs, so the first one takes them all."""
    costs = {"room_composite_cpu_cost": 64}
    with recorder(tmp_path, studio.settings(cpu_cost=costs, spool=tmp_path / "spool")) as busy:
        assert busy.metric("livekit_egress_can_accept_request") == 0
        room = studio.new_room()
        await egresses.create_room(room)
        async with marked(studio.livekit.url, "alice", room):
            info = await egresses.record_room(room, advanced=_SMALL)
            await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
            assert info.egress_id in worker.status()["egresses"]
            await egresses.stop(info.egress_id)
            await egresses.ends(info.egress_id)
