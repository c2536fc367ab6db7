"""Waiting: chores go on meanwhile, and an order to stop is heeded at once."""

from __future__ import annotations

import threading
import time

import pytest

from common.waiting import NeverHappened
from loadtest.run.beat import Beat
from loadtest.run.problems import Interrupted
from tests.support.speed import scaled


def test_chores_are_done_while_time_passes() -> None:
    beat = Beat(threading.Event())
    done: list[float] = []
    beat.chores.append(lambda: done.append(time.monotonic()))
    beat.until(lambda: len(done) >= 3, timeout=scaled(30), what="the chore to be done again and again")
    assert done == sorted(set(done)), "each time anew"


def test_an_order_to_stop_ends_a_long_wait_at_once() -> None:
    stop = threading.Event()
    beat = Beat(stop)
    threading.Timer(0.1, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Interrupted, match="settling"):
        beat.hold(60, what="settling")
    assert time.monotonic() - began < 30, "it was heeded long before the end of the wait"


def test_what_does_not_come_is_said() -> None:
    with pytest.raises(NeverHappened, match="clients to arrive"):
        Beat(threading.Event()).until(lambda: False, timeout=0.1, what="the clients to arrive")
