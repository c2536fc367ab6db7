"""Several observers as one: the display, and the log that is a file of the report."""

from __future__ import annotations

from collections.abc import Sequence

from loadtest.run.observer import Observer, RunEvent


class Both:
    """An observer that tells several others."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def __call__(self, event: RunEvent) -> None:
        for observer in self._observers:
            observer(event)
