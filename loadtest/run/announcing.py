"""Telling the observer from many threads as if from one, and without its mistakes breaking the run."""

from __future__ import annotations

import logging
import threading

from loadtest.run.observer import Observer, RunEvent

_log = logging.getLogger(__name__)


class Announcer:
    """An observer in front of another: events one at a time, and an exception goes to the log."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._lock = threading.Lock()

    def __call__(self, event: RunEvent) -> None:
        with self._lock:
            try:
                self._observer(event)
            except Exception:  # a display that fails is no reason to lose a run
                _log.exception("the observer failed at %s", type(event).__name__)
