"""The upload queue of one output of an egress.

A queue has one thread, which sends one request at a time, in the order of `next_upload.next_action`. So old
content never overtakes new content. What is to be uploaded, and how far that is, is in the journal: when a
process dies, a queue of another process on the same directory continues.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Collection
from uuid import uuid4

from recorder.errors import Code, EgressError
from recorder.storage.destination import Destination, UploadObserver
from recorder.storage.durable import sync_file, write_atomic
from recorder.storage.journal import Journal
from recorder.storage.names import location
from recorder.storage.next_upload import Abort, Action, next_action
from recorder.storage.retries import Retries
from recorder.storage.s3_errors import Meaning, StoreError
from recorder.storage.sending import send
from recorder.storage.spool import EgressDirectory
from recorder.storage.upload_events import (
    Added,
    ContentType,
    Ended,
    Event,
    Lost,
    Replaced,
    Sealed,
    Stored,
    Switched,
)
from recorder.storage.upload_state import FileState, ReplacedState, StoredObject, UploadState

_log = logging.getLogger(__name__)

# How often the size of a growing file is read.
_GROWTH_SECONDS = 0.5


class UploadQueue:
    """Uploads the files and playlists of one output.

    Any thread may call the methods. They wait for the disk, so an asyncio program calls them by
    `asyncio.to_thread`. Paths are those in the bucket, without the target's prefix.

    Attributes:
        patience: seconds for which the primary store may be unreachable until it counts as failed. May be
            changed at any time: a recording waits for ever, its end does not (`Destination.patience`). A
            store that refuses fails at once. The backup is waited for without a limit.
    """

    def __init__(
        self,
        directory: EgressDirectory,
        output: str,
        destination: Destination,
        *,
        observer: UploadObserver | None = None,
        patience: float = math.inf,
    ) -> None:
        """Read the journal of `output`, or begin it. Nothing is uploaded before `start`.

        Raises:
            EgressError: FAILED_PRECONDITION; the journal's backup store is not configured any more.
        """
        self.patience = patience
        self._media = directory.media
        self._contents = directory.contents(output)
        self._reserve = directory.reserve
        self._destination = destination
        self._observer = observer or UploadObserver()
        self._name = f"{directory.egress_id} {output}"
        self._journal = Journal(directory.journal(output), directory.reserve)
        if self.state.backup and destination.backup is None:
            self._journal.close()
            text = f"{self._name} is uploaded to a backup store, and none is configured"
            raise EgressError(Code.FAILED_PRECONDITION, text)
        self._unchecked = set(self._journal.state.multiparts)
        self._unreachable: set[str] = set()
        self._retries = Retries(destination.bucket(backup=self.state.backup).target)
        self._failure: EgressError | None = None
        # Guards the journal. It is notified of all that `drain` and the thread wait for.
        self._changed = threading.Condition()
        self._idle = False
        # When a request succeeded last, or the thread began. In seconds on CLOCK_MONOTONIC.
        self._progress_at = time.monotonic()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"uploads {self._name}", daemon=True)

    @property
    def state(self) -> UploadState:
        """What is known of the objects. Not to be changed."""
        return self._journal.state

    def start(self) -> None:
        """Begin to upload."""
        self._delete_leftovers()
        self._progress_at = time.monotonic()
        self._thread.start()

    def add_growing(self, path: str, file: str, content_type: ContentType) -> None:
        """Upload a recording while it is written. `file` is its name in `media`; it need not exist yet.

        Raises:
            ValueError: the path is in use.
            EgressError: the queue has failed.
        """
        self._add(Added(path, file, content_type, None))

    def add_file(self, path: str, file: str, content_type: ContentType) -> None:
        """Upload a file that is complete, and delete it afterwards. `file` is its name in `media`.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the path is in use.
            EgressError: the queue has failed.
        """
        local = self._media / file
        sync_file(local)
        self._add(Added(path, file, content_type, local.stat().st_size))

    def seal(self, path: str) -> None:
        """The recording at `path` is complete: upload the rest of it.

        Raises:
            FileNotFoundError: its file does not exist.
            ValueError: there is no such recording that grows.
            EgressError: the queue has failed.
        """
        with self._changed:
            one = self.state.file(path)
            if one.size is not None:
                raise ValueError(f"{path} is complete already")
        local = self._media / one.file
        sync_file(local)
        with self._changed:
            self._record(Sealed(path, local.stat().st_size))

    def replace(
        self, path: str, content: bytes, content_type: ContentType, after: Collection[str] = ()
    ) -> None:
        """Store new content of an object such as a playlist.

        Contents are stored in their order. One that is not the newest any more may be skipped; what it waits
        for, the next one waits for too. So a playlist names only the segments that it adds.

        Args:
            after: paths of the objects that must be in the bucket before this content is.

        Raises:
            ValueError: the path is that of a file, or one in `after` is not known.
            EgressError: the queue has failed.
        """
        file = uuid4().hex
        write_atomic(self._contents / file, content, self._reserve)
        with self._changed:
            unknown = [one for one in after if one not in self.state.objects]
            if unknown:
                raise ValueError(f"after: {unknown[0]} was not added; allowed are paths that were")
            known = self.state.replaced(path)
            skipped = known.newest if known is not None else None
            waits = {*after, *(skipped.after if skipped is not None else ())}
            waits = {one for one in waits if not self.state.objects[one].settled}
            self._record(Replaced(path, file, content_type, tuple(sorted(waits))))
        self._delete_content(skipped)

    def content(self, path: str) -> bytes | None:
        """The newest content of an object that is replaced, stored or not; None if it has none."""
        with self._changed:
            known = self.state.replaced(path)
            newest = None if known is None else known.newest or known.next or known.current
        return None if newest is None else (self._contents / newest.file).read_bytes()

    def drain(self, timeout: float, *, without_progress: float = math.inf) -> bool:
        """Wait until everything has reached the bucket; False if it has not within `timeout` seconds.

        Recordings must be sealed before.

        Args:
            without_progress: seconds without a request that succeeds, after which it waits no longer.

        Raises:
            EgressError: the queue has failed.
        """
        end = time.monotonic() + timeout
        with self._changed:
            while self._failure is None and not self._is_done():
                left = min(end, self._progress_at + without_progress) - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            if self._failure is not None:
                raise self._failure
            return True

    def stop(self) -> None:
        """End the thread after the request that it is sending, and close the journal."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        self._journal.close()

    def stored(self) -> list[StoredObject]:
        """The objects in the bucket, in the order in which they were added."""
        with self._changed:
            return [one.stored for one in self.state.objects.values() if one.stored is not None]

    def location(self, path: str) -> str:
        """The URL of an object; of one that is not stored yet, where it will be.

        What was stored before the primary store failed stays there, so each object has its own store.
        """
        with self._changed:
            known = self.state.objects.get(path)
            stored = known.stored if known is not None else None
            backup = stored.backup if stored is not None else self.state.backup
        return location(self._destination.bucket(backup=backup).target, path)

    def left_over(self) -> list[str]:
        """Paths of multipart uploads that could not be aborted, in a store that does not answer."""
        with self._changed:
            return [one.path for one in self.state.multiparts.values() if one.upload_id in self._unreachable]

    def give_up(self, path: str, reason: str) -> None:
        """Never upload this object: its content is lost.

        Raises:
            EgressError: the queue has failed.
        """
        with self._changed:
            self._record(Lost(path, reason))

    def _is_done(self) -> bool:
        return self._idle and not any(self.state.unsettled())

    def _add(self, event: Added) -> None:
        with self._changed:
            if event.path in self.state.objects:
                raise ValueError(f"{event.path} was added before; allowed is a path that was not")
            self._record(event)

    def _record(self, event: Event) -> None:
        """Add an event; the caller holds the lock."""
        if self._failure is not None:
            raise self._failure
        self._journal.add(event)
        self._idle = False
        self._changed.notify_all()

    def _run(self) -> None:
        try:
            while (action := self._next()) is not None and self._attempt(action):
                pass
        except Exception as error:
            # The disk failed, or there is a mistake in this program. Who waits must learn of it.
            _log.exception("%s: uploads ended", self._name)
            self._fail(EgressError(Code.INTERNAL, f"upload failed: {type(error).__name__}: {error}"))

    def _next(self) -> Action | None:
        """Wait for something to do; None if the thread is to end."""
        with self._changed:
            while not self._stopping.is_set():
                sizes = self._sizes()
                action = next_action(
                    self.state, sizes, unchecked=self._unchecked, unreachable=self._unreachable
                )
                self._idle = action is None
                if action is not None:
                    return action
                self._changed.notify_all()
                self._changed.wait(_GROWTH_SECONDS if sizes else None)
        return None

    def _sizes(self) -> dict[str, int]:
        sizes = {}
        for one in self.state.unsettled():
            if isinstance(one, FileState) and one.size is None:
                local = self._media / one.file
                # The muxer may not have made the file yet.
                sizes[one.path] = local.stat().st_size if local.exists() else 0
        return sizes

    def _attempt(self, action: Action) -> bool:
        """Send the request for `action`; whether to go on."""
        backup = action.backup if isinstance(action, Abort) else self.state.backup
        bucket = self._destination.bucket(backup=backup)
        began = time.monotonic()
        try:
            events = send(action, bucket, backup=backup, media=self._media, contents=self._contents)
        except StoreError as error:
            return self._after_failure(action, error)
        if self._retries.since is not None:
            away = time.monotonic() - self._retries.since
            _log.info("%s: the store answers again after %.1f s", self._name, away)
        self._retries.succeeded()
        with self._changed:
            known = self.state.objects[action.path]
            replaced = known.current if isinstance(known, ReplacedState) else None
            for event in events:
                self._record(event)
            self._unchecked.discard(getattr(action, "upload_id", ""))
            self._progress_at = time.monotonic()
        if known.stored is not None and any(isinstance(event, Stored) for event in events):
            self._delete_content(replaced)
            # A recording stays until its egress has been reported: its duration is read from it.
            if isinstance(known, FileState) and not known.growing:
                (self._media / known.file).unlink(missing_ok=True)
            self._observer.stored(known.stored, time.monotonic() - began)
        return True

    def _after_failure(self, action: Action, error: StoreError) -> bool:
        """Wait before the next attempt, or use the backup, or fail; whether to go on."""
        if isinstance(action, Abort):
            _log.warning("%s: a multipart upload of %s may be left: %s", self._name, action.path, error)
            self._unreachable.add(action.upload_id)
            return True
        if self._retries.since is None:
            _log.warning("%s: %s", self._name, error)
        if error.meaning is Meaning.NO_UPLOAD:
            self._forget(action.path, getattr(action, "upload_id", ""))
        now = time.monotonic()
        patience = math.inf if self.state.backup else self.patience
        if self._retries.failed(action.path, error.meaning, now=now, patience=patience):
            return not self._stopping.wait(self._retries.delay(random.random()))  # noqa: S311
        return self._store_failed(error)

    def _forget(self, path: str, upload_id: str) -> None:
        """Give up a multipart upload that the store does not have, or not with the parts that were sent."""
        try:
            self._destination.bucket(backup=self.state.backup).abort(path, upload_id)
        except StoreError as error:
            _log.warning("%s: a multipart upload of %s may be left: %s", self._name, path, error)
        with self._changed:
            self._record(Ended(upload_id))

    def _store_failed(self, error: StoreError) -> bool:
        """The store that is in use has failed: use the backup, or end. Whether to go on."""
        if self._destination.backup is not None and not self.state.backup:
            _log.warning("%s: the backup is used from now on", self._name)
            with self._changed:
                self._record(Switched(str(error)))
                self._progress_at = time.monotonic()
            self._retries = Retries(self._destination.backup.target)
            self._observer.switched(str(error))
            return True
        for upload in list(self.state.multiparts.values()):
            self._attempt(Abort(upload.path, upload.upload_id, upload.backup))
        first = f"primary: {self.state.switched}\nbackup: " if self.state.backup else ""
        self._fail(EgressError(Code.INVALID_ARGUMENT, f"{first}{error}"))
        return False

    def _fail(self, error: EgressError) -> None:
        _log.error("%s: %s", self._name, error)
        with self._changed:
            self._failure = error
            self._changed.notify_all()
        self._observer.failed(error)

    def _delete_content(self, content: Replaced | None) -> None:
        if content is not None:
            (self._contents / content.file).unlink(missing_ok=True)

    def _delete_leftovers(self) -> None:
        """Delete what a process did not delete because it was killed."""
        needed = set()
        for one in self.state.objects.values():
            if isinstance(one, ReplacedState):
                needed |= one.files
            elif one.stored is not None and not one.growing:
                (self._media / one.file).unlink(missing_ok=True)
        for file in self._contents.iterdir():
            if file.name not in needed:
                file.unlink()
