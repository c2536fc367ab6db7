"""The handle by which a test or a scenario holds one client process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Protocol, TypeVar, cast

from pydantic import ValidationError

from common.waiting import wait_until
from loadtest.client.protocol import ClientConfig, Command, Event, Failed, Finished, event_adapter
from loadtest.client.recording import Recording

_SHOWN_LOG_CHARACTERS = 4000
_KILL_SECONDS = 5.0

E = TypeVar("E", bound=Event)


class Surroundings(Protocol):
    """Where a client runs: a client namespace, or the machine's own network."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` so that it runs there."""
        ...


class ClientDied(Exception):
    """A client ended before it was told to, or said that it failed. The message has its log's end."""


class ClientProcess:
    """A running client. `client_process` makes one."""

    def __init__(
        self,
        name: str,
        process: subprocess.Popen[bytes],
        log: Path,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._on_event = on_event
        self._process = process
        self._stdin = cast("IO[bytes]", process.stdin)
        self._events: list[Event] = []
        self._unreadable: list[str] = []
        self._reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Its process id: nsenter becomes the client."""
        return self._process.pid

    @property
    def recording(self) -> Recording:
        """All that it has said so far."""
        return Recording(tuple(self._events))

    def configure(self, config: ClientConfig) -> None:
        """Tell it what to do; the first thing that a client waits for.

        Raises:
            ClientDied: it is gone already.
        """
        self._write(config.model_dump_json(), "did not start")

    def tell(self, command: Command) -> None:
        """Give it a command, which it follows when it has read it.

        Raises:
            ClientDied: it is gone already.
        """
        self._write(command.model_dump_json(), f"was gone when told to {command.command}")

    def wait_for(self, kind: type[E], *, timeout: float) -> E:
        """The first event of this kind, now or when it comes.

        Args:
            timeout: seconds.

        Raises:
            ClientDied: the client failed or ended instead.
            NeverHappened: it runs, but the event did not come in time.
        """

        def found() -> list[E]:
            over = self._is_over()  # looked at first: all that was said before the end is then there
            events: list[E] = [event for event in list(self._events) if isinstance(event, kind)]
            if over and not events:
                raise self._died(f"ended without {kind.__name__}")
            return events

        what = f"{kind.__name__} of client {self.name} (log: {self.log})"
        return wait_until(found, timeout=timeout, describe=what, interval=0.05)[0]

    def death(self) -> str:
        """Why it can do no more, with its log's end, where it failed or died; empty while it runs, and when
        it has finished."""
        if not self._is_over() or self._has_said(Finished):
            return ""
        return str(self._died("failed" if self._has_said(Failed) else "died"))

    def run_for(self, seconds: float) -> None:
        """Let it run for this long.

        Raises:
            ClientDied: it did not last.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._is_over():
                raise self._died(f"ended {left:.1f} s too early")
            time.sleep(min(0.2, left))

    def finish(self, *, timeout: float = 15) -> Finished:
        """Tell the client to end, and give back what it measured.

        Args:
            timeout: seconds that leaving the room and reporting may take.

        Raises:
            ClientDied, NeverHappened: as `wait_for`.
        """
        self._stdin.close()
        return self.wait_for(Finished, timeout=timeout)

    def close(self) -> None:
        """Make sure that the process is gone, and that all it said has been read."""
        with suppress(BrokenPipeError):  # what it was not there to read is still in the buffer
            self._stdin.close()
        try:
            # A client that finished is about to leave by itself; any other gets no such grace.
            self._process.wait(timeout=_KILL_SECONDS if self._has_said(Finished, Failed) else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=_KILL_SECONDS)
        self._reader.join(timeout=_KILL_SECONDS)

    def log_end(self) -> str:
        """The last part of the client's log."""
        return self.log.read_text(errors="replace")[-_SHOWN_LOG_CHARACTERS:]

    def _is_over(self) -> bool:
        return self._has_said(Failed) or (self._process.poll() is not None and not self._reader.is_alive())

    def _has_said(self, *kinds: type[Event]) -> bool:
        return any(isinstance(event, kinds) for event in list(self._events))

    def _write(self, line: str, otherwise: str) -> None:
        try:
            self._stdin.write(line.encode() + b"\n")
            self._stdin.flush()
        except (BrokenPipeError, ValueError):  # the second: `finish` has closed it
            self._reader.join(timeout=_KILL_SECONDS)
            raise self._died(otherwise) from None

    def _died(self, what: str) -> ClientDied:
        said = [event.reason for event in self._events if isinstance(event, Failed)] + self._unreadable
        return ClientDied(
            f"client {self.name} {what}; exit code {self._process.poll()}"
            + "".join(f"\nit said: {text}" for text in said)
            + f"\nend of its log {self.log}:\n{self.log_end()}"
        )

    def _read(self, stdout: IO[bytes]) -> None:
        with stdout:
            for line in stdout:
                try:
                    event = event_adapter.validate_json(line)
                except ValidationError as error:
                    self._unreadable.append(f"{line[:200]!r}: {error}")
                    continue
                self._events.append(event)
                if self._on_event:
                    self._on_event(event)


@contextmanager
def client_process(
    name: str,
    config: ClientConfig,
    *,
    namespace: Surroundings,
    log: Path,
    on_event: Callable[[Event], None] | None = None,
) -> Iterator[ClientProcess]:
    """A client that runs inside `namespace`, for as long as the block does.

    A new interpreter, not a fork: the native library has threads that no fork survives. It is told to
    leave by the end of its stdin, so it goes too when this process is killed.

    Args:
        name: what to call it in messages.
        log: file for its log; made, or overwritten.
        on_event: called with each event, from a thread of this client's own; it must not raise.
    """
    with log.open("wb") as log_file:
        process = subprocess.Popen(
            namespace.command([sys.executable, "-m", "loadtest.client"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log_file,
            cwd=Path(__file__).parents[2],
            start_new_session=True,  # Ctrl-C is for us; we then end our clients in order
        )
    client = ClientProcess(name, process, log, on_event)
    try:
        client.configure(config)
        yield client
    finally:
        client.close()
