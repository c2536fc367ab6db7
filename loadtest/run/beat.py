"""The engine's one way of letting time pass: while it waits, it does its chores and heeds `stop`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from common.waiting import wait_until
from loadtest.run.problems import Interrupted

_SECONDS = 0.05


class Beat:
    """Waits that go on with what has to be done meanwhile.

    Attributes:
        chores: called some twenty times a second, one after the other, by every wait. They must not
            block: what takes longer is handed to a thread.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.chores: list[Callable[[], None]] = []
        self._stop = stop

    def until(self, probe: Callable[[], bool], *, timeout: float, what: str) -> None:
        """Wait until `probe` holds.

        Args:
            timeout: seconds.
            what: is waited for, as the end of "waited 30 s for ...".

        Raises:
            Interrupted: the run was told to stop.
            NeverHappened: at the limit.
        """

        def look() -> bool:
            self.heed(what)
            for chore in self.chores:
                chore()
            return probe()

        wait_until(look, timeout=timeout, describe=what, interval=_SECONDS)

    def hold(self, seconds: float, *, what: str) -> None:
        """Let so many seconds pass.

        Raises:
            Interrupted: the run was told to stop.
        """
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, timeout=seconds + 1, what=what)

    def heed(self, what: str) -> None:
        """Where the run was told to stop, say so.

        Raises:
            Interrupted: it was.
        """
        if self._stop.is_set():
            raise Interrupted(what)
