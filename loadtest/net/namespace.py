"""Namespaces of clients and of their routers: made, plugged in, and taken away again, whatever happens.

Four things see to the last: the context manager; an atexit hook; `treat_sigterm_as_interrupt`; and
for an owner that was killed outright the next one to start, which takes away what a dead one left.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

from common.commands import CommandFailed, run
from common.processes import Process, process_of
from common.waiting import wait_until
from loadtest.net.bridge import (
    CLIENT_DEVICE,
    ClientName,
    ClientNetwork,
    NamespaceName,
    RouterName,
    free_address,
)
from loadtest.net.firewall import OPEN, Firewall, replacement

_LOCK_FILE = Path("/run/lock/livekit-platform-clients.lock")
_FILES = Path("/run/livekit-platform-clients")
# $0 is the namespace's directory. The mount is in a mount namespace of the program's own.
_WITH_OWN_FILES = (
    'mount --bind "$0/hosts" /etc/hosts && '
    '{ [ ! -e "$0/resolv.conf" ] || mount --bind "$0/resolv.conf" /etc/resolv.conf; } && exec "$@"'
)
_SECONDS = 10.0  # each of these commands takes milliseconds; this is for a machine that hangs


@dataclass(frozen=True)
class ClientNamespace:
    """A network namespace with one device in the cluster's subnet, and files for what runs in it."""

    name: ClientName
    network: ClientNetwork

    @property
    def address(self) -> IPv4Address:
        return self.name.address

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` so that it runs inside.

        It has a hosts file with the network's names, and trusts the network's CA where there is one
        (by SSL_CERT_FILE: OpenSSL, Python and the LiveKit SDK's signalling heed it).

        nsenter and not `ip netns exec`: it becomes the program instead of staying its parent, so the
        process id that the caller gets is the program's, and /sys stays as it is. unshare and the
        shell do so too.
        """
        enter = ["nsenter", f"--net=/run/netns/{self.name}", "--", "unshare", "--mount", "--"]
        trust = ["env", f"SSL_CERT_FILE={self._ca_file}"] if self.network.ca_certificate else []
        return [*enter, "sh", "-c", _WITH_OWN_FILES, str(_files(self.name)), *trust, *argv]

    @property
    def _ca_file(self) -> Path:
        return _files(self.name) / "ca.pem"

    def write_files(self) -> None:
        """What `command` lays over the machine's own files."""
        directory = _files(self.name)
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "hosts").write_text(hosts_file(self.network.names))
        self._ca_file.write_text(self.network.ca_certificate)
        if self.network.resolv_conf:
            (directory / "resolv.conf").write_text(self.network.resolv_conf)

    def set_firewall(self, firewall: Firewall) -> None:
        """What its network lets through from now on.

        Raises:
            CommandFailed: a kernel without what the firewall needs.
        """
        run(self.command(["nft", "-f", "-"]), timeout=_SECONDS, input=replacement(firewall))


_live: list[tuple[NamespaceName, ClientNetwork]] = []
_N = TypeVar("_N", ClientName, RouterName)


@contextmanager
def client_namespace(
    network: ClientNetwork, *, firewall: Firewall = OPEN, router: RouterName | None = None
) -> Iterator[ClientNamespace]:
    """A client namespace for as long as the block runs. Needs root.

    Args:
        firewall: what its network lets through.
        router: where its cable ends, as the device `name.down_device`; by default at the bridge.

    Raises:
        NoFreeAddress: too many clients at once.
        CommandFailed: no such bridge, not root, or a kernel without what the firewall needs.
    """
    with owned_namespace(network, ClientName) as name:
        made = ClientNamespace(name, network)
        _plug_in(made, firewall, router)
        yield made


@contextmanager
def owned_namespace(network: ClientNetwork, kind: type[_N]) -> Iterator[_N]:
    """An empty namespace with an address of the network to its name, for as long as the block runs.

    Raises:
        NoFreeAddress: too many at once.
        CommandFailed: not root.
    """
    name = _claim(network, kind)
    try:
        yield name
    finally:
        remove(name, network)
        _live.remove((name, network))


def reap_dead_owners(network: ClientNetwork) -> list[NamespaceName]:
    """Take away the namespaces whose owner no longer runs, and give back which they were."""
    dead = [name for name in _list() if not name.owner.runs]
    for name in dead:
        remove(name, network)
    return dead


def treat_sigterm_as_interrupt() -> None:
    """Let SIGTERM unwind this process as Ctrl-C does, so that its namespaces are taken away."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def hosts_file(names: Mapping[str, IPv4Address]) -> str:
    """/etc/hosts of a client. Pure."""
    return "".join(f"{address} {name}\n" for name, address in [("localhost", "127.0.0.1"), *names.items()])


def remove(name: NamespaceName, network: ClientNetwork) -> None:
    """Take away a namespace, its link and its processes. What is already gone is no error."""
    wait_until(
        lambda: not _kill_inside(name), timeout=_SECONDS, describe=f"processes in {name} to end", interval=0.1
    )
    # A namespace lives on while a process of it does, and so would its link: that goes by name.
    if isinstance(name, ClientName):
        run(["ip", "-n", network.netns, "link", "del", name.port_device], timeout=_SECONDS, check=False)
        # Before the namespace: its name is all that the next reaper would see.
        shutil.rmtree(_files(name), ignore_errors=True)
    run(["ip", "netns", "del", str(name)], timeout=_SECONDS, check=False)
    wait_until(
        lambda: name not in _list(), timeout=_SECONDS, describe=f"namespace {name} to go", interval=0.1
    )


def _claim(network: ClientNetwork, kind: type[_N]) -> _N:
    with _lock():
        reap_dead_owners(network)
        taken = [other.address for other in _list()]
        address = free_address(network, taken, highest=kind is RouterName)
        name = kind(_owner_of_this_process(), address)
        _live.append((name, network))  # first: what a signal interrupts is taken away, too
        try:
            run(["ip", "netns", "add", str(name)], timeout=_SECONDS)
        except BaseException:
            remove(name, network)
            _live.remove((name, network))
            raise
    return name


def _plug_in(made: ClientNamespace, firewall: Firewall, router: RouterName | None) -> None:
    made.write_files()
    name, network = made.name, made.network
    seen: list[str] = []
    if router is None:
        seen = ["address", name.hardware_address]
        peer = ["peer", "name", name.port_device, "netns", network.netns]
        port = [["-n", network.netns, "link", "set", name.port_device, "master", network.bridge, "up"]]
    else:
        peer = ["peer", "name", name.down_device, "netns", str(router)]
        port = []
    ip: list[list[str]] = [
        ["link", "add", CLIENT_DEVICE, *seen, "netns", str(name), "type", "veth", *peer],
        *port,
        ["-n", str(name), "addr", "add", f"{name.address}/{network.prefix}", "dev", CLIENT_DEVICE],
        ["-n", str(name), "link", "set", "lo", "up"],
    ]
    for arguments in ip:
        run(["ip", *arguments], timeout=_SECONDS)
    if firewall != OPEN:  # before the link is up, so that no packet slips through
        made.set_firewall(firewall)
    run(["ip", "-n", str(name), "link", "set", CLIENT_DEVICE, "up"], timeout=_SECONDS)
    run(["ip", "-n", str(name), "route", "add", "default", "via", str(network.gateway)], timeout=_SECONDS)


def _files(name: ClientName) -> Path:
    return _FILES / str(name)


def _owner_of_this_process() -> Process:
    owner = process_of(os.getpid())
    if owner is None:
        raise RuntimeError("/proc does not show this process; is another /proc mounted over it?")
    return owner


def _list() -> list[NamespaceName]:
    try:
        found = sorted(Path("/run/netns").iterdir())
    except FileNotFoundError:
        return []
    parsed = (ClientName.parse(path.name) or RouterName.parse(path.name) for path in found)
    return [name for name in parsed if name is not None]


def _kill_inside(name: NamespaceName) -> list[str]:
    """Kill what runs in the namespace, and give back which: one may have come in meanwhile."""
    pids = run(["ip", "netns", "pids", str(name)], timeout=_SECONDS, check=False).stdout.split()
    for pid in pids:
        _kill(int(pid))
    return pids


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@contextmanager
def _lock() -> Iterator[None]:
    """One user at a time chooses an address. The kernel lets go of the lock when its holder dies."""
    _LOCK_FILE.parent.mkdir(parents=True, exist_ok=True)
    with _LOCK_FILE.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@atexit.register
def _remove_all() -> None:
    for name, network in list(_live):
        try:
            remove(name, network)
        except CommandFailed as error:
            print(f"could not take {name} away: {error}", file=sys.stderr)
