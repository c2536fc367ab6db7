"""States are on the disk before LiveKit hears of them, and the disk delays nothing else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from livekit.protocol import egress as proto

from recorder.report import Reporter
from tests.unit.recorder.clients import StubClient

STATES = (proto.EGRESS_STARTING, proto.EGRESS_ACTIVE, proto.EGRESS_ENDING, proto.EGRESS_COMPLETE)


def state(status: proto.EgressStatus) -> proto.EgressInfo:
    return proto.EgressInfo(egress_id="EG_1", status=status)


@asynccontextmanager
async def running(client: StubClient, save: Callable[[proto.EgressInfo], None]) -> AsyncIterator[Reporter]:
    reporter = Reporter(client, save)
    task = asyncio.create_task(reporter.run())
    try:
        yield reporter
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_slow_disk_does_not_keep_the_recording_waiting() -> None:
    """The event loop gives sound its time: it must not wait for the disk."""
    client, disk = StubClient(), threading.Event()

    def save(_: proto.EgressInfo) -> None:
        disk.wait(10)

    async with running(client, save) as reporter:
        began = time.monotonic()
        for status in STATES:
            reporter.update(state(status))
        assert time.monotonic() - began < 1
        await asyncio.sleep(0.2)
        # LiveKit must not know of a state that a crash would lose.
        assert client.taken == []
        disk.set()
        assert await reporter.final_taken(10)
    assert client.taken[-1].status == proto.EGRESS_COMPLETE


async def test_states_are_saved_in_their_order_and_before_they_are_sent() -> None:
    saved: list[int] = []
    client = StubClient()
    unsaved: list[int] = []

    def save(info: proto.EgressInfo) -> None:
        time.sleep(0.02)
        saved.append(info.status)

    async with running(client, save) as reporter:
        for status in STATES:
            info = state(status)
            reporter.update(info)
            # What the recording changes afterwards belongs to the next state.
            info.error = "later"
            await asyncio.sleep(0.03)
            unsaved += [each.status for each in client.taken if each.status not in saved]
        await reporter.saved()
        assert saved == list(STATES)
        assert await reporter.final_taken(10)
    assert unsaved == []
    assert [each.error for each in client.taken] == [""] * len(client.taken)


async def test_all_states_are_saved_when_the_process_goes() -> None:
    saved: list[int] = []
    client = StubClient()
    client.away = True

    def save(info: proto.EgressInfo) -> None:
        time.sleep(0.05)
        saved.append(info.status)

    async with running(client, save) as reporter:
        for status in STATES:
            reporter.update(state(status))
        await reporter.saved()
        assert saved == list(STATES)


async def test_a_state_that_cannot_be_saved_is_reported_all_the_same() -> None:
    client = StubClient()

    def save(info: proto.EgressInfo) -> None:
        raise RuntimeError(info.egress_id)

    async with running(client, save) as reporter:
        reporter.update(state(proto.EGRESS_COMPLETE))
        assert await reporter.final_taken(10)
