"""Recordings from the API to the bucket, watched and heard."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from livekit.protocol import egress as proto

from tests.recorder.conftest import Egresses, Studio
from tests.recorder.marked import marked, watch
from tests.recorder.worker import Worker

# It compares sound and pictures by time: nothing may run next to it.
pytestmark = pytest.mark.alone

_SECONDS = 6.0
_NANOSECONDS = 1e9
# One frame of the recording and one of the publisher.
_OFFSET_SECONDS = 0.1


async def test_a_room_from_start_to_bucket(
    studio: Studio, worker: Worker, egresses: Egresses, tmp_path: Path
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    async with marked(studio.livekit.url, "alice", room):
        info = await egresses.record_room(
            room, file_outputs=[proto.EncodedFileOutput(filepath="rooms/{room_name}/{time}")]
        )
        assert info.status == proto.EGRESS_STARTING
        await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
        await asyncio.sleep(_SECONDS)
        stopping = await egresses.stop(info.egress_id)
        assert stopping.status == proto.EGRESS_ENDING
        ended = await egresses.ends(info.egress_id)
    assert (ended.status, ended.error, ended.error_code) == (proto.EGRESS_COMPLETE, "", 0)
    assert ended.details == "End reason: StopEgress API"
    file = ended.file_results[0]
    assert file.filename.startswith(f"rooms/{room}/")
    assert studio.keys()[file.filename] == file.size
    assert (
        file.location == f"https://{studio.store.endpoint.removeprefix('http://')}/recordings/{file.filename}"
    )
    assert studio.uploads() == []
    path = studio.fetch(file.filename, tmp_path)
    seen = watch(path)
    assert (seen.width, seen.height, seen.video_codec, seen.audio_codec) == (1280, 720, "h264", "aac")
    assert seen.duration == pytest.approx(file.duration / _NANOSECONDS, abs=0.5)
    assert seen.duration == pytest.approx(_SECONDS, abs=1.5)
    assert seen.missing < 0.01
    assert seen.longest_standstill < 0.5
    assert len(seen.beeps) >= _SECONDS - 2
    assert max(abs(offset) for offset in seen.offsets) < _OFFSET_SECONDS, seen.offsets
    assert _probed(path) == pytest.approx(seen.duration, abs=0.1)
    manifest = json.loads(studio.fetch(f"rooms/{room}/{info.egress_id}.json", tmp_path).read_text())
    assert manifest["files"] == [{"filename": file.filename, "location": file.location}]
    assert ended.manifest_location.endswith(f"{info.egress_id}.json")
    assert not list(worker.spool.iterdir())


def _probed(path: Path) -> float:
    """The duration that ffprobe reads, which is another program than the one that wrote the file."""
    ffprobe = shutil.which("ffprobe")
    assert ffprobe, "ffprobe is not on PATH: `make test` installs Debian's ffmpeg"
    words = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(path)]
    done = subprocess.run([ffprobe, *words], capture_output=True, text=True, check=True, timeout=60)
    assert not done.stderr
    return float(done.stdout)
