"""Streams to RTMP servers, beside a file or alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from livekit.api import TwirpError
from livekit.protocol import egress as proto

from common.waiting import wait_until
from tests.ports import free_port
from tests.recorder.conftest import Egresses, Studio
from tests.recorder.marked import MOST_MISSING, marked, watch
from tests.recorder.rtmp_server import RtmpServer, rtmp_server
from tests.support.speed import scaled

_SMALL = proto.EncodingOptions(width=320, height=180, framerate=15, video_bitrate=500, key_frame_interval=1.0)
_SECONDS = 3.0
pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def rtmp(tmp_path: Path) -> Iterator[RtmpServer]:
    directory = tmp_path / "rtmp"
    directory.mkdir()
    with rtmp_server(directory) as server:
        yield server


async def _began(egresses: Egresses, egress_id: str, number: int = 0) -> None:
    async with asyncio.timeout(scaled(20)):
        while True:
            results = (await egresses.read(egress_id)).stream_results
            if len(results) > number and results[number].started_at:
                return
            await asyncio.sleep(0.1)


async def test_a_stream_begins_and_ends_while_a_file_is_recorded(
    studio: Studio, egresses: Egresses, rtmp: RtmpServer, tmp_path: Path
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    first, second = rtmp.url("first-secret-key"), rtmp.url("second-secret-key")
    async with marked(studio.livekit.url, "alice", room):
        info = await egresses.record_room(
            room,
            advanced=_SMALL,
            file_outputs=[proto.EncodedFileOutput(filepath=room)],
            stream_outputs=[proto.StreamOutput(protocol=proto.RTMP, urls=[first])],
        )
        await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
        await _began(egresses, info.egress_id)
        await egresses.update_streams(info.egress_id, [second], [])
        await _began(egresses, info.egress_id, 1)
        await asyncio.sleep(_SECONDS)
        updated = await egresses.update_streams(info.egress_id, [], [first])
        assert [each.status for each in updated.stream_results] == [
            proto.StreamInfo.FINISHED,
            proto.StreamInfo.ACTIVE,
        ]
        await asyncio.sleep(1)
        with pytest.raises(TwirpError) as refused:
            await egresses.update_streams(info.egress_id, [], [rtmp.url("third-secret-key")])
        assert refused.value.code == "not_found"
        assert "third-secret-key" not in refused.value.message
        await egresses.stop(info.egress_id)
        ended = await egresses.ends(info.egress_id)
    assert ended.status == proto.EGRESS_COMPLETE
    assert "secret" not in str(ended)
    assert [each.status for each in ended.stream_results] == [proto.StreamInfo.FINISHED] * 2
    assert ended.stream_results[0].url == f"rtmp://127.0.0.1:{rtmp.port}/live/{{fir...key}}"
    for key, seconds in (("first-secret-key", _SECONDS), ("second-secret-key", _SECONDS + 1)):
        seen = watch(rtmp.files(key)[0])
        assert (seen.video_codec, seen.audio_codec) == ("h264", "aac")
        assert seen.pictures[-1].time >= seconds - 1.5
        assert len(seen.stamps) > 10
        assert seen.beeps
    assert watch(studio.fetch(f"{room}.mp4", tmp_path)).beeps


async def test_a_server_that_restarts_is_joined_again(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    port = free_port()
    async with marked(studio.livekit.url, "alice", room):
        with rtmp_server(tmp_path, port) as server:
            url = server.url("key-of-a-server")
            output = proto.StreamOutput(urls=[url])
            info = await egresses.record_room(room, advanced=_SMALL, stream_outputs=[output])
            await _began(egresses, info.egress_id)
        with rtmp_server(tmp_path, port):
            await asyncio.to_thread(
                wait_until,
                lambda: len(server.files("key-of-a-server")) == 2,
                timeout=scaled(20),
                describe="the stream to come a second time",
                interval=0.1,
            )
            await egresses.stop(info.egress_id)
            ended = await egresses.ends(info.egress_id)
    assert (ended.status, ended.stream_results[0].status) == (
        proto.EGRESS_COMPLETE,
        proto.StreamInfo.FINISHED,
    )
    assert ended.stream_results[0].retries >= 1


async def test_a_server_that_is_not_there_fails_alone(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    nowhere = f"rtmp://127.0.0.1:{free_port()}/live/some-secret-key"
    async with marked(studio.livekit.url, "alice", room):
        info = await egresses.record_room(
            room,
            advanced=_SMALL,
            file_outputs=[proto.EncodedFileOutput(filepath=room)],
            stream_outputs=[proto.StreamOutput(urls=[nowhere])],
        )
        await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
        await asyncio.sleep(_SECONDS)
        await egresses.stop(info.egress_id)
        ended = await egresses.ends(info.egress_id)
    assert ended.status == proto.EGRESS_COMPLETE
    result = ended.stream_results[0]
    assert result.retries >= 1
    assert watch(studio.fetch(f"{room}.mp4", tmp_path)).missing < MOST_MISSING
