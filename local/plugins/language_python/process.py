"""Starts and ends a plugin process, which prints its port first and ends when the engine ends."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

_PARENT_POLL_SECONDS = 1.0


def print_port(port: int) -> None:
    """Tell the engine where this plugin listens: it reads the first line of stdout as a port number."""
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


def on_parent_gone(then: Callable[[], object]) -> None:
    """Call `then` once the process that started this one has ended.

    A `pulumi` that was killed tells its plugins nothing. The kernel's own signal for this (PR_SET_PDEATHSIG)
    fires when the parent's *thread* ends, which in a Go program means little, hence the poll.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_POLL_SECONDS)
        then()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def engine_address(argv: list[str]) -> str:
    """The engine's `host:port`, the last of a plugin's arguments.

    Raises:
        SystemExit: started by something else than the engine.
    """
    if len(argv) < 2:
        raise SystemExit(f"{argv[0]}: give the engine's address as the last argument; `pulumi` starts this")
    return argv[-1]
