"""The handle by which a router's owner holds the emulator's process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from common.waiting import wait_until
from loadtest.net.bridge import RouterName
from loadtest.net.emulation.messages import READY, EmulatorConfig, EmulatorStatistics

_CHECKOUT = Path(__file__).parents[3]
_SHOWN_LOG_CHARACTERS = 2000
_START_SECONDS = 20.0
_END_SECONDS = 5.0
# The emulator reports each second, and the real-time scheduler runs it before all other processes.
_SILENT_SECONDS = 5.0


class LinkDied(Exception):
    """The emulator ended while its link was in use: nothing passes any more."""


class Emulator:
    """A running emulator. `emulator` makes one."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._ready = False
        self._last: EmulatorStatistics | None = None
        self._heard_ns = time.monotonic_ns()
        self._reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id: nsenter becomes the emulator."""
        return self._process.pid

    @property
    def statistics(self) -> EmulatorStatistics | None:
        """What it said last, at most a second ago; None within the first second."""
        return self._last

    def start(self, config: EmulatorConfig) -> None:
        """Tell it what to do, and wait until it does.

        Raises:
            LinkDied: it could not.
        """
        stdin = cast("IO[bytes]", self._process.stdin)
        with suppress(BrokenPipeError):  # then it is gone, as the wait says
            stdin.write(config.model_dump_json().encode() + b"\n")
            stdin.flush()

        def ready() -> bool:
            self.assert_alive()
            return self._ready

        wait_until(ready, timeout=_START_SECONDS, describe="the link's emulator to start", interval=0.02)

    @property
    def fault(self) -> str:
        """A phrase that says why the emulator stopped working; empty while it works.

        The emulator reports each second, with or without packets. So silence means that it gets no processor
        time.
        """
        code = self._process.poll()
        if code is not None:
            return f"the link's emulator ended, exit code {code}"
        silent = (time.monotonic_ns() - self._heard_ns) / 1e9
        if silent > _SILENT_SECONDS:
            return f"the link's emulator has not reported for {silent:.0f} s, and does so each second"
        return ""

    def assert_alive(self) -> None:
        """Raise LinkDied if the emulator no longer works."""
        if self._process.poll() is not None:
            log = self._log.read_text(errors="replace")[-_SHOWN_LOG_CHARACTERS:]
            raise LinkDied(f"{self.fault}; end of its log {self._log}:\n{log}")

    def close(self) -> None:
        """Let it say its last, and make sure that it is gone."""
        with suppress(BrokenPipeError):
            cast("IO[bytes]", self._process.stdin).close()
        try:
            self._process.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=_END_SECONDS)
        self._reader.join(timeout=_END_SECONDS)

    def _read(self, stdout: IO[bytes]) -> None:
        with stdout:
            for line in stdout:
                if line == READY:
                    self._heard_ns, self._ready = time.monotonic_ns(), True
                else:
                    self._last = EmulatorStatistics.model_validate_json(line)
                    self._heard_ns = self._last.at_ns


@contextmanager
def emulator(router: RouterName, config: EmulatorConfig, *, log: Path) -> Iterator[Emulator]:
    """The emulator of all links of a router, for as long as the block runs.

    It ends at the end of its stdin, so it goes too when this process is killed.

    Args:
        log: file for its stderr; made, or overwritten.

    Raises:
        LinkDied: it could not start.
    """
    with log.open("wb") as log_file:
        process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{router}", "--", sys.executable, "-m", "loadtest.net.emulation"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log_file,
            cwd=_CHECKOUT,
            start_new_session=True,  # Ctrl-C is for us; we then end it after the clients
        )
    made = Emulator(process, log)
    try:
        made.start(config)
        yield made
    finally:
        made.close()
