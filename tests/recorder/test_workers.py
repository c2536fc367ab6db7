"""Workers with a configuration of their own, that end, crash, or lose what they need."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from livekit.protocol import egress as proto

from common.waiting import wait_until
from recorder.outputs.playlist import duration
from tests.recorder.conftest import Egresses, Studio
from tests.recorder.marked import MOST_MISSING, marked, watch
from tests.recorder.worker import handlers, kill, recorder
from tests.support.speed import scaled

_SMALL = proto.EncodingOptions(width=320, height=180, framerate=15, video_bitrate=500)
_SECONDS = 3.0
# A fragment has a second; the first one of a recording may still be in the muxer.
_MOST_LOST_SECONDS = 2.0


async def _until(condition: Callable[[], Any], describe: str, within: float = 20) -> None:
    await asyncio.to_thread(wait_until, condition, timeout=scaled(within), describe=describe, interval=0.1)


async def test_nothing_to_record(studio: Studio, egresses: Egresses, tmp_path: Path) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    settings = studio.settings(recorder={"start_timeout": "1s"}, spool=tmp_path / "spool")
    with recorder(tmp_path, settings):
        async with marked(studio.livekit.url, "silent", room, camera=False, microphone=False):
            whole = await egresses.ends((await egresses.record_room(room)).egress_id)
            nobody = await egresses.record_participant(
                room, "nobody", file_outputs=[proto.EncodedFileOutput(filepath="nobody")]
            )
            person = await egresses.ends(nobody.egress_id)
            track = await egresses.ends((await egresses.record_track(room, "TR_none", "none")).egress_id)
    assert (whole.status, whole.error, whole.error_code) == (
        proto.EGRESS_ABORTED,
        "Start signal not received",
        412,
    )
    assert (person.status, person.error, person.error_code) == (
        proto.EGRESS_FAILED,
        "participant nobody not found",
        404,
    )
    assert (track.status, track.error, track.error_code) == (
        proto.EGRESS_FAILED,
        "track TR_none not found",
        404,
    )
    assert not [key for key in list(studio.keys()) if key.startswith((room, "no"))]


@pytest.mark.long
async def test_limits_of_duration_and_size(studio: Studio, egresses: Egresses, tmp_path: Path) -> None:
    limits = {"file_output_max_duration": "4s", "segment_output_max_duration": "1h"}
    settings = studio.settings(session_limits=limits, spool=tmp_path / "spool")
    room = studio.new_room()
    await egresses.create_room(room)
    with recorder(tmp_path, settings):
        async with marked(studio.livekit.url, "alice", room):
            info = await egresses.record_room(room, advanced=_SMALL)
            ended = await egresses.ends(info.egress_id)
    assert (ended.status, ended.error, ended.error_code) == (
        proto.EGRESS_LIMIT_REACHED,
        "Session limit reached",
        413,
    )
    assert watch(studio.fetch(f"{room}.mp4", tmp_path)).duration <= 4.5


@pytest.mark.long
async def test_a_limit_of_size_is_that_of_the_file(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    """Segments come and go beside it."""
    most = 500_000
    settings = studio.settings(session_limits={"file_output_max_size": most}, spool=tmp_path / "spool")
    room = studio.new_room()
    await egresses.create_room(room)
    with recorder(tmp_path, settings):
        async with marked(studio.livekit.url, "alice", room):
            info = await egresses.record_room(
                room,
                advanced=_SMALL,
                file_outputs=[proto.EncodedFileOutput(filepath=f"{room}.mp4")],
                segment_outputs=[
                    proto.SegmentedFileOutput(
                        filename_prefix=f"{room}/part", playlist_name="all.m3u8", segment_duration=1
                    )
                ],
            )
            ended = await egresses.ends(info.egress_id)
    assert (ended.status, ended.error_code) == (proto.EGRESS_LIMIT_REACHED, 413)
    # The limit is checked each second, and the last fragments follow.
    assert most <= ended.file_results[0].size <= 2 * most


async def test_a_worker_that_is_told_to_stop_completes_its_recordings(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    with recorder(tmp_path, studio.settings(spool=tmp_path / "spool")) as worker:
        async with marked(studio.livekit.url, "alice", room):
            info = await egresses.record_room(room, advanced=_SMALL)
            await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
            await asyncio.sleep(_SECONDS)
            worker.process.send_signal(signal.SIGTERM)
            ended = await egresses.ends(info.egress_id)
            assert await asyncio.to_thread(worker.process.wait, 30) == 0
    assert (ended.status, ended.details) == (proto.EGRESS_COMPLETE, "End reason: Process killed")
    # `shutdown_grace` is a second here: so much longer it went on.
    assert watch(studio.fetch(f"{room}.mp4", tmp_path)).duration >= _SECONDS + 0.5


async def test_a_killed_handler_leaves_a_recording_that_plays(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    with recorder(tmp_path, studio.settings(spool=tmp_path / "spool")) as worker:
        async with marked(studio.livekit.url, "alice", room):
            info = await egresses.record_room(room, advanced=_SMALL)
            await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
            await asyncio.sleep(_SECONDS + 1)
            (handler,) = handlers(worker)
            os.kill(handler, signal.SIGKILL)
            ended = await egresses.ends(info.egress_id)
        await _until(lambda: not list(worker.spool.iterdir()), "the spool to be empty")
    assert (ended.status, ended.error_code) == (proto.EGRESS_FAILED, 500)
    assert "the recorder's process ended" in ended.error
    file = ended.file_results[0]
    seen = watch(studio.fetch(f"{room}.mp4", tmp_path))
    assert seen.duration >= _SECONDS + 1 - _MOST_LOST_SECONDS
    assert file.duration / 1e9 == pytest.approx(seen.duration, abs=0.5)
    assert file.size == studio.keys()[f"{room}.mp4"]
    assert seen.missing < MOST_MISSING
    assert studio.uploads() == []
    manifest = json.loads(studio.fetch(f"{info.egress_id}.json", tmp_path).read_text())
    assert [each["location"] for each in manifest["files"]] == [file.location]
    assert ended.manifest_location.endswith(f"/{info.egress_id}.json")


@pytest.mark.long
async def test_a_killed_handler_leaves_segments_that_play(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    """Also the segment that was open, with the end of the playlist."""
    room = studio.new_room()
    await egresses.create_room(room)
    output = proto.SegmentedFileOutput(
        filename_prefix=f"{room}/part", playlist_name="all.m3u8", segment_duration=4
    )
    with recorder(tmp_path, studio.settings(spool=tmp_path / "spool")) as worker:
        async with marked(studio.livekit.url, "alice", room):
            info = await egresses.record_room(room, advanced=_SMALL, segment_outputs=[output])
            await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
            await asyncio.sleep(2 * _SECONDS + 1)
            (handler,) = handlers(worker)
            os.kill(handler, signal.SIGKILL)
            ended = await egresses.ends(info.egress_id)
    assert ended.status == proto.EGRESS_FAILED
    playlist = studio.fetch(f"{room}/all.m3u8", tmp_path).read_text()
    assert playlist.endswith("#EXT-X-ENDLIST\n")
    assert duration(playlist) >= 2 * _SECONDS + 1 - _MOST_LOST_SECONDS
    segments = [line for line in playlist.splitlines() if not line.startswith("#")]
    assert ended.segment_results[0].segment_count == len(segments)
    assert watch(studio.fetch(f"{room}/{segments[-1]}", tmp_path)).stamps


@pytest.mark.long
async def test_the_next_worker_saves_what_a_deleted_one_left(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    settings = studio.settings(spool=tmp_path / "spool")
    async with marked(studio.livekit.url, "alice", room):
        with recorder(tmp_path, settings) as worker:
            info = await egresses.record_room(room, advanced=_SMALL)
            await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
            await asyncio.sleep(_SECONDS + 1)
            kill(worker)
        assert (await egresses.read(info.egress_id)).status == proto.EGRESS_ACTIVE
        with recorder(tmp_path, settings):
            ended = await egresses.ends(info.egress_id)
    assert ended.status == proto.EGRESS_FAILED
    assert watch(studio.fetch(f"{room}.mp4", tmp_path)).duration >= _SECONDS + 1 - _MOST_LOST_SECONDS
    assert studio.uploads() == []


async def test_a_wrong_key_fails_clearly(studio: Studio, egresses: Egresses, tmp_path: Path) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    settings = studio.settings(spool=tmp_path / "spool")
    settings["storage"]["s3"]["secret"] = "wrong-0123456789-abcdefghijklmnopq"
    with recorder(tmp_path, settings):
        async with marked(studio.livekit.url, "alice", room):
            info = await egresses.record_room(room, advanced=_SMALL)
            await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
            await egresses.stop(info.egress_id)
            ended = await egresses.ends(info.egress_id)
    assert (ended.status, ended.error_code) == (proto.EGRESS_FAILED, 400)
    assert "SignatureDoesNotMatch" in ended.error
    assert ended.file_results[0].location == ""
    assert room not in " ".join(studio.keys())


@pytest.mark.long
async def test_a_full_disk_ends_the_recording_and_saves_what_there_is(
    studio: Studio, egresses: Egresses, tmp_path: Path, small_disk: Path
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    with recorder(tmp_path, studio.settings(spool=small_disk / "spool")):
        async with marked(studio.livekit.url, "alice", room):
            info = await egresses.record_room(room, advanced=_SMALL)
            await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
            await asyncio.sleep(_SECONDS)
            (small_disk / "filler").write_bytes(b"")
            _fill(small_disk / "filler")
            ended = await egresses.ends(info.egress_id)
            (small_disk / "filler").unlink()
    assert (ended.status, ended.error_code) == (proto.EGRESS_FAILED, 500)
    assert "No space left on device" in ended.error
    # At most the last fragments are lost.
    assert watch(studio.fetch(f"{room}.mp4", tmp_path)).duration >= _SECONDS - 2


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            return
