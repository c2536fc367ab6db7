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
from typing import Any, TypeAlias

import structlog

from recorder.errors import Code, EgressError
from recorder.storage.spool import EgressDirectory

# Exit codes of a handler. With any but the first, the service looks after what is in the spool.
EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_LEFT = 3
# Results of egresses in livekit/egress' metrics (v1.14, `pkg/stats/monitor_prom.go`). What counts is how the
# handler's process ended: an egress that its process reported as failed or aborted is `completed`, too.
COMPLETED = "completed"
PROCESS_ERROR = "process_error"
KILLED_SHUTDOWN = "killed_shutdown"
_STDIN = 0
_MOST_BYTES = 4096

log = structlog.get_logger()


@dataclass(frozen=True)
class Assignment:
    """The egress of a handler, and its directory by the descriptor of the directory's lock.

    The service may end the egress through `channel` (`next_error`).
    """

    egress_id: str
    lock: int
    channel: socket.socket


@dataclass
class Running:
    """A handler that records. `reason` says why the service ended it, in the words of the metrics."""

    egress_id: str
    kind: str
    process: asyncio.subprocess.Process
    channel: socket.socket
    reason: str = ""

    @property
    def lines(self) -> asyncio.StreamReader:
        """What the handler tells the service. Its standard output is a pipe, see `Handlers`."""
        if self.process.stdout is None:
            raise RuntimeError("the handler was started without a pipe")
        return self.process.stdout

    def result(self, code: int) -> str:
        """The egress' result in the metrics; `code` is the exit code of its process."""
        return self.reason or (COMPLETED if code in {EXIT_DONE, EXIT_LEFT} else PROCESS_ERROR)


# A process that waits for an egress, and the channel to it.
_Process: TypeAlias = tuple[asyncio.subprocess.Process, socket.socket]


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
        self._spare: _Process | None = None
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
        """Have a handler record the egress of `directory`, which is not the caller's any more afterwards.

        Raises:
            OSError: no handler could be started. The directory has no owner then.
        """
        try:
            process, channel = await self._hand_over(directory)
        finally:
            directory.close()
        running = Running(directory.egress_id, kind, process, channel)
        self.running[directory.egress_id] = running
        self._spawn(self._follow(running))
        self._spawn(self.prepare())

    def end(self, egress_id: str, error: EgressError, reason: str) -> None:
        """Have a handler end its recording, save it, and report it as failed with this error."""
        running = self.running.get(egress_id)
        if running is None:
            return
        running.reason = reason or running.reason
        try:
            running.channel.send(json.dumps({"error": str(error), "code": error.code}).encode())
        except OSError as problem:
            log.warning("handler_not_reached", egress_id=egress_id, error=str(problem))

    def end_all(self) -> None:
        """Have all handlers end their recordings and save them."""
        for running in self.running.values():
            running.reason = running.reason or KILLED_SHUTDOWN
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

    async def _hand_over(self, directory: EgressDirectory) -> _Process:
        """Give the directory to the spare process, or to a new one if the spare one is dead."""
        spare, self._spare = self._spare, None
        if spare is not None:
            try:
                _assign(spare[1], directory)
            except OSError as error:
                log.warning("spare_process_dead", pid=spare[0].pid, error=str(error))
                spare[1].close()
            else:
                return spare
        started = await self._start()
        try:
            _assign(started[1], directory)
        except OSError:
            started[1].close()
            raise
        return started

    async def _start(self) -> _Process:
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
        running.channel.close()
        self.running.pop(running.egress_id, None)
        log.info("handler_ended", egress_id=running.egress_id, exit_code=code)
        self._ended(running, code)


def receive_assignment() -> Assignment | None:
    """In a handler: wait for an egress. None: the service has ended and there will be none."""
    channel = socket.socket(fileno=os.dup(_STDIN))
    message, locks, _, _ = socket.recv_fds(channel, _MOST_BYTES, 1)
    if not message:
        channel.close()
        return None
    return Assignment(json.loads(message)["egress_id"], locks[0], channel)


async def next_error(channel: socket.socket) -> EgressError | None:
    """In a handler: wait for the error with which the service ends the egress.

    None: the service itself has ended. The recording goes on without it.
    """
    channel.setblocking(False)
    try:
        message = await asyncio.get_running_loop().sock_recv(channel, _MOST_BYTES)
    except OSError:
        return None
    if not message:
        return None
    received = json.loads(message)
    return EgressError(Code(received["code"]), received["error"])


def _assign(channel: socket.socket, directory: EgressDirectory) -> None:
    """Give a directory to the process at the other end. Raises OSError: there is none any more."""
    message = json.dumps({"egress_id": directory.egress_id}).encode()
    # The descriptor goes along: the directory has an owner all the time.
    socket.send_fds(channel, [message], [directory.lock])


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except ProcessLookupError:
        log.debug("handler_gone_already", pid=process.pid)
