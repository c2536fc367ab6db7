"""Directories in memory, for data that is written often and thrown away."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - only as the parent of directories with random names


@contextmanager
def memory_directory(prefix: str = "test-") -> Iterator[Path]:
    """A new directory in memory, or on disk if the machine has no /dev/shm. It exists for the block.

    SQLite waits for the disk at each commit, and a new PostgreSQL database is 8 MB of files. On a disk that
    others write to, tests would spend most of their time waiting for it.
    """
    parent = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent) as directory:
        yield Path(directory)
