"""Finishing the uploads of an egress whose process died."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import av
from av.error import FFmpegError

from recorder.errors import Code, EgressError
from recorder.storage.destination import Destination
from recorder.storage.mp4_boxes import usable_length
from recorder.storage.spool import EgressDirectory
from recorder.storage.upload_events import ContentType
from recorder.storage.upload_state import FileState, ReplacedState, UploadState
from recorder.storage.uploads import UploadQueue

_log = logging.getLogger(__name__)
_END_OF_PLAYLIST = b"#EXT-X-ENDLIST\n"
# How many timeouts an attempt may last that makes progress. token-api gives up a recording of which it hears
# nothing for ten minutes.
_MOST_TIMEOUTS = 4


@dataclass(frozen=True)
class SavedObject:
    """An object in the bucket.

    Attributes:
        path: its name, without the target's prefix.
        location: its URL, as an EgressInfo names it.
        size: in bytes.
        duration: of a recording, in seconds; None for other objects.
        backup: whether it is in the backup store.
    """

    path: str
    content_type: ContentType
    location: str
    size: int
    duration: float | None
    backup: bool


@dataclass(frozen=True)
class UnsavedObject:
    """An object that is not in the bucket, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class ResumedOutput:
    """What became of an output.

    Attributes:
        output: its name.
        saved: what is in the bucket, also from before the process died.
        lost: what will never be there, because there is nothing of it that could be used.
        unsaved: what is not there. Another attempt may save it.
        left_over: paths of multipart uploads that a store may still have, because it did not answer when they
            were to be aborted. Another attempt aborts them.
        error: why there is something unsaved: the store refused, or it did not answer in time.
    """

    output: str
    saved: tuple[SavedObject, ...]
    lost: tuple[UnsavedObject, ...]
    unsaved: tuple[UnsavedObject, ...]
    left_over: tuple[str, ...]
    error: EgressError | None


def resume(
    directory: EgressDirectory,
    destinations: Mapping[str, Destination],
    *,
    timeout: float,
    patience: float | None = None,
    finish: Mapping[str, Callable[[UploadQueue, Path], None]] = MappingProxyType({}),
) -> list[ResumedOutput]:
    """Upload what is left in a directory that this process owns.

    Recordings are cut after the last complete fragment, and playlists get their end. All outputs are uploaded
    at the same time. The directory stays: the caller removes it after it has reported the result to LiveKit.

    Args:
        destinations: by output, for each one that the directory has.
        timeout: seconds without a request that succeeds, after which an output waits for another attempt.
            While requests succeed, the attempt may last four times as long: other directories wait for it.
        patience: seconds for which a primary store may be unreachable until its backup is used; None: as the
            destination says. They are added to the timeout if they are not infinite.
        finish: by output, what adds files that its process had not completed. It gets the queue, which
            does not upload yet, and the directory of media.
    """
    with ExitStack() as running:
        begun = []
        for output in directory.outputs():
            one = _Resumed(directory, output, destinations[output], patience)
            running.callback(one.stop)
            one.begin(finish.get(output))
            begun.append(one)
        end = time.monotonic() + _MOST_TIMEOUTS * timeout
        for one in begun:
            one.drain(timeout, end)
    return [one.result() for one in begun]


class _Resumed:
    """One output that is being resumed."""

    def __init__(
        self, directory: EgressDirectory, output: str, destination: Destination, patience: float | None
    ) -> None:
        self._output = output
        self._media = directory.media
        self._patience = destination.patience if patience is None else patience
        self._queue: UploadQueue | None = None
        self._failure: EgressError | None = None
        try:
            self._queue = UploadQueue(directory, output, destination, patience=self._patience)
        except EgressError as error:
            self._failure = error

    def begin(self, finish: Callable[[UploadQueue, Path], None] | None) -> None:
        """Complete what its process had not completed, and begin to upload."""
        if self._queue is None:
            return
        try:
            _finish_recordings(self._queue, self._media)
            if finish is not None:
                finish(self._queue, self._media)
            _finish_playlists(self._queue)
            self._queue.start()
        except EgressError as error:
            self._failure = error

    def drain(self, timeout: float, end: float) -> None:
        """Wait until everything is uploaded, until `timeout` is over, or until `end` (CLOCK_MONOTONIC)."""
        if self._queue is None or self._failure is not None:
            return
        if not self._queue.state.backup and math.isfinite(self._patience):
            timeout, end = timeout + self._patience, end + self._patience
        try:
            if not self._queue.drain(max(0.0, end - time.monotonic()), without_progress=timeout):
                text = "S3 upload failed: the store did not answer in time"
                self._failure = EgressError(Code.UNAVAILABLE, text)
        except EgressError as error:
            self._failure = error

    def stop(self) -> None:
        """End the uploads after the current request."""
        if self._queue is not None:
            self._queue.stop()

    def result(self) -> ResumedOutput:
        """What became of the output. It must have been stopped."""
        if self._queue is None:
            return ResumedOutput(self._output, (), (), (), (), self._failure)
        saved = _saved(self._queue, self._media)
        lost, unsaved = _not_saved(self._queue.state, self._failure)
        left_over = tuple(self._queue.left_over())
        return ResumedOutput(self._output, saved, lost, unsaved, left_over, self._failure)


def _finish_recordings(queue: UploadQueue, media: Path) -> None:
    for one in list(queue.state.unsettled()):
        if not isinstance(one, FileState):
            continue
        local = media / one.file
        if one.size is None:
            length = usable_bytes(local, one.content_type)
            if length == 0:
                queue.give_up(one.path, "the recording has no complete fragment")
            else:
                os.truncate(local, length)
                queue.seal(one.path)
        elif not local.exists():
            queue.give_up(one.path, f"its file {one.file} is missing")


def usable_bytes(recording: Path, content_type: ContentType) -> int:
    """Bytes to keep. Players ignore an incomplete end of the other formats: they are read in small units."""
    if not recording.exists():
        return 0
    if content_type is not ContentType.MP4:
        return recording.stat().st_size
    with recording.open("rb") as file:
        return usable_length(file)


def _finish_playlists(queue: UploadQueue) -> None:
    """Without its end, a player waits for more segments for ever."""
    objects = queue.state.objects.values()
    files = [one.path for one in objects if isinstance(one, FileState)]
    for one in list(objects):
        if isinstance(one, ReplacedState) and one.content_type is ContentType.PLAYLIST:
            content = queue.content(one.path)
            if content is not None and _END_OF_PLAYLIST not in content:
                queue.replace(one.path, content + _END_OF_PLAYLIST, one.content_type, after=files)


def _saved(queue: UploadQueue, media: Path) -> tuple[SavedObject, ...]:
    saved = []
    for one in queue.state.objects.values():
        if one.stored is not None and one.settled:
            duration = None
            if isinstance(one, FileState) and one.growing:
                duration = recording_duration(media / one.file)
            saved.append(
                SavedObject(
                    one.path,
                    one.content_type,
                    queue.location(one.path),
                    one.stored.size,
                    duration,
                    one.stored.backup,
                )
            )
    return tuple(saved)


def _not_saved(
    state: UploadState, failure: EgressError | None
) -> tuple[tuple[UnsavedObject, ...], tuple[UnsavedObject, ...]]:
    """What is lost, and what may still be saved."""
    objects = list(state.objects.values())
    lost = [UnsavedObject(one.path, one.lost) for one in objects if one.lost is not None]
    unsaved = [UnsavedObject(one.path, str(failure)) for one in objects if not one.settled]
    return tuple(lost), tuple(unsaved)


def recording_duration(recording: Path) -> float | None:
    """Seconds from the first to the last packet of a file; None if it cannot be read.

    It reads the whole file, for a file without an index does not name its duration. It reads it once: other
    attempts at an egress need the duration again.
    """
    try:
        status = recording.stat()
    except FileNotFoundError:
        return None
    return _measured(recording, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=256)
def _measured(recording: Path, _size: int, _modified_at: int) -> float | None:
    """The duration of a file that has not changed since."""
    first, last = math.inf, -math.inf
    try:
        with av.open(str(recording)) as container:
            for packet in container.demux():
                if packet.pts is not None and packet.time_base is not None:
                    first = min(first, float(packet.pts * packet.time_base))
                    last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    except (FFmpegError, FileNotFoundError):
        # An incomplete end of the file is no reason to report nothing.
        _log.warning("%s cannot be read to its end", recording.name, exc_info=True)
    return last - max(0.0, first) if last > first else None
