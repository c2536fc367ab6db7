"""One command at a time on an instance."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from local.paths import Instance


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
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise Busy(f"process {file.read().strip()} works on this stack: wait until it ends") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
