"""Ctrl-C and SIGTERM: a run is told to stop, and what it cleans up is not disturbed by a second one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def interruptibly(work: Callable[[threading.Event], T], *, on_stop: Callable[[], None]) -> T:
    """Do `work` in a thread of its own; a signal sets the event that it is given.

    The thread blocks SIGINT, and what it starts inherits that: Ctrl-C goes to the whole group of a
    terminal's processes, and an `ip` that is just taking a namespace away must not die of it.

    Once told to stop, the process heeds no second signal until it ends: its report is still to be shown.

    Args:
        on_stop: called at the first signal, in the main thread.

    Raises:
        What `work` raises.
    """
    stop = threading.Event()
    results: list[T] = []
    errors: list[BaseException] = []

    def inside() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            results.append(work(stop))
        except BaseException as error:  # raised again below
            errors.append(error)

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if not stop.is_set():
            stop.set()
            on_stop()

    before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
    try:
        thread = threading.Thread(target=inside, name="engine")
        thread.start()
        thread.join()
    finally:
        for number, handler in before.items():
            # Ignored by the kernel, not by a handler of ours: closing down, Python puts the default
            # action back in place of its handlers, and a late Ctrl-C would take the exit code away.
            signal.signal(number, signal.SIG_IGN if stop.is_set() else handler)
    if errors:
        raise errors[0]
    return results[0]
