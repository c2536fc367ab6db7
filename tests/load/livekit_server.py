"""A LiveKit server of a test's own: one that a test may set up wrong, hold back, or take away.

It runs in a network namespace behind a cable to this machine, and is known by its URL and key alone, as
any foreign server is. The program is the one that the stack's images are made from.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from itertools import count
from pathlib import Path

from pydantic import SecretStr

from common.commands import run
from common.waiting import wait_until
from loadtest.targets.rooms import RoomService
from loadtest.targets.tokens import ApiKey
from tests.support.speed import scaled

# TEST-NET-3: nothing that the machine reaches is there.
_BLOCK = IPv4Network("203.0.113.0/24")
_PORT = 7880
_DEVICE = "eth0"
_KEY = "known-bad"
_SECONDS = 10.0
_START_SECONDS = 30.0
_NUMBERS = count(1)


@dataclass(frozen=True)
class LiveKitServer:
    """A server that answers.

    Attributes:
        nobody: an address of its network that nobody has.
    """

    address: IPv4Address
    nobody: IPv4Address
    pid: int
    secret: SecretStr = field(repr=False)

    @property
    def url(self) -> str:
        return f"ws://{self.address}:{_PORT}"

    @property
    def words(self) -> tuple[str, ...]:
        """What makes it the command's target; its secret comes by `environment`."""
        return ("--url", self.url, "--api-key", _KEY)

    @property
    def environment(self) -> dict[str, str]:
        return {"LIVEKIT_API_SECRET": self.secret.get_secret_value()}

    def room_names(self) -> tuple[str, ...]:
        """The rooms that are there."""
        return RoomService(self.url, ApiKey(_KEY, self.secret), {}, "").list_names()


@contextmanager
def livekit_server(log: Path, *, tells_wrong_address: bool = False) -> Iterator[LiveKitServer]:
    """A server without TURN, for as long as the block runs. Needs root.

    Args:
        log: file for what it says.
        tells_wrong_address: its `rtc.node_ip` is an address that nobody has.
    """
    # Both names disappear with the namespace. They have a number because a test may have several servers.
    number = next(_NUMBERS)
    netns, cable = f"lktest-livekit-{os.getpid()}-{number}", f"lkt{os.getpid()}-{number}"
    subnet = _free_subnet()
    machine, address, nobody = subnet[1], subnet[2], subnet[6]
    secret = SecretStr(secrets.token_hex(32))
    run(["ip", "netns", "add", netns], timeout=_SECONDS)
    try:
        for arguments in (
            ["link", "add", cable, "type", "veth", "peer", "name", _DEVICE, "netns", netns],
            ["addr", "add", f"{machine}/{subnet.prefixlen}", "dev", cable],
            ["link", "set", cable, "up"],
            ["-n", netns, "addr", "add", f"{address}/{subnet.prefixlen}", "dev", _DEVICE],
            ["-n", netns, "link", "set", _DEVICE, "up"],
            ["-n", netns, "link", "set", "lo", "up"],
        ):
            run(["ip", *arguments], timeout=_SECONDS)
        config = _config(address, nobody if tells_wrong_address else address, secret)
        with _process(netns, config, log) as process:
            wait_until(
                lambda: _answers(process, address, log),
                timeout=scaled(_START_SECONDS),
                describe=f"livekit-server at {address} to listen (log: {log})",
                interval=0.1,
                tolerate=(OSError,),
            )
            yield LiveKitServer(address, nobody, process.pid, secret)
    finally:
        run(["ip", "netns", "del", netns], timeout=_SECONDS)
        # The namespace may outlive its name by a moment, and the cable with it.
        run(["ip", "link", "del", cable], timeout=_SECONDS, check=False)


def _config(address: IPv4Address, told: IPv4Address, secret: SecretStr) -> str:
    return json.dumps(
        {
            "port": _PORT,
            "keys": {_KEY: secret.get_secret_value()},
            "rtc": {
                "node_ip": str(told),
                "use_external_ip": False,
                "tcp_port": 7881,
                "udp_port": 7882,
                # Nobody listens there. Without any, clients are told to ask servers on the internet.
                "stun_servers": [f"{address}:3478"],
            },
            "turn": {"enabled": False},
        }
    )


@contextmanager
def _process(netns: str, config: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    # nsenter and setpriv become the server. It goes too where this process is killed.
    argv = ["nsenter", f"--net=/run/netns/{netns}", "--", "setpriv", "--pdeathsig", "KILL", "livekit-server"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            argv,
            env={**os.environ, "LIVEKIT_CONFIG": config},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=scaled(_SECONDS))


def _answers(process: subprocess.Popen[bytes], address: IPv4Address, log: Path) -> bool:
    assert process.poll() is None, f"livekit-server ended:\n{log.read_text(errors='replace')[-2000:]}"
    with socket.create_connection((str(address), _PORT), timeout=1):
        return True


def _free_subnet() -> IPv4Network:
    """One that no other test on this machine uses now."""
    printed = run(["ip", "-j", "-4", "route", "show", "table", "all"], timeout=_SECONDS).stdout
    used = [IPv4Network(route["dst"]) for route in json.loads(printed) if route["dst"] != "default"]
    return next(
        subnet
        for subnet in _BLOCK.subnets(new_prefix=29)
        if not any(subnet.overlaps(network) for network in used)
    )
