"""Workers that run out of disk or memory, or whose ready process has died."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from livekit.protocol import egress as proto

from common.waiting import wait_until
from recorder.admission import GIBIBYTE, MEBIBYTE
from tests.recorder.conftest import Egresses, Studio
from tests.recorder.marked import marked, watch
from tests.recorder.worker import Worker, handlers, recorder
from tests.support.speed import scaled

_SMALL = proto.EncodingOptions(width=320, height=180, framerate=15, video_bitrate=500)
_SECONDS = 3.0


async def test_a_spool_that_is_nearly_full_costs_one_recording(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    """The largest one ends as on a full disk, with its file; the other one goes on."""
    first, second = studio.new_room(), studio.new_room()
    spool = tmp_path / "spool"
    settings = studio.settings(spool=spool, recorder={"spool_max_bytes": 400 * MEBIBYTE})
    with recorder(tmp_path, settings):
        for room in (first, second):
            await egresses.create_room(room)
        async with marked(studio.livekit.url, "alice", first), marked(studio.livekit.url, "bob", second):
            larger = (await egresses.record_room(first, advanced=_SMALL)).egress_id
            await egresses.becomes(larger, proto.EGRESS_ACTIVE)
            await asyncio.sleep(_SECONDS)
            smaller = (await egresses.record_room(second, advanced=_SMALL)).egress_id
            await egresses.becomes(smaller, proto.EGRESS_ACTIVE)
            # Too little for two recordings, and enough for one.
            with (spool / "filler").open("wb") as filler:
                os.posix_fallocate(filler.fileno(), 0, 290 * MEBIBYTE)
            ended = await egresses.ends(larger)
            await asyncio.sleep(_SECONDS)
            await egresses.stop(smaller)
            other = await egresses.ends(smaller)
    assert (ended.status, ended.error_code, ended.details) == (
        proto.EGRESS_FAILED,
        500,
        "End reason: Failure",
    )
    assert ended.error == "recording ended early: [Errno 28] No space left on device"
    assert watch(studio.fetch(f"{first}.mp4", tmp_path)).duration >= _SECONDS - 1
    assert (other.status, other.error) == (proto.EGRESS_COMPLETE, "")


@pytest.mark.long
async def test_a_worker_without_memory_ends_its_recording(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    """Another process becomes ready when a recording begins, so the worker has more memory than before."""
    with recorder(tmp_path, studio.settings(spool=tmp_path / "spool")) as idle:
        used = await _settled_memory(idle)
    costs = {
        "max_cpu_utilization": 1.0,
        "room_composite_cpu_cost": 0.2,
        "memory_cost": 0,
        "max_memory": 1.2 * used / GIBIBYTE,
        "memory_kill_grace_sec": 5,
    }
    room = studio.new_room()
    await egresses.create_room(room)
    with recorder(tmp_path, studio.settings(spool=tmp_path / "spool", cpu_cost=costs)) as worker:
        async with marked(studio.livekit.url, "alice", room):
            info = await egresses.record_room(room, advanced=_SMALL)
            ended = await egresses.ends(info.egress_id)
            await asyncio.to_thread(
                wait_until,
                lambda: worker.metric("livekit_egress_handler_results_total", result="killed_oom") == 1,
                timeout=scaled(10),
                describe="the result in the metrics",
            )
    assert (ended.status, ended.error_code) == (proto.EGRESS_FAILED, 403)
    assert ended.error.startswith("OOM: ")
    assert ended.file_results[0].location


async def test_a_dead_process_that_was_ready_delays_a_recording_only(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    with recorder(tmp_path, studio.settings(spool=tmp_path / "spool")) as worker:
        async with marked(studio.livekit.url, "alice", room):
            (spare,) = _children(worker)
            os.kill(spare, signal.SIGKILL)
            info = await egresses.record_room(room, advanced=_SMALL)
            await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
            assert handlers(worker) != [spare]
            await egresses.stop(info.egress_id)
            ended = await egresses.ends(info.egress_id)
    assert ended.status == proto.EGRESS_COMPLETE


def _children(worker: Worker) -> list[int]:
    path = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


async def _settled_memory(worker: Worker) -> float:
    """What the worker has in memory when its ready process is loaded."""
    before = 0.0

    def settled() -> float:
        nonlocal before
        last, before = before, worker.metric("livekit_egress_proc_rss_bytes")
        return before if before - last < MEBIBYTE and before > 100 * MEBIBYTE else 0.0

    used: float = await asyncio.to_thread(
        wait_until, settled, timeout=scaled(30), describe="the ready process to be loaded", interval=1.0
    )
    return used
