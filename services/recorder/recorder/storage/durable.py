"""Small files that survive a crash of the process and of the machine, also on a full disk."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)
# The state of an egress is a few kilobytes; one write replaces a file or appends a line.
RESERVE_BYTES = 256 * 1024


class Reserve:
    """Disk space that is allocated in advance, so that state can be written when the disk is full.

    A write that finds the disk full deletes the reserve and is repeated. The next write that succeeds
    allocates the reserve again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hold()

    def write(self, attempt: Callable[[], None]) -> None:
        """Run `attempt`; on a full disk give the reserve away and run it once more.

        Raises:
            OSError: the write failed for another reason, or the reserve did not suffice.
        """
        try:
            attempt()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self._path.unlink(missing_ok=True)
            attempt()
        self._hold()

    def _hold(self) -> None:
        if self._path.exists():
            return
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            # A part of the reserve would look like all of it to the next call.
            self._path.unlink()
        finally:
            os.close(descriptor)


def write_atomic(path: Path, content: bytes, reserve: Reserve) -> None:
    """Replace a file with mode 0600. After a crash it has either the old or the new content."""
    fresh = path.with_name(f"{path.name}.new")

    def attempt() -> None:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.replace(path)
        sync_directory(path.parent)

    reserve.write(attempt)


class AppendedFile:
    """A file with mode 0600 that only grows. A line is there as a whole or not at all."""

    def __init__(self, path: Path, reserve: Reserve) -> None:
        self._reserve = reserve
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        content = path.read_bytes()
        # A line without its end was being written when the process was killed.
        self._size = content.rfind(b"\n") + 1
        self.lines = content[: self._size].splitlines()
        sync_directory(path.parent)

    def append(self, line: bytes) -> None:
        """Add a line, which must not contain a line feed. It is on the disk when this returns."""

        def attempt() -> None:
            # The previous attempt, or a killed process, may have left a part of a line.
            os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            _write_all(self._descriptor, line + b"\n")
            os.fsync(self._descriptor)

        self._reserve.write(attempt)
        self._size += len(line) + 1

    def close(self) -> None:
        os.close(self._descriptor)


def sync_file(path: Path) -> None:
    """Bring what was written to a file to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Bring the names in a directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
