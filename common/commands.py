"""The one way in which this project runs another program."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Enough for the head of a Go panic or the reason of a kubeadm failure; a whole build log is too long to read.
_SHOWN_OUTPUT_CHARACTERS = 4000


@dataclass(frozen=True)
class Completed:
    """A finished command: its argument list, exit code and decoded output."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.returncode == 0


class CommandFailed(Exception):
    """A command exited non-zero, was not found, or exceeded its time limit.

    The message contains the command in a form that can be pasted into a shell, the reason, and the end of the
    command's output.
    """

    def __init__(self, argv: Sequence[str], reason: str, stdout: str = "", stderr: str = "") -> None:
        self.argv = tuple(argv)
        self.reason = reason
        self.stdout = stdout
        self.stderr = stderr
        printed = (stderr.strip() or stdout.strip())[-_SHOWN_OUTPUT_CHARACTERS:]
        super().__init__(f"`{shlex.join(argv)}` {reason}" + (f":\n{printed}" if printed else ""))


class Interrupted(Exception):
    """The command's `Children` were ended, so the command was stopped or not started."""


class Children:
    """The commands that several threads run for one job. All of them can be ended at once.

    Python handles signals only in the main thread. Without this class, commands of other threads would
    outlive an interrupted job.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[int, signal.Signals] = {}
        self._ended = False

    @property
    def ended(self) -> bool:
        return self._ended

    def adopt_thread(self) -> None:
        """Register the commands that the calling thread starts from now on."""
        _CHILDREN.set(self)

    def end(self) -> None:
        """Ask every running command, with all its processes, to end. No further command can start."""
        with self._lock:
            self._ended = True
            for group, interrupt in self._running.items():
                _signal_group(group, interrupt)

    def kill(self) -> None:
        """Kill the commands that are still running after `end`."""
        with self._lock:
            self._ended = True
            for group in self._running:
                _signal_group(group, signal.SIGKILL)

    @contextmanager
    def _started(
        self, argv: Sequence[str], interrupt: signal.Signals, options: dict[str, Any]
    ) -> Iterator[Any]:
        # Each command runs in its own process group. So a terminal's Ctrl-C does not reach it directly; only
        # `end` and `kill` send it signals.
        with self._lock:
            if self._ended:
                raise Interrupted(f"`{shlex.join(argv)}` was not started")
            process = subprocess.Popen(argv, **{**options, "process_group": 0})
            self._running[process.pid] = interrupt
        try:
            with process:
                yield process
        finally:
            with self._lock:
                del self._running[process.pid]
        if self._ended:
            raise Interrupted(f"`{shlex.join(argv)}` was ended")


_CHILDREN: ContextVar[Children | None] = ContextVar("children", default=None)


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


@contextmanager
def started(
    argv: Sequence[str], *, interrupt: signal.Signals = signal.SIGTERM, **options: Any
) -> Iterator[subprocess.Popen[Any]]:
    """A running command, for callers that stream its input or show its output; others use `run`.

    The end of the block waits for the command to end.

    Args:
        interrupt: the signal that asks the command to end, if its thread belongs to `Children`.
        options: for `subprocess.Popen`.

    Raises:
        Interrupted: the thread's `Children` were ended.
    """
    children = _CHILDREN.get()
    if children is None:
        with subprocess.Popen(argv, **options) as process:
            yield process
    else:
        with children._started(argv, interrupt, options) as process:
            yield process


def check_interrupted() -> None:
    """Raise if the job was ended. Threads call this while they work or wait without running a command.

    Raises:
        Interrupted: the thread's `Children` were ended.
    """
    children = _CHILDREN.get()
    if children is not None and children.ended:
        raise Interrupted("the job was ended")


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: str | None = None,
    check: bool = True,
    show_stderr: bool = False,
) -> Completed:
    """Run `argv` to its end and return its output.

    Args:
        timeout: seconds after which the command is killed.
        env: variables laid over this process's own.
        input: text for its standard input; empty without it, so that nothing waits at a prompt.
        check: raise if the exit code is not 0.
        show_stderr: pass the command's stderr through as it comes, for commands that take minutes.

    Raises:
        CommandFailed: not found, out of time, or (with `check`) a non-zero exit code.
        Interrupted: as `started`.
    """
    words = [str(word) for word in argv]
    try:
        with started(
            words,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if show_stderr else subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            try:
                stdout, stderr = process.communicate(input or "", timeout=timeout)
            except BaseException:  # KeyboardInterrupt too: the command must not outlive its caller
                process.kill()
                raise
    except FileNotFoundError as error:
        raise CommandFailed(words, f"could not start: {error.filename} was not found") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(
            words, f"did not end within {timeout:g} s", _text(error.stdout), _text(error.stderr)
        ) from error
    if check and process.returncode != 0:
        raise CommandFailed(words, f"exited with {process.returncode}", stdout or "", stderr or "")
    return Completed(tuple(words), process.returncode, stdout or "", stderr or "")


def _text(output: str | bytes | None) -> str:
    """`TimeoutExpired` contains bytes even if text was requested."""
    if output is None:
        return ""
    return output.decode(errors="replace") if isinstance(output, bytes) else output
