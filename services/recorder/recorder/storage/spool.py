"""The spool: what recordings are kept in until they have reached the bucket.

It is a directory on a volume of limited size that outlives the process, the pod and a restart of the node.
Each egress has a directory of its own:

    <root>/<egress id>/
        lock                held by the process that owns the directory
        reserve             disk space for state on a full disk (`durable.Reserve`)
        request.bin         the request, serialized; mode 0600, because it may carry credentials
        info.bin            the last EgressInfo, serialized
        <output>.uploads    what an output uploads, and how far that is (`journal`)
        contents/<output>/  the newest contents of objects that are replaced: playlists, images
        media/              recordings, segments, images

A directory gets this name when it is complete and its lock is held. So a directory with a free lock was left
behind by a process that died.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from uuid import uuid4

from recorder.errors import Code, EgressError, invalid_field
from recorder.storage.durable import Reserve, sync_directory, write_atomic

_EGRESS_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
# The first character of directories that are being created or removed.
_UNFINISHED = "."
# Creating or removing a directory takes milliseconds. One that is older belongs to a process that died.
_UNFINISHED_SECONDS = 600.0


@dataclass(frozen=True)
class Usage:
    """Bytes that the spool occupies, and bytes that may still be written without using the reserve."""

    used: int
    free: int


def free_bytes(*, used: int, available: int, max_bytes: int, reserve: int) -> int:
    """How many bytes may still be written. Pure; the arguments are those of `Spool`.

    Args:
        used: bytes that the spool's files occupy.
        available: bytes of the volume that are free.
    """
    left = min(available, max_bytes - used) if max_bytes else available
    return max(0, left - reserve)


class Spool:
    """The directories of all egresses under `root`."""

    def __init__(self, root: Path, *, max_bytes: int = 0, reserve: int = 0) -> None:
        """Use the directory `root`; create it if it is missing.

        Args:
            max_bytes: the most that the spool may occupy; 0 if only the volume limits it.
            reserve: bytes to keep free for the ends of recordings: indexes, playlists and state.
        """
        self._root = root
        self._max_bytes = max_bytes
        self._reserve = reserve
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def usage(self) -> Usage:
        """What is used and free now, read from the disk."""
        used = _occupied(self._root)
        volume = os.statvfs(self._root)
        available = volume.f_bavail * volume.f_frsize
        free = free_bytes(used=used, available=available, max_bytes=self._max_bytes, reserve=self._reserve)
        return Usage(used, free)

    def create(self, egress_id: str, request: bytes) -> EgressDirectory:
        """Make the directory of a new egress. This process owns it.

        Raises:
            EgressError: ALREADY_EXISTS, or INVALID_ARGUMENT for an id that is no file name.
            OSError: the volume is full, or cannot be written.
        """
        if not _EGRESS_ID.fullmatch(egress_id):
            raise invalid_field("egress_id", egress_id, "1 to 100 letters, digits, '_' and '-'")
        # Only this user may read it.
        unfinished = Path(mkdtemp(prefix=_UNFINISHED, dir=self._root))
        final = self._root / egress_id
        lock = os.open(unfinished / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (unfinished / "media").mkdir(mode=0o700)
            write_atomic(unfinished / "request.bin", request, Reserve(unfinished / "reserve"))
            # This does not replace a directory that has files, and each one has a lock.
            unfinished.rename(final)
        except OSError as error:
            os.close(lock)
            shutil.rmtree(unfinished, ignore_errors=True)
            if final.exists():
                raise EgressError(Code.ALREADY_EXISTS, f"egress {egress_id} exists already") from error
            raise
        sync_directory(self._root)
        return EgressDirectory(final, lock)

    def open(self, egress_id: str) -> EgressDirectory | None:
        """Own the directory of an egress. None if it does not exist or if a living process owns it."""
        path = self._root / egress_id
        lock = _own(path)
        return None if lock is None else EgressDirectory(path, lock)

    def abandoned(self) -> Iterator[EgressDirectory]:
        """Own the directories whose owners died, one after another.

        The caller closes or removes each directory. Two processes may do this at the same time: each
        directory goes to one of them.
        """
        self._remove_unfinished()
        for path in sorted(self._root.iterdir()):
            # A volume may have a directory of its own: lost+found.
            if _EGRESS_ID.fullmatch(path.name):
                directory = self.open(path.name)
                if directory is not None:
                    yield directory

    def _remove_unfinished(self) -> None:
        for path in self._root.glob(f"{_UNFINISHED}*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _UNFINISHED_SECONDS:
                    shutil.rmtree(path)


class EgressDirectory:
    """The directory of one egress, owned by this process until `close` or `remove`."""

    def __init__(self, path: Path, lock: int) -> None:
        """Use `path`, whose lock is held by the file descriptor `lock`."""
        self.path = path
        self.media = path / "media"
        self.reserve = Reserve(path / "reserve")
        self._lock = lock

    @property
    def lock(self) -> int:
        """The descriptor that holds the lock. A process that gets a copy of it owns the directory, too."""
        return self._lock

    @property
    def egress_id(self) -> str:
        return self.path.name

    def request(self) -> bytes:
        return (self.path / "request.bin").read_bytes()

    def info(self) -> bytes | None:
        """The last EgressInfo; None if there was none yet."""
        try:
            return (self.path / "info.bin").read_bytes()
        except FileNotFoundError:
            return None

    def write_info(self, info: bytes) -> None:
        """Replace the last EgressInfo. It is on the disk when this returns."""
        write_atomic(self.path / "info.bin", info, self.reserve)

    def beginning(self) -> bytes | None:
        """What the recording process learned when it began; None if it recorded nothing."""
        try:
            return (self.path / "beginning.json").read_bytes()
        except FileNotFoundError:
            return None

    def write_beginning(self, beginning: bytes) -> None:
        """Keep what another process needs to finish the egress. It is on the disk when this returns."""
        write_atomic(self.path / "beginning.json", beginning, self.reserve)

    def journal(self, output: str) -> Path:
        """Where the journal of an output is, or will be."""
        return self.path / f"{output}.uploads"

    def contents(self, output: str) -> Path:
        """The directory for what an output replaces. It is created if it is missing."""
        path = self.path / "contents" / output
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def outputs(self) -> list[str]:
        """The outputs that have a journal."""
        return sorted(path.stem for path in self.path.glob("*.uploads"))

    def close(self) -> None:
        """Give the directory up. Somebody else may own it from now on."""
        os.close(self._lock)

    def remove(self) -> None:
        """Delete the directory: all of it has reached the bucket, and LiveKit has taken the last report.

        A crash meanwhile leaves the whole directory, or one that the next call of `abandoned` deletes.
        """
        removed = self.path.with_name(f"{_UNFINISHED}{uuid4().hex}")
        self.path.rename(removed)
        shutil.rmtree(removed)
        self.close()

    def __enter__(self) -> EgressDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _own(directory: Path) -> int | None:
    """A descriptor that holds the lock of `directory`; None if another one holds it or there is none."""
    try:
        descriptor = os.open(directory / "lock", os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The owner may have removed the directory after this process had opened the lock.
        if os.path.samestat(os.fstat(descriptor), (directory / "lock").stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _occupied(directory: Path) -> int:
    """Bytes of disk blocks that the files below `directory` occupy.

    Files may disappear meanwhile. Only root may read lost+found.
    """
    total = 0
    with contextlib.suppress(FileNotFoundError, PermissionError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.is_dir(follow_symlinks=False):
                    total += _occupied(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total
