"""Ctrl-C: the run is told to stop once, and what it starts is not ended by the terminal's signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from loadtest.run.interrupting import interruptibly
from tests.support.speed import scaled


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_tells_the_run_to_stop_and_a_second_one_changes_nothing(number: signal.Signals) -> None:
    told: list[str] = []

    def work(stop: threading.Event) -> str:
        os.kill(os.getpid(), number)
        assert stop.wait(scaled(10)), "the signal did not arrive"
        os.kill(os.getpid(), number)
        # What is started from here on is in the same group, as an `ip` that takes a namespace away.
        child = subprocess.Popen(["sleep", "0.5"])
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=scaled(10)) == 0, "the clean-up's program was ended by Ctrl-C"
        return "cleaned up"

    assert interruptibly(work, on_stop=lambda: told.append("stop")) == "cleaned up"
    os.kill(os.getpid(), number)  # while its report is written and shown
    assert told == ["stop"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_while_the_interpreter_closes_down_does_not_change_the_exit_code(
    number: signal.Signals,
) -> None:
    # Closing down, Python takes its own handlers away before it destroys a module's objects: what
    # `__del__` sends then is the latest signal there can be.
    program = f"""
import os, sys
from loadtest.run.interrupting import interruptibly

class SignalsAtTheVeryEnd:
    def __del__(self, kill=os.kill, pid=os.getpid()):
        kill(pid, {int(number)})

def work(stop):
    os.kill(os.getpid(), {int(number)})
    assert stop.wait({scaled(10)}), "the first signal did not arrive"

last = SignalsAtTheVeryEnd()
interruptibly(work, on_stop=lambda: None)
sys.exit(2)
"""
    argv = [sys.executable, "-c", program]
    ended = subprocess.run(argv, check=False, stderr=subprocess.PIPE, timeout=scaled(30))
    assert ended.returncode == 2, ended.stderr


def test_handlers_are_put_back_after_a_run_that_nobody_stopped() -> None:
    before = signal.getsignal(signal.SIGINT)
    assert interruptibly(lambda _: "done", on_stop=lambda: None) == "done"
    assert signal.getsignal(signal.SIGINT) is before


def test_what_the_run_raises_is_raised() -> None:
    def work(_: threading.Event) -> None:
        raise LookupError("no stack")

    began = time.monotonic()
    with pytest.raises(LookupError, match="no stack"):
        interruptibly(work, on_stop=lambda: None)
    assert time.monotonic() - began < scaled(5)
