"""The segment that a process was writing when it died."""

from __future__ import annotations

import posixpath
from datetime import UTC, datetime, timedelta
from pathlib import Path

from livekit.protocol import egress as proto

from recorder.outputs.playlist import Segment, continued, duration, event_playlist
from recorder.storage.resume import recording_duration
from recorder.storage.upload_events import ContentType
from recorder.storage.upload_state import FileState
from recorder.storage.uploads import UploadQueue

# Less is nothing that a player shows.
_LEAST_SECONDS = 0.1


def finish_open_segment(
    reported: proto.SegmentsInfo, seconds: int, directory_name: str, queue: UploadQueue, media: Path
) -> None:
    """Add what there is of the segment to the uploads of its output, and to its playlists.

    MPEG-TS can be played up to its last complete packet, so the file needs no repair.

    Args:
        reported: the last report of this output. It has the names that the playlists have in the bucket.
        seconds: that a segment takes.
        directory_name: of the directory in `media` that the output's segments are written to.
    """
    directory = media / directory_name
    known = {one.file for one in queue.state.objects.values() if isinstance(one, FileState)}
    names = {path: str(path.relative_to(media)) for path in directory.rglob("*.ts")}
    left = [path for path, name in names.items() if name not in known]
    for path in sorted(left, key=lambda path: path.stat().st_mtime_ns):
        length = recording_duration(path) or 0.0
        if length < _LEAST_SECONDS:
            continue
        name = str(path.relative_to(directory))
        key = posixpath.join(posixpath.dirname(reported.playlist_name), name)
        queue.add_file(key, names[path], ContentType.MPEG_TS)
        _list(queue, reported, seconds, name=name, length=length)


def _list(
    queue: UploadQueue, reported: proto.SegmentsInfo, seconds: int, *, name: str, length: float
) -> None:
    """Name the segment in the playlists. Their end follows from the queue's own repair."""
    began = datetime.fromtimestamp(reported.started_at / 1e9, UTC)
    written = (queue.content(reported.playlist_name) or b"").decode()
    segment = Segment(name, began + timedelta(seconds=duration(written)), length)
    for path in filter(None, (reported.playlist_name, reported.live_playlist_name)):
        before = (queue.content(path) or b"").decode()
        text = continued(before, segment) if before else event_playlist([segment], seconds, ended=False)
        key = posixpath.join(posixpath.dirname(path), name)
        queue.replace(path, text.encode(), ContentType.PLAYLIST, after=[key])
