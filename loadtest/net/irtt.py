"""Delay and loss of a way between two namespaces, each direction by itself, by irtt (Debian's).

Both ends have the same clock, so irtt's one-way delays are true.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import cast

from common.commands import CommandFailed, run
from loadtest.net.namespace import ClientNamespace

_START_SECONDS = 10.0
_ATTEMPTS = 6  # to reach the server at all: its answers are lost, too
# Until the next one. A first packet can be held for a second, until the way to its address is known; and
# irtt breaks off where a second attempt is answered as well, after it began.
_LEAST_ATTEMPT_MS = 2000.0
_PAYLOAD_BYTES = 60  # the least that irtt needs for all that we ask it
FRAME_BYTES = _PAYLOAD_BYTES + 42
# It takes its own time stamps, so it should run soon. Not the real-time scheduler: Go's runtime spins
# while it waits for its own threads, and two of these then hold two cores for good (tried).
SOON = ("nice", "-n", "-15")
_LISTENS = "starting IPv4 listener"


class IrttMissing(Exception):
    """The program irtt is not there."""


@dataclass(frozen=True)
class Measured:
    """What irtt found on the way to the server (up) and back (down).

    Attributes:
        up_ms, down_ms: one-way delays of the packets that came back.
        sent: packets sent to the server.
        served: those that reached it; it answers each once.
        returned: those whose answer came back.
    """

    up_ms: tuple[float, ...]
    down_ms: tuple[float, ...]
    sent: int
    served: int
    returned: int


class Failed(Exception):
    """irtt broke off, or came to no result, most likely for want of any answer. The message has its words."""


class Client:
    """A measurement under way. `start` makes one."""

    def __init__(self, process: subprocess.Popen[str], limit: float) -> None:
        self._process = process
        self._limit = limit

    def result(self) -> Measured:
        """Wait for its end.

        Raises:
            Failed: it came to no result.
        """
        try:
            text, errors = self._process.communicate(timeout=self._limit)
        except subprocess.TimeoutExpired:
            raise Failed(f"irtt did not end within {self._limit:g} s") from None
        if self._process.returncode != 0:
            raise Failed(f"irtt said: {errors.strip() or f'exit code {self._process.returncode}'}")
        return parse(text)


@contextmanager
def server(at: ClientNamespace) -> Iterator[IPv4Address]:
    """An irtt server in a namespace, for as long as the block runs; gives its address.

    Raises:
        IrttMissing: there is no irtt.
    """
    try:
        run(["irtt", "version"], timeout=_START_SECONDS)
    except CommandFailed as error:
        raise IrttMissing(
            "a link is measured by irtt, and that is not here; `make loadtest` installs it"
        ) from error
    # -i 0: a client may send as fast as it likes.
    argv = at.command([*SOON, "irtt", "server", "-i", "0", "-b", f"{at.address}:2112"])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said: list[str] = []
            for line in process.stdout or ():
                said.append(line)
                if _LISTENS in line:
                    break
            else:
                raise CommandFailed(argv, "ended before it listened", "".join(said))
            yield at.address
        finally:
            process.kill()


@contextmanager
def client(
    at: ClientNamespace, to: IPv4Address, *, interval_ms: float, seconds: float, answer_ms: float
) -> Iterator[Client]:
    """A measurement from a namespace to the server.

    Args:
        interval_ms: between packets.
        seconds: for how long it sends.
        answer_ms: how long an answer may take.
    """
    attempt_ms = max(_LEAST_ATTEMPT_MS, answer_ms)
    packets = ["-i", f"{interval_ms:g}ms", "-d", f"{seconds:g}s", "-l", str(_PAYLOAD_BYTES)]
    waits = [f"--wait={answer_ms:g}ms", f"--timeouts={','.join([f'{attempt_ms:g}ms'] * _ATTEMPTS)}"]
    argv = at.command([*SOON, "irtt", "client", "-Q", "-o", "-", *packets, *waits, str(to)])
    limit = seconds + (_ATTEMPTS * attempt_ms + answer_ms) / 1000 + _START_SECONDS
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Client(process, limit)
        finally:
            process.kill()


def parse(text: str) -> Measured:
    """A client's JSON. Pure.

    Raises:
        Failed: it broke off. Its exit code is 0 then, too.
    """
    answer = json.loads(text)
    errors = [error for error in (answer.get("send_err"), answer.get("receive_err")) if error]
    if errors:
        raise Failed(f"irtt broke off: {json.dumps(errors)}")
    statistics = answer["stats"]
    delays = [trip["delay"] for trip in answer["round_trips"] if trip["lost"] == "false"]

    def milliseconds(key: str) -> tuple[float, ...]:
        return tuple(cast("int", delay[key]) / 1e6 for delay in delays)

    return Measured(
        up_ms=milliseconds("send"),
        down_ms=milliseconds("receive"),
        sent=statistics["packets_sent"],
        served=statistics["server_packets_received"],
        returned=statistics["packets_received"],
    )
