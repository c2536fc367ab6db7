"""The observer hears one event at a time, whatever the number of threads, and its mistakes stay its own."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from loadtest.run.announcing import Announcer
from loadtest.run.observer import PhaseStarted, RunEvent


def test_one_event_at_a_time() -> None:
    inside = threading.Semaphore(1)
    overlaps: list[str] = []

    def observer(event: RunEvent) -> None:
        if not inside.acquire(blocking=False):
            overlaps.append(type(event).__name__)
            return
        time.sleep(0.002)
        inside.release()

    announce = Announcer(observer)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: announce(PhaseStarted("joining")), range(40)))
    assert not overlaps


def test_an_observer_that_fails_does_not_end_the_run() -> None:
    def observer(event: RunEvent) -> None:
        raise ValueError("no terminal")

    Announcer(observer)(PhaseStarted("joining"))
