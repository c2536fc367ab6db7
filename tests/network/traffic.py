"""Small programs that send and receive inside client namespaces, each a program of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

from common.commands import run
from loadtest.net.burst import READY, Received
from loadtest.net.irtt import SOON
from loadtest.net.namespace import ClientNamespace
from tests.support.speed import scaled

ECHO = """
import socket, sys
kind = socket.SOCK_DGRAM if sys.argv[1] == "udp" else socket.SOCK_STREAM
server = socket.socket(socket.AF_INET, kind)
server.bind(("0.0.0.0", 5000))
if sys.argv[1] == "tcp":
    server.listen()
print("ready", flush=True)
while True:
    if sys.argv[1] == "udp":
        data, peer = server.recvfrom(100)
        server.sendto(data, peer)
    else:
        connection, _ = server.accept()
        connection.sendall(connection.recv(100))
        connection.close()
"""

ASK = """
import socket, sys
kind = socket.SOCK_DGRAM if sys.argv[1] == "udp" else socket.SOCK_STREAM
client = socket.socket(socket.AF_INET, kind)
client.settimeout(float(sys.argv[3]))
try:
    client.connect((sys.argv[2], 5000))
    client.sendall(b"hello")
    print("answer" if client.recv(100) == b"hello" else "garbled")
except TimeoutError:
    print("silence")
"""

# Prints the numbers of the datagrams that come, in their order, until the last one is there.
COLLECT = """
import socket, sys
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("0.0.0.0", 5000))
receiver.settimeout(float(sys.argv[2]))
print("ready", flush=True)
for _ in range(int(sys.argv[1])):
    print(int.from_bytes(receiver.recv(100), "big"))
"""

NUMBERS = """
import socket, sys, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.connect((sys.argv[1], 5000))
for number in range(int(sys.argv[2])):
    sender.send(number.to_bytes(4, "big"))
    time.sleep(0.002)
"""


@contextmanager
def echo(at: ClientNamespace, protocol: str) -> Iterator[None]:
    """A server that sends back what it gets, for as long as the block runs."""
    with _started(at, [sys.executable, "-c", ECHO, protocol]):
        yield


def ask(at: ClientNamespace, protocol: str, address: IPv4Address) -> str:
    """What an echo server there answers: `answer`, or `silence` after two scaled seconds."""
    argv = at.command([sys.executable, "-c", ASK, protocol, str(address), str(scaled(2))])
    return run(argv, timeout=scaled(15)).stdout.strip()


def numbers_as_received(sender: ClientNamespace, receiver: ClientNamespace, count: int) -> list[int]:
    """Numbered datagrams, 2 ms apart, in the order in which they came. None may be lost."""
    with _started(receiver, [sys.executable, "-c", COLLECT, str(count), str(scaled(5))]) as process:
        send = sender.command([sys.executable, "-c", NUMBERS, str(receiver.address), str(count)])
        run(send, timeout=scaled(30))
        return [int(line) for line in process.communicate(timeout=scaled(30))[0].split()]


@contextmanager
def burst(
    sender: ClientNamespace, receiver: ClientNamespace, *, kbps: int, seconds: float
) -> Iterator[subprocess.Popen[str]]:
    """Datagrams at a rate; `received` of what is given tells how many came."""
    program = [*SOON, sys.executable, "-m", "loadtest.net.burst"]
    where = [str(receiver.address), "5003"]
    with (
        _started(receiver, [*program, "receive", *where, str(seconds)]) as listening,
        subprocess.Popen(sender.command([*program, "send", *where, str(kbps), str(seconds)])) as sending,
    ):
        try:
            yield listening
        finally:
            sending.kill()


def received(listening: subprocess.Popen[str]) -> Received:
    return Received.model_validate_json(listening.communicate(timeout=scaled(30))[0])


@contextmanager
def _started(at: ClientNamespace, argv: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(at.command(argv), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"{READY}\n"
            yield process
        finally:
            process.kill()
