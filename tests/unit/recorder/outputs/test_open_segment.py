"""What a dead process leaves of a segment is uploaded, and is in the playlists."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from livekit.protocol import egress as proto

from recorder.outputs.open_segment import finish_open_segment
from recorder.outputs.playlist import Segment, duration, event_playlist
from recorder.outputs.segments import SegmentSink
from recorder.requests.names import SegmentNames
from recorder.requests.outputs import SegmentOutput
from recorder.storage.bucket import Bucket
from recorder.storage.destination import Destination
from recorder.storage.spool import EgressDirectory, Spool
from recorder.storage.target import S3Target
from recorder.storage.upload_events import ContentType
from recorder.storage.upload_state import FileState
from recorder.storage.uploads import UploadQueue
from tests.unit.recorder.outputs.encoded import new_encoders, packets

_BEGAN = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
_PLAYLIST = "calls/all.m3u8"
_REPORT = proto.SegmentsInfo(playlist_name=_PLAYLIST, started_at=round(_BEGAN.timestamp() * 1e9))


@pytest.fixture
def directory(tmp_path: Path) -> EgressDirectory:
    return Spool(tmp_path / "spool").create("EG_1", b"")


def _killed(directory: EgressDirectory, seconds: float) -> UploadQueue:
    """A queue whose process died while it recorded; nothing of it was uploaded."""
    queue = UploadQueue(directory, "0", Destination(Bucket(S3Target("recordings", region="here"))))
    media = directory.media / "0"
    media.mkdir()
    closed: list[Segment] = []

    def add(segment: Segment, path: Path) -> None:
        closed.append(segment)
        queue.add_file(f"calls/{segment.name}", f"0/{segment.name}", ContentType.MPEG_TS)
        text = event_playlist(closed, 2, ended=False)
        queue.replace(_PLAYLIST, text.encode(), ContentType.PLAYLIST, after=[f"calls/{segment.name}"])

    names = SegmentNames(directory="calls/", playlist="all.m3u8", live_playlist=None, prefix="sub/part")
    encoders = new_encoders()
    sink = SegmentSink(media, SegmentOutput(names, seconds=2), encoders, _BEGAN, add)
    for packet in packets(encoders, seconds):
        sink.write(packet)
    return queue


def _finished(directory: EgressDirectory, queue: UploadQueue) -> str:
    finish_open_segment(_REPORT, 2, "0", queue, directory.media)
    return (queue.content(_PLAYLIST) or b"").decode()


@pytest.mark.parametrize("seconds", [1.5, 5.5])
def test_the_open_segment_is_saved(directory: EgressDirectory, seconds: float) -> None:
    queue = _killed(directory, seconds)
    playlist = _finished(directory, queue)
    number = int(seconds // 2)
    assert duration(playlist) == pytest.approx(seconds, abs=0.3)
    assert playlist.count("#EXTINF") == number + 1
    assert playlist.splitlines()[-1] == f"sub/part_0000{number}.ts"
    assert f"#EXT-X-PROGRAM-DATE-TIME:2026-11-30T12:00:0{2 * number}" in playlist
    added = queue.state.file(f"calls/sub/part_0000{number}.ts")
    assert added.file == f"0/sub/part_0000{number}.ts"
    # A second attempt adds nothing.
    assert _finished(directory, queue) == playlist


def test_a_segment_without_a_frame_is_not_added(directory: EgressDirectory) -> None:
    queue = _killed(directory, 3.9)
    for path in (directory.media / "0/sub").glob("*1.ts"):
        path.write_bytes(b"")
    playlist = _finished(directory, queue)
    assert playlist.count("#EXTINF") == 1
    assert [one.path for one in queue.state.objects.values() if isinstance(one, FileState)] == [
        "calls/sub/part_00000.ts"
    ]
