"""One command at a time on an instance, and one piece of shared work at a time on this machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from common.commands import check_interrupted
from common.waiting import wait_until
from local.paths import Instance, cache_dir

# The longest work under a lock is a compilation on a slow machine.
_CACHE_LOCK_SECONDS = 3600.0


class Busy(Exception):
    """Another command works on the same instance."""


@contextmanager
def exclusive(instance: Instance) -> Iterator[None]:
    """Hold the instance's lock; the kernel releases it when this process ends, however it ends.

    Raises:
        Busy: another process holds it, named by its id.
    """
    instance.lock.parent.mkdir(parents=True, exist_ok=True)
    with instance.lock.open("a+") as file:
        if not _taken(file):
            file.seek(0)
            raise Busy(f"process {file.read().strip()} works on this stack: wait until it ends")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextmanager
def cache_lock(work: str) -> Iterator[None]:
    """A lock for work whose result goes into the shared cache. One thread on this machine holds it at a time.

    After the wait, check again whether the work still has to be done: the previous holder may have done it.
    The kernel releases the lock when its process ends.

    Args:
        work: a file name that identifies the work.

    Raises:
        NeverHappened: another thread or process held the lock for an hour.
        Interrupted: as `common.commands.check_interrupted`.
    """
    directory = cache_dir() / "locks"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f"{work}.lock").open("w") as file:

        def taken() -> bool:
            check_interrupted()
            return _taken(file)

        wait_until(
            taken,
            timeout=_CACHE_LOCK_SECONDS,
            describe=f"another process or thread to finish its work on {work}",
            interval=0.2,
        )
        yield


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
