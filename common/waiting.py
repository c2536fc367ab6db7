"""The one way in which this project waits: for a condition, with a limit and a message."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class NeverHappened(Exception):
    """A condition did not come true in time. The message says which, how long, and what was seen last."""


def wait_until(
    probe: Callable[[], T],
    *,
    timeout: float,
    describe: str,
    interval: float = 0.5,
    tolerate: tuple[type[Exception], ...] = (),
) -> T:
    """Call `probe` until it gives something truthy, and give that back.

    Args:
        timeout: seconds; the probe runs at least once, and once more at the limit.
        describe: what is waited for, as the end of "waited 30 s for ...".
        tolerate: exceptions that mean "not yet"; any other ends the wait at once.

    Raises:
        NeverHappened: at the limit, with the last falsy value or tolerated exception.
    """
    deadline = time.monotonic() + timeout
    while True:
        last: object
        try:
            result = probe()
            if result:
                return result
            last = result
        except tolerate as error:
            last = f"{type(error).__name__}: {error}"
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise NeverHappened(f"waited {timeout:g} s for {describe}; last seen: {last}")
        time.sleep(min(interval, remaining))
