"""Handler processes: one per egress, so that one recording's crash or load does not touch the others.

A spare process is kept ready: importing FFmpeg and the SDK takes longer than joining a room.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from recorder.storage.spool import EgressDirectory

_STDIN = 0
_MOST_BYTES = 4096

log = structlog.get_logger()


@dataclass(frozen=True)
class Assignment:
    """What a handler is told: whose directory it owns, by the descriptor of its lock."""

    egress_id: str
    lock: int


@dataclass
class Running:
    """A handler that records."""

    egress_id: str
    kind: str
    process: asyncio.subprocess.Process

    @property
    def lines(self) -> asyncio.StreamReader:
        """What the handler tells the service. Its standard output is a pipe, see `Handlers`."""
        if self.process.stdout is None:
            raise RuntimeError("the handler was started without a pipe")
        return self.process.stdout


class Handlers:
    """Starts handler processes and follows them.

    Args:
        upload: gets what a handler says of each upload.
        ended: called when a handler has ended, with its exit code.
    """

    def __init__(
        self,
        upload: Callable[[dict[str, Any]], None],
        ended: Callable[[Running, int], None],
    ) -> None:
        self._upload = upload
        self._ended = ended
        self._spare: tuple[asyncio.subprocess.Process, socket.socket] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.running: dict[str, Running] = {}

    @property
    def pids(self) -> list[int]:
        """All processes of the worker, with this one."""
        spare = [self._spare[0].pid] if self._spare is not None else []
        return [os.getpid(), *spare, *(each.process.pid for each in self.running.values())]

    async def prepare(self) -> None:
        """Have a spare process."""
        if self._spare is None:
            self._spare = await self._start()

    async def assign(self, directory: EgressDirectory, kind: str) -> None:
        """Have a handler record the egress of `directory`, which belongs to the handler from now on."""
        process, channel = self._spare or await self._start()
        self._spare = None
        message = json.dumps({"egress_id": directory.egress_id}).encode()
        lock = directory.lock
        # The descriptor goes along: the directory has an owner all the time.
        socket.send_fds(channel, [message], [lock])
        channel.close()
        directory.close()
        running = self.running[directory.egress_id] = Running(directory.egress_id, kind, process)
        self._spawn(self._follow(running))
        self._spawn(self.prepare())

    def end_all(self) -> None:
        """Have all handlers end their recordings and save them."""
        for running in self.running.values():
            _signal(running.process, signal.SIGTERM)

    async def close(self) -> None:
        """End the spare process, and wait for the others."""
        if self._spare is not None:
            process, channel = self._spare
            self._spare = None
            channel.close()
            await process.wait()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _start(self) -> tuple[asyncio.subprocess.Process, socket.socket]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "recorder",
                "handle",
                stdin=theirs.fileno(),
                stdout=asyncio.subprocess.PIPE,
                # A signal of the terminal or of a supervisor's process group goes to the service only.
                start_new_session=True,
            )
        return process, ours

    async def _follow(self, running: Running) -> None:
        async for line in running.lines:
            try:
                self._upload(json.loads(line))
            except ValueError:
                log.warning("handler_line_not_understood", line=line[:200].decode(errors="replace"))
        code = await running.process.wait()
        self.running.pop(running.egress_id, None)
        log.info("handler_ended", egress_id=running.egress_id, exit_code=code)
        self._ended(running, code)


def receive_assignment() -> Assignment | None:
    """In a handler: wait for an egress. None: the service has ended and there will be none."""
    with socket.socket(fileno=os.dup(_STDIN)) as channel:
        message, locks, _, _ = socket.recv_fds(channel, _MOST_BYTES, 1)
    if not message:
        return None
    return Assignment(json.loads(message)["egress_id"], locks[0])


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except ProcessLookupError:
        log.debug("handler_gone_already", pid=process.pid)
