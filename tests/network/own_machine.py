"""A machine of a test's own: a namespace with one device, behind which there is a server and a neighbour."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from common.commands import run
from loadtest.net.bridge import ClientNetwork
from tests.support.speed import scaled

_CHECKOUT = Path(__file__).parents[2]
# TEST-NET-2: meets no network that this machine is in.
MACHINE = IPv4Address("198.51.100.1")
SERVER = IPv4Address("198.51.100.2")
PORT = 7880
_SECONDS = 10.0

# Tells whoever asks, by UDP or TCP, from which address it was asked.
_MIRROR = """
import socket, sys, threading
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", int(sys.argv[1])))
tcp = socket.create_server(("0.0.0.0", int(sys.argv[1])))
def by_udp():
    while True:
        _, peer = udp.recvfrom(100)
        udp.sendto(peer[0].encode(), peer)
threading.Thread(target=by_udp, daemon=True).start()
print("ready", flush=True)
while True:
    connection, peer = tcp.accept()
    connection.sendall(peer[0].encode())
    connection.close()
"""

# Holds an uplink on the machine that it runs on, and says so, until its stdin ends or it is killed.
_HOLDER = """
import sys
from ipaddress import IPv4Address
from loadtest.net.firewall import Endpoint
from loadtest.net.namespace import treat_sigterm_as_interrupt
from loadtest.net.uplink import NoUplink, uplink
treat_sigterm_as_interrupt()
server = Endpoint("tcp", IPv4Address(sys.argv[1]), int(sys.argv[2]))
try:
    with uplink(server, names={"sfu.example.com": server.address}) as network:
        print(network.model_dump_json(), flush=True)
        sys.stdin.read()
except NoUplink as error:
    print("NoUplink:", error, flush=True)
except KeyboardInterrupt:  # SIGTERM: all is taken away by now
    pass
"""


@dataclass(frozen=True)
class Machine:
    """The namespaces that stand for a machine and for what is around it."""

    netns: str
    around: str

    def run(self, argv: Sequence[str], *, check: bool = True, input: str | None = None) -> str:
        """On the machine; gives what it printed."""
        return run([*_in(self.netns), *argv], timeout=scaled(_SECONDS), check=check, input=input).stdout

    def run_around(self, argv: Sequence[str], *, check: bool = True) -> str:
        """At the server, which is the machine's neighbour."""
        return run([*_in(self.around), *argv], timeout=scaled(_SECONDS), check=check).stdout

    def state(self) -> str:
        """All that an uplink may change."""
        settings = "for each in /proc/sys/net/ipv4/conf/*/forwarding; do echo $each $(cat $each); done"
        return "\n".join(
            [
                self.run(["nft", "list", "ruleset"]),
                self.run(["ip", "-br", "address"]),
                self.run(["ip", "route"]),
                self.run(["sh", "-c", settings]),
            ]
        )


@contextmanager
def own_machine() -> Iterator[Machine]:
    """The machine and its server, which listens at SERVER:PORT, for as long as the block runs."""
    machine = Machine(f"lktest-machine-{os.getpid()}", f"lktest-around-{os.getpid()}")
    try:
        for netns in (machine.netns, machine.around):
            run(["ip", "netns", "add", netns], timeout=scaled(_SECONDS))
            run(["ip", "-n", netns, "link", "set", "lo", "up"], timeout=scaled(_SECONDS))
        peer = ["peer", "name", "eth0", "netns", machine.around]
        run(
            ["ip", "link", "add", "eth0", "netns", machine.netns, "type", "veth", *peer],
            timeout=scaled(_SECONDS),
        )
        for netns, address in ((machine.netns, MACHINE), (machine.around, SERVER)):
            run(["ip", "-n", netns, "addr", "add", f"{address}/24", "dev", "eth0"], timeout=scaled(_SECONDS))
            run(["ip", "-n", netns, "link", "set", "eth0", "up"], timeout=scaled(_SECONDS))
        machine.run(["ip", "route", "add", "default", "via", str(SERVER)])
        machine.run(["sh", "-c", "echo 0 >/proc/sys/net/ipv4/conf/all/forwarding"])
        with mirror(_in(machine.around)):
            yield machine
    finally:
        for netns in (machine.netns, machine.around):
            run(["ip", "netns", "del", netns], timeout=scaled(_SECONDS), check=False)


@contextmanager
def holder(machine: Machine, *, server: IPv4Address = SERVER) -> Iterator[Holder]:
    """A process on the machine that holds an uplink."""
    argv = [*_in(machine.netns), sys.executable, "-c", _HOLDER, str(server), str(PORT)]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_CHECKOUT
    ) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            yield Holder(process, process.stdout.readline().strip())
            process.stdin.close()
            process.wait(timeout=scaled(_SECONDS))
        finally:
            process.kill()


@dataclass(frozen=True)
class Holder:
    """The process, and the first thing it said."""

    process: subprocess.Popen[str]
    said: str

    @property
    def network(self) -> ClientNetwork:
        return ClientNetwork.model_validate_json(self.said)

    def end(self) -> None:
        """Let it end by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(timeout=scaled(_SECONDS)) == 0


@contextmanager
def mirror(where: Sequence[str]) -> Iterator[None]:
    """A server at PORT that tells whoever asks from which address; `where` is what enters its namespace."""
    argv = [*where, sys.executable, "-c", _MIRROR, str(PORT)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.kill()


def _in(netns: str) -> list[str]:
    # /sys stays as it is; /proc/sys/net is that of the namespace that a process is in.
    return ["nsenter", f"--net=/run/netns/{netns}", "--"]
