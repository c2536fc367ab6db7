"""Recordings while the bucket, Redis or the SFU is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

import pytest
from livekit import api, rtc
from livekit.protocol import egress as proto

from tests.ports import free_port
from tests.recorder.conftest import Egresses, Studio
from tests.recorder.marked import Marked, Watched, marked, watch
from tests.recorder.worker import recorder
from tests.support.speed import scaled
from tests.token_api.livekit_server import livekit_server, redis_server
from tests.token_api.object_store import object_store
from tests.unit.token_api.support import KEY, SECRET

_SMALL = proto.EncodingOptions(width=320, height=180, framerate=15, video_bitrate=500)
_Answer = TypeVar("_Answer")
_SECONDS = 3.0
# An ordinary client is back within this time after its server has started again.
_MOST_GAP_SECONDS = 12.0
_REDIS_AWAY_SECONDS = 30.0


@pytest.mark.long
async def test_the_bucket_is_away_at_the_end_and_comes_back(
    egresses: Egresses, studio: Studio, tmp_path: Path
) -> None:
    """The store of this test listens at a port of its own, so that it can be started again there."""
    port = free_port()
    directory = tmp_path / "store"
    directory.mkdir()
    with object_store(directory, port):
        pass
    room = studio.new_room()
    await egresses.create_room(room)
    settings = studio.settings(spool=tmp_path / "spool")
    settings["storage"]["s3"]["endpoint"] = f"http://127.0.0.1:{port}"
    with ExitStack() as later, recorder(tmp_path, settings):
        async with marked(studio.livekit.url, "alice", room):
            info = await egresses.record_room(room, advanced=_SMALL)
            await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
            await asyncio.sleep(_SECONDS)
            await egresses.stop(info.egress_id)
            await egresses.becomes(info.egress_id, proto.EGRESS_ENDING)
            await asyncio.sleep(1)
            assert (await egresses.read(info.egress_id)).status == proto.EGRESS_ENDING
            store = later.enter_context(object_store(directory, port))
            ended = await egresses.ends(info.egress_id)
            there = Studio(studio.livekit, studio.redis_port, store, tmp_path)
            path = there.fetch(f"{room}.mp4", tmp_path)
            there.fetch(f"{info.egress_id}.json", tmp_path)
    assert (ended.status, ended.error) == (proto.EGRESS_COMPLETE, "")
    assert ended.manifest_location.endswith(f"/{info.egress_id}.json")
    assert watch(path).duration >= _SECONDS - 0.5


@pytest.mark.long
async def test_redis_is_away_for_half_a_minute_and_the_recording_goes_on_in_the_same_file(
    tmp_path: Path,
) -> None:
    port = free_port()
    with ExitStack() as stack:
        store = stack.enter_context(object_store(tmp_path))
        first_redis = ExitStack()
        first_redis.enter_context(redis_server(tmp_path, port))
        stack.callback(first_redis.close)
        livekit = stack.enter_context(livekit_server(tmp_path, redis_port=port))
        studio = Studio(livekit, port, store, tmp_path)
        stack.enter_context(recorder(tmp_path, studio.settings()))
        async with api.LiveKitAPI(studio.http_url, KEY, SECRET) as client:
            egresses = Egresses(client)
            await egresses.create_room("room")
            async with marked(livekit.url, "alice", "room"):
                info = await egresses.record_room("room", advanced=_SMALL)
                await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
                await asyncio.sleep(_SECONDS)
                await asyncio.to_thread(first_redis.close)
                # LiveKit closes all signalling after 7.5 s of it.
                await asyncio.sleep(_REDIS_AWAY_SECONDS)
            # This Redis is empty. LiveKit has forgotten the room, and the egress until its recorder reports.
            stack.enter_context(redis_server(tmp_path, port))
            ended = await _end_after_outage(client, livekit.url, info.egress_id)
        path = studio.fetch("room.mp4", tmp_path)
    assert ended.status == proto.EGRESS_COMPLETE
    _assert_goes_on(watch(path), _REDIS_AWAY_SECONDS + scaled(_MOST_GAP_SECONDS))


async def _end_after_outage(client: api.LiveKitAPI, url: str, egress_id: str) -> proto.EgressInfo:
    """Have the room's user join anew, wait for the recorder, record for some seconds, and stop.

    The user joins anew because the SDK of a publisher may give up during the outage.
    """
    egresses = Egresses(client)

    async def rejoin() -> Marked:
        # LiveKit may remove the room once more, when it notices that the users of before are gone.
        await egresses.create_room("room")
        alice = Marked(url, "alice", "room")
        await alice.join()
        return alice

    alice = await _retried(rejoin)
    try:
        await alice.publish_camera()
        await alice.publish_microphone()
        await _published(client, "room", {"alice", egress_id})
        # The recorder subscribes, and the first key frame comes.
        await asyncio.sleep(scaled(_SECONDS))
        await _retried(lambda: egresses.stop(egress_id))
        return await _retried(lambda: egresses.ends(egress_id))
    finally:
        await alice.leave()


def _assert_goes_on(seen: Watched, most_gap: float) -> None:
    """Check that a file has frames of before and after an outage. `most_gap`: seconds."""
    assert seen.duration >= 2 * _SECONDS
    assert seen.longest_standstill < most_gap
    assert seen.duration - seen.pictures[-1].time < 1
    shown = [picture for picture in seen.pictures if picture.stamp is not None]
    assert seen.duration - shown[-1].time < 1
    assert shown[-1].stamp != shown[0].stamp


async def _published(client: api.LiveKitAPI, room: str, identities: set[str]) -> None:
    """Wait until all are in the room again, and the first one's tracks."""
    async with asyncio.timeout(scaled(40)):
        while True:
            with suppress(api.TwirpError):
                found = await client.room.list_participants(api.ListParticipantsRequest(room=room))
                tracks = sum(len(each.tracks) for each in found.participants)
                if {each.identity for each in found.participants} == identities and tracks == 2:
                    return
            await asyncio.sleep(0.2)


async def _retried(call: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Call until LiveKit answers: it may ask a node that is dead, or have forgotten the egress."""
    async with asyncio.timeout(scaled(30)):
        while True:
            try:
                return await call()
            except (api.TwirpError, rtc.ConnectError, IndexError):
                await asyncio.sleep(0.2)


@pytest.mark.long
async def test_the_sfu_dies_and_the_recording_goes_on_in_the_same_file(tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as stack:
        store = stack.enter_context(object_store(tmp_path))
        redis_port = stack.enter_context(redis_server(tmp_path))
        first = ExitStack()
        stack.callback(first.close)
        livekit = first.enter_context(livekit_server(tmp_path, redis_port=redis_port, port=port))
        studio = Studio(livekit, redis_port, store, tmp_path)
        stack.enter_context(recorder(tmp_path, studio.settings()))
        async with api.LiveKitAPI(studio.http_url, KEY, SECRET) as client:
            egresses = Egresses(client)
            await egresses.create_room("room")
            async with marked(livekit.url, "alice", "room"):
                info = await egresses.record_room("room", advanced=_SMALL)
                await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
                await asyncio.sleep(_SECONDS)
                livekit.process.kill()
                await asyncio.to_thread(first.close)
            stack.enter_context(livekit_server(tmp_path, redis_port=redis_port, port=port))
            ended = await _end_after_outage(client, livekit.url, info.egress_id)
        path = studio.fetch("room.mp4", tmp_path)
    assert ended.status == proto.EGRESS_COMPLETE
    _assert_goes_on(watch(path), scaled(_MOST_GAP_SECONDS))
