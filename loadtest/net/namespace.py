"""Client namespaces: made, plugged into the cluster's bridge, and taken away again, whatever happens.

Four things see to the last: the context manager; an atexit hook; `treat_sigterm_as_interrupt`; and
for an owner that was killed outright the next one to start, which takes away what a dead one left.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from common.commands import CommandFailed, run
from common.waiting import wait_until
from loadtest.net.bridge import CLIENT_DEVICE, ClientName, ClientNetwork, Owner, free_address
from loadtest.net.firewall import OPEN, Firewall, ruleset

_LOCK_FILE = Path("/run/lock/livekit-platform-clients.lock")
_SECONDS = 10.0  # each of these commands takes milliseconds; this is for a machine that hangs


@dataclass(frozen=True)
class ClientNamespace:
    """A network namespace with one device on the cluster's bridge."""

    name: ClientName
    network: ClientNetwork

    @property
    def address(self) -> IPv4Address:
        return self.name.address

    def command(self, argv: Sequence[str]) -> list[str]:
        """`argv` so that it runs inside.

        nsenter and not `ip netns exec`: it becomes the program instead of staying its parent, so the
        process id that the caller gets is the program's, and /sys stays as it is.
        """
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *argv]


_live: list[ClientNamespace] = []


@contextmanager
def client_namespace(network: ClientNetwork, *, firewall: Firewall = OPEN) -> Iterator[ClientNamespace]:
    """A client namespace for as long as the block runs. Needs root.

    Args:
        firewall: what its network lets through.

    Raises:
        NoFreeAddress: too many clients at once.
        CommandFailed: no such bridge, not root, or a kernel without what the firewall needs.
    """
    made = _add(network, firewall)
    try:
        yield made
    finally:
        _live.remove(made)
        remove(made.name, network)


def reap_dead_owners(network: ClientNetwork) -> list[ClientName]:
    """Take away the namespaces whose owner no longer runs, and give back which they were."""
    dead = [name for name in _list() if owner_of(name.owner.pid) != name.owner]
    for name in dead:
        remove(name, network)
    return dead


def treat_sigterm_as_interrupt() -> None:
    """Let SIGTERM unwind this process as Ctrl-C does, so that its namespaces are taken away."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def owner_of(pid: int) -> Owner | None:
    """The process that has this id now; None where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets, and may hold blanks and brackets itself.
    return Owner(pid, int(stat.rpartition(")")[2].split()[19]))


def remove(name: ClientName, network: ClientNetwork) -> None:
    """Take away a client namespace, its link and its processes. What is already gone is no error."""
    wait_until(
        lambda: not _kill_inside(name), timeout=_SECONDS, describe=f"processes in {name} to end", interval=0.1
    )
    # A namespace lives on while a process of it does, and so would its link: that goes by name.
    run(["ip", "-n", network.netns, "link", "del", name.port_device], timeout=_SECONDS, check=False)
    run(["ip", "netns", "del", str(name)], timeout=_SECONDS, check=False)
    wait_until(
        lambda: name not in _list(), timeout=_SECONDS, describe=f"namespace {name} to go", interval=0.1
    )


def _add(network: ClientNetwork, firewall: Firewall) -> ClientNamespace:
    with _lock():
        reap_dead_owners(network)
        name = ClientName(
            _owner_of_this_process(), free_address(network, [other.address for other in _list()])
        )
        run(["ip", "netns", "add", str(name)], timeout=_SECONDS)
    made = ClientNamespace(name, network)
    _live.append(made)
    try:
        _plug_in(made, firewall)
    except BaseException:
        _live.remove(made)
        remove(name, network)
        raise
    return made


def _plug_in(made: ClientNamespace, firewall: Firewall) -> None:
    name, network = made.name, made.network
    port = name.port_device
    peer = ["peer", "name", port, "netns", network.netns]
    ip: list[list[str]] = [
        ["link", "add", CLIENT_DEVICE, "netns", str(name), "type", "veth", *peer],
        ["-n", network.netns, "link", "set", port, "master", network.bridge, "up"],
        ["-n", str(name), "addr", "add", f"{name.address}/{network.prefix}", "dev", CLIENT_DEVICE],
        ["-n", str(name), "link", "set", "lo", "up"],
    ]
    for arguments in ip:
        run(["ip", *arguments], timeout=_SECONDS)
    rules = ruleset(firewall)
    if rules is not None:  # before the link is up, so that no packet slips through
        run(made.command(["nft", "-f", "-"]), timeout=_SECONDS, input=rules)
    run(["ip", "-n", str(name), "link", "set", CLIENT_DEVICE, "up"], timeout=_SECONDS)
    run(["ip", "-n", str(name), "route", "add", "default", "via", str(network.gateway)], timeout=_SECONDS)


def _owner_of_this_process() -> Owner:
    owner = owner_of(os.getpid())
    if owner is None:
        raise RuntimeError("/proc does not show this process; is another /proc mounted over it?")
    return owner


def _list() -> list[ClientName]:
    try:
        found = sorted(Path("/run/netns").iterdir())
    except FileNotFoundError:
        return []
    return [name for name in (ClientName.parse(path.name) for path in found) if name is not None]


def _kill_inside(name: ClientName) -> list[str]:
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
    for made in list(_live):
        try:
            remove(made.name, made.network)
        except CommandFailed as error:
            print(f"could not take {made.name} away: {error}", file=sys.stderr)
