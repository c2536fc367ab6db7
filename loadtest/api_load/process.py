"""The generator as seen from the process that starts it."""

from __future__ import annotations

import queue
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from pydantic import ValidationError

from loadtest.api_load.protocol import Answer, Answers, Finished, GeneratorConfig, event_adapter
from loadtest.api_load.tally import api_result, api_second
from loadtest.definition.scenario import ApiLoad
from loadtest.result import ApiResult, ApiSecond
from loadtest.targets.rooms import TargetUnusable
from loadtest.targets.target import Target

# More than a server that keeps up ever needs, and less than the ports of this machine's address.
_CONNECTIONS: Final = 512
_START_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.2
_END_SECONDS: Final = 5.0
_KILLED_SECONDS: Final = 60.0  # it is gone at once, unless the machine has no processor for it
_SHOWN_LOG_CHARACTERS: Final = 3000


class NoTokenApi(Exception):
    """The target has no token API to load. A sentence for people."""


class GeneratorDied(Exception):
    """The generator ended before the load was done. The message has the end of its log."""


def run_api_load(
    target: Target,
    load: ApiLoad,
    *,
    on_second: Callable[[ApiSecond], None],
    stop: threading.Event,
) -> ApiResult:
    """Make the load on the target's token API, and wait until it is over.

    Args:
        on_second: called each second with what ended in it, from this thread.
        stop: ends it early; the result is then of what was done.

    Raises:
        NoTokenApi: of a server given by its URL.
        GeneratorDied: it, or this machine, is broken; that is no fault of the API.
    """
    if target.token_endpoint is None:
        raise NoTokenApi(f"{target.description} has no token API: only a stack of this project's has one")
    config = GeneratorConfig(
        endpoint=target.token_endpoint,
        load=load,
        key=target.rooms.key.name,
        secret=target.rooms.key.secret,
        room=f"load_api_{secrets.token_hex(4)}",
        connections=_CONNECTIONS,
    )
    try:
        return drive(config, on_second=on_second, stop=stop)
    finally:
        # The API made it for the tokens. It goes by itself, so a failure is no harm.
        with suppress(TargetUnusable):
            target.delete_rooms([config.room])


def drive(
    config: GeneratorConfig, *, on_second: Callable[[ApiSecond], None], stop: threading.Event
) -> ApiResult:
    """Run a generator with this configuration to its end; as `run_api_load`."""
    answers: list[Answer] = []
    seconds: list[ApiSecond] = []
    limit = _START_SECONDS + config.load.duration_s + config.load.timeout_s
    with tempfile.TemporaryFile() as log, _generator(config, log) as said:
        for line in _lines(said, stop, limit):
            match _event(line, log):
                case Finished(offered_s=offered_s):
                    return api_result(answers, offered_s=offered_s, seconds=seconds)
                case Answers(at_s=at_s, answers=ended):
                    answers += ended
                    seconds.append(api_second(at_s, ended))
                    on_second(seconds[-1])
        raise _died(log, "ended before it was done, or said nothing more")


@dataclass(frozen=True)
class _Said:
    """A running generator, and what it says: lines, and None at the end of them."""

    stdin: IO[bytes]
    lines: queue.SimpleQueue[bytes | None]


@contextmanager
def _generator(config: GeneratorConfig, log: IO[bytes]) -> Iterator[_Said]:
    """A generator that has its configuration, for as long as the block runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtest.api_load"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        cwd=Path(__file__).parents[2],
        start_new_session=True,  # Ctrl-C is for us; we then end it in order
    )
    stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    said = _Said(stdin, queue.SimpleQueue())
    reader = threading.Thread(target=_read, args=(stdout, said.lines), daemon=True)
    reader.start()
    try:
        with suppress(BrokenPipeError):  # it is gone already: the end of its lines says so
            said.stdin.write(config.model_dump_json().encode() + b"\n")
            said.stdin.flush()
        yield said
    finally:
        with suppress(BrokenPipeError):
            said.stdin.close()
        try:
            process.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=_KILLED_SECONDS)
        reader.join(timeout=_END_SECONDS)


def _read(stdout: IO[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    with stdout:
        for line in stdout:
            lines.put(line)
    lines.put(None)


def _lines(said: _Said, stop: threading.Event, limit: float) -> Iterator[bytes]:
    """What the generator says, until it ends or `limit` seconds are over; it is told when `stop` is set."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if stop.is_set():
            with suppress(BrokenPipeError):
                said.stdin.close()
        try:
            line = said.lines.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            continue
        if line is None:
            return
        yield line


def _event(line: bytes, log: IO[bytes]) -> Answers | Finished:
    try:
        return event_adapter.validate_json(line)
    except ValidationError as error:
        raise _died(log, f"said {line[:200]!r}") from error


def _died(log: IO[bytes], what: str) -> GeneratorDied:
    log.seek(0)
    end = log.read().decode(errors="replace")[-_SHOWN_LOG_CHARACTERS:]
    return GeneratorDied(f"the generator of API load {what}" + (f"; end of its log:\n{end}" if end else ""))
