"""The outputs of one egress that reach a bucket: their sinks and their uploads."""

from __future__ import annotations

import math
import os
import posixpath
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TypeAlias

import av
import structlog
from av.error import FFmpegError
from livekit.protocol import egress as proto

from recorder.errors import EgressError
from recorder.media.encoders import Encoders
from recorder.media.pipeline import Sink
from recorder.outputs.file import FileSink
from recorder.outputs.images import ImageSink
from recorder.outputs.manifest import ListedObject, Manifest, ended_at_of, manifest_key, wants_manifest
from recorder.outputs.open_segment import finish_open_segment
from recorder.outputs.playlist import Segment, event_playlist, live_playlist
from recorder.outputs.segments import SegmentSink
from recorder.requests.encoding import Container
from recorder.requests.outputs import FileOutput, ImageOutput, SegmentOutput
from recorder.requests.plan import Plan, PlannedOutput, RoomFacts
from recorder.settings import Settings
from recorder.storage.bucket import Bucket
from recorder.storage.destination import Destination, UploadObserver
from recorder.storage.resume import ResumedOutput, SavedObject, usable_bytes
from recorder.storage.spool import EgressDirectory
from recorder.storage.upload_events import ContentType
from recorder.storage.upload_state import StoredObject
from recorder.storage.uploads import UploadQueue

_CONTENT_TYPES = {
    Container.MP4: ContentType.MP4,
    Container.OGG: ContentType.OGG,
    Container.MP3: ContentType.MP3,
}
# A long playlist is uploaded less often: each segment adds 100 bytes to it.
_PLAYLIST_SECONDS_PER_HOUR = 4.0

log = structlog.get_logger()

PictureTaker: TypeAlias = Callable[[av.VideoFrame, float], None]


@dataclass
class _Saved:
    """One output on its way to the bucket."""

    planned: PlannedOutput
    queue: UploadQueue
    # For how many seconds its primary store may be unreachable after the recording's end.
    patience: float = math.inf
    sink: FileSink | SegmentSink | None = None
    images: ImageSink | None = None
    segments: list[Segment] = field(default_factory=list)
    # Of images, by key.
    moments: list[tuple[str, datetime]] = field(default_factory=list)
    playlist_at: float = 0.0
    # The recording's name in the spool.
    file: str = ""


class _Failures(UploadObserver):
    """Notes that an output cannot be saved, and passes everything on."""

    def __init__(self, observer: UploadObserver, fail: Callable[[Exception], None]) -> None:
        self._observer = observer
        self._fail = fail

    def stored(self, stored: StoredObject, seconds: float) -> None:
        self._observer.stored(stored, seconds)

    def switched(self, reason: str) -> None:
        self._observer.switched(reason)

    def failed(self, error: EgressError) -> None:
        self._fail(error)
        self._observer.failed(error)


def destinations_of(plan: Plan, settings: Settings) -> dict[str, Destination]:
    """The stores of the plan's outputs, by the outputs' names in the spool. Raises EgressError."""
    backup = Bucket(settings.backup.target) if settings.backup is not None else None
    return {
        name: Destination(Bucket(each.target), backup)
        for name, each in _named(plan)
        if each.target is not None
    }


def finishers_of(plan: Plan, info: proto.EgressInfo) -> dict[str, Callable[[UploadQueue, Path], None]]:
    """What completes the outputs of a process that died, by the outputs' names in the spool.

    Args:
        info: the last report of the egress.
    """
    reports = iter(info.segment_results)
    found: dict[str, Callable[[UploadQueue, Path], None]] = {}
    for number, (name, each) in enumerate(_named(plan)):
        if isinstance(each.output, SegmentOutput):
            found[name] = partial(finish_open_segment, next(reports), each.output.seconds, f"{number}")
    return found


def manifests_of(
    plan: Plan, facts: RoomFacts, info: proto.EgressInfo, results: Sequence[ResumedOutput]
) -> dict[str, Callable[[UploadQueue, Path], None]]:
    """What adds the manifests of an egress whose process died, by the outputs' names in the spool.

    A manifest that its process has written stays: only that process knew when images were taken.

    Args:
        info: the last report of the egress.
        results: of the outputs, all of whose objects are in the bucket or lost.
    """
    saved = {result.output: result.saved for result in results}
    manifest = Manifest(plan, facts, info.started_at)
    for name, planned in _named(plan):
        objects = [ListedObject(each.path, each.location, each.content_type) for each in saved.get(name, ())]
        manifest.add_output(planned.output, objects)
    text = manifest.text(ended_at_of(info) or time.time_ns()).encode()
    return {
        name: partial(_add_manifest, manifest_key(planned.output, plan.egress_id), text)
        for name, planned in _named(plan)
        if _lacks_manifest(planned, saved.get(name, ()))
    }


def _lacks_manifest(planned: PlannedOutput, saved: Sequence[SavedObject]) -> bool:
    """Whether an output needs a manifest that is not in the bucket."""
    if any(each.content_type is ContentType.JSON for each in saved):
        return False
    return wants_manifest(planned.output) or any(each.backup for each in saved)


def _add_manifest(path: str, text: bytes, queue: UploadQueue, _: Path) -> None:
    queue.replace(path, text, ContentType.JSON)


def _named(plan: Plan) -> list[tuple[str, PlannedOutput]]:
    """The outputs that go to a bucket, by names that a later process finds again."""
    return [
        (f"{number}-{type(each.output).__name__.lower()}", each)
        for number, each in enumerate(plan.outputs)
        if each.target is not None
    ]


class Saving:
    """Opens the outputs of a plan, and follows them into the bucket.

    Queues write state to the disk and wait for it, so their methods run in a thread of their own, in order.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        directory: EgressDirectory,
        observer: UploadObserver,
        failed: Callable[[Exception], None],
    ) -> None:
        """Read the outputs' journals. `failed` is called once, in any thread, if an output cannot be saved.

        Raises:
            EgressError: a store's address is wrong.
        """
        self._plan = plan
        self._failed = failed
        self._directory = directory
        self._feeder = ThreadPoolExecutor(1, thread_name_prefix="uploads")
        self._problem: Exception | None = None
        self._saved: list[_Saved] = []
        destinations = destinations_of(plan, settings)
        for name, each in _named(plan):
            to = destinations[name]
            queue = UploadQueue(directory, name, to, observer=_Failures(observer, self._fail))
            self._saved.append(_Saved(each, queue, to.patience))

    def open(self, encoders: Encoders, began_at: datetime) -> tuple[dict[str, Sink], list[PictureTaker]]:
        """Create files and begin to upload; the sinks of packets by name, and the takers of pictures."""
        sinks: dict[str, Sink] = {}
        takers: list[PictureTaker] = []
        for number, saved in enumerate(self._saved):
            saved.queue.start()
            match saved.planned.output:
                case FileOutput() as file:
                    name = f"{number}{posixpath.splitext(file.key)[1]}"
                    saved.file = name
                    saved.queue.add_growing(file.key, name, _CONTENT_TYPES[file.container])
                    saved.sink = FileSink(self._directory.media / name, file.container, encoders)
                    sinks[f"file {number}"] = saved.sink
                case SegmentOutput() as segments:
                    directory = self._directory.media / f"{number}"
                    directory.mkdir()
                    saved.sink = SegmentSink(
                        directory, segments, encoders, began_at, self._segment_closed(saved, segments)
                    )
                    sinks[f"segments {number}"] = saved.sink
                case ImageOutput() as images:
                    directory = self._directory.media / f"{number}"
                    saved.images = ImageSink(directory, images, began_at, self._image_written(saved, images))
                    takers.append(saved.images.show)
        return sinks, takers

    def close(self) -> Exception | None:
        """Complete all files and pass them on, also after an error; the first error, if any. Blocks."""
        for saved in self._saved:
            complete = self._close_sink(saved)
            match saved.planned.output:
                case FileOutput() as file:
                    self._feed(self._seal, saved, file, complete=complete)
                case SegmentOutput() as segments:
                    self._feed(self._write_playlists, saved, segments, ended=True)
        self._feeder.shutdown(wait=True)
        for saved in self._saved:
            saved.queue.patience = saved.patience
        return self._problem

    def file_bytes(self) -> int:
        """The size of the file so far; 0 without a file output."""
        files = [self._directory.media / saved.file for saved in self._saved if saved.file]
        return sum(path.stat().st_size for path in files if path.exists())

    def _close_sink(self, saved: _Saved) -> bool:
        """Whether the sink could write its end."""
        try:
            if saved.sink is not None:
                saved.sink.close()
        except (OSError, FFmpegError) as error:
            self._fail(error)
            return False
        return True

    def _seal(self, saved: _Saved, file: FileOutput, *, complete: bool) -> None:
        """Pass a recording on; one without an end is cut after what can be played."""
        path = self._directory.media / saved.file
        if not complete:
            length = usable_bytes(path, _CONTENT_TYPES[file.container])
            if not length:
                saved.queue.give_up(file.key, "the recording has no complete fragment")
                return
            os.truncate(path, length)
        saved.queue.seal(file.key)

    def drain(self, deadline: float) -> bool:
        """Wait until all is in the bucket; False if it is not at `deadline` (CLOCK_MONOTONIC). Blocks.

        Raises:
            EgressError: a store refuses an output. The others are in the bucket, or refused too.
        """
        refusals = []
        all_saved = True
        for saved in self._saved:
            try:
                all_saved &= saved.queue.drain(max(deadline - time.monotonic(), 0.0))
            except EgressError as refusal:
                refusals.append(refusal)
        if all_saved and refusals:
            raise refusals[0]
        return all_saved

    def save_manifest(self, manifest: Manifest, ended_at: int, deadline: float) -> str | None:
        """Upload the manifest beside each output that wants one. Blocks.

        Returns:
            The first location, "" without a manifest; None if one is not in the bucket at `deadline`.

        Raises:
            EgressError: the store refuses.
        """
        for saved in self._saved:
            objects = [
                ListedObject(each.path, saved.queue.location(each.path), each.content_type)
                for each in saved.queue.stored()
            ]
            manifest.add_output(saved.planned.output, objects, saved.moments)
        text = manifest.text(ended_at).encode()
        # The backup's manifest says what is where, also if it was not asked for.
        wanting = [
            (each.queue, manifest_key(each.planned.output, self._plan.egress_id))
            for each in self._saved
            if wants_manifest(each.planned.output) or each.queue.state.backup
        ]
        for queue, key in wanting:
            queue.replace(key, text, ContentType.JSON)
        if not self.drain(deadline):
            return None
        return next((queue.location(key) for queue, key in wanting), "")

    def fill(self, info: proto.EgressInfo) -> None:
        """Sizes, counts and locations of what is in the bucket."""
        files, segments = iter(info.file_results), iter(info.segment_results)
        images = iter(info.image_results)
        for saved in self._saved:
            stored = {each.path: each for each in saved.queue.stored()}
            if saved.queue.state.backup:
                info.backup_storage_used = True
            match saved.planned.output:
                case FileOutput() as file:
                    result = next(files)
                    if file.key in stored:
                        result.size, result.location = stored[file.key].size, saved.queue.location(file.key)
                case SegmentOutput() as output:
                    found = next(segments)
                    of_segments = [
                        each for each in stored.values() if each.content_type is ContentType.MPEG_TS
                    ]
                    found.segment_count = len(of_segments)
                    found.size = sum(each.size for each in of_segments)
                    names = output.names
                    found.playlist_location = saved.queue.location(names.directory + names.playlist)
                    if names.live_playlist:
                        found.live_playlist_location = saved.queue.location(
                            names.directory + names.live_playlist
                        )
                case ImageOutput():
                    next(images).image_count = len(saved.moments)

    def stop(self) -> None:
        """End the uploads after the current requests. What is not in the bucket stays in the spool."""
        for saved in self._saved:
            saved.queue.stop()

    def _segment_closed(self, saved: _Saved, output: SegmentOutput) -> Callable[[Segment, Path], None]:
        def closed(segment: Segment, path: Path) -> None:
            def pass_on() -> None:
                saved.segments.append(segment)
                file = str(path.relative_to(self._directory.media))
                saved.queue.add_file(output.names.directory + segment.name, file, ContentType.MPEG_TS)
                self._write_playlists(saved, output, ended=False)

            self._feed(pass_on)

        return closed

    def _write_playlists(self, saved: _Saved, output: SegmentOutput, *, ended: bool) -> None:
        names = output.names
        paths = [names.directory + segment.name for segment in saved.segments]
        now = time.monotonic()
        hours = sum(segment.duration for segment in saved.segments) / 3600
        if ended or now - saved.playlist_at >= _PLAYLIST_SECONDS_PER_HOUR * int(hours):
            saved.playlist_at = now
            text = event_playlist(saved.segments, output.seconds, ended=ended)
            path = names.directory + names.playlist
            saved.queue.replace(path, text.encode(), ContentType.PLAYLIST, after=paths[-1:])
        if names.live_playlist:
            text = live_playlist(saved.segments, output.seconds, ended=ended)
            path = names.directory + names.live_playlist
            saved.queue.replace(path, text.encode(), ContentType.PLAYLIST, after=paths[-1:])

    def _image_written(self, saved: _Saved, output: ImageOutput) -> Callable[[str, datetime, Path], None]:
        def written(name: str, moment: datetime, path: Path) -> None:
            def pass_on() -> None:
                key = output.names.directory + name
                saved.moments.append((key, moment))
                if output.suffix == proto.IMAGE_SUFFIX_NONE_OVERWRITE:
                    saved.queue.replace(key, path.read_bytes(), ContentType.JPEG)
                    path.unlink()
                else:
                    file = str(path.relative_to(self._directory.media))
                    saved.queue.add_file(key, file, ContentType.JPEG)

            self._feed(pass_on)

        return written

    def _feed(self, work: Callable[..., None], *arguments: object, **options: object) -> None:
        def run() -> None:
            try:
                work(*arguments, **options)
            except (OSError, EgressError) as error:
                self._fail(error)

        self._feeder.submit(run)

    def _fail(self, error: Exception) -> None:
        if self._problem is None:
            self._problem = error
            self._failed(error)
