"""A network for clients on this machine whose links may be emulated, for a server anywhere.

    clients, routers --- bridge in a namespace of its own === cable === the machine --- masquerade --- server

What a run makes is named after its owner and subnet, and taken away at the end of the block, by an
atexit hook, and by the next run where the owner was killed. On the machine itself stay, meanwhile: the
cable's end, an nftables table for the masquerade, and what `forwarding` says.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

from common.commands import CommandFailed, run
from common.processes import Process, process_of
from loadtest.net import forwarding
from loadtest.net.bridge import ClientNetwork
from loadtest.net.firewall import Endpoint
from loadtest.net.uplink_name import (
    BRIDGE,
    PREFIX,
    NoUplink,
    UplinkName,
    free_subnet,
    masquerade,
    resolv_conf,
)

__all__ = ["NoUplink", "UplinkName", "reap_dead_owners", "uplink"]

_LOCK_FILE: Final = Path("/run/lock/livekit-platform-uplinks.lock")
# The first that names a server off loopback: that is reached from inside. The second is what
# systemd-resolved asks, where the first leads to itself.
_RESOLVERS: Final = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))
_CABLE_INSIDE: Final = "machine"
_SECONDS: Final = 10.0
_PROBE_SECONDS: Final = 5.0
_PROBE: Final = (
    "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3]))"
)


_live: list[UplinkName] = []


@contextmanager
def uplink(
    server: Endpoint, *, names: Mapping[str, IPv4Address], ca_certificate: str = ""
) -> Iterator[ClientNetwork]:
    """A client network that leads to `server` and beyond, for as long as the block runs. Needs root.

    Forwarding is switched on at the devices that answers come in at (the default route's, and the
    server's) where it is off, and put back at the end of the last uplink: see `forwarding`.

    Args:
        server: must be reached over TCP from inside, or the block is not entered.
        names: what clients resolve beside `localhost` and what DNS knows.
        ca_certificate: the only authority that clients trust for TLS, as PEM; empty for the machine's own.

    Raises:
        NoUplink: not root, a kernel without what it needs, or a machine whose rules let nothing pass.
    """
    if server.address.is_loopback:
        raise NoUplink(
            f"clients with a link of their own cannot reach {server.address}: there it is they themselves; "
            f"give the server by another address of this machine, or use profile `ideal`"
        )
    name = _start(server)
    try:
        resolver = resolv_conf(path.read_text() for path in _RESOLVERS if path.exists())
        yield name.network(names, ca_certificate).model_copy(update={"resolv_conf": resolver})
    finally:
        _take_away(name)


def reap_dead_owners() -> list[UplinkName]:
    """Take away the uplinks whose owner no longer runs, and give back which they were."""
    with _lock():
        return _reap()


def _reap() -> list[UplinkName]:
    dead = [name for name in _list() if not name.owner.runs]
    for name in dead:
        _remove(name)
    return dead


def _start(server: Endpoint) -> UplinkName:
    name = None
    try:
        with _lock():
            _reap()
            name = UplinkName(_owner_of_this_process(), free_subnet(_networks_in_use()))
            _live.append(name)  # first, so that what a signal interrupts is taken away, too
            _make(name, server)
        _probe(name, server)
    except BaseException as error:
        if name is not None:
            _take_away(name)
        if isinstance(error, CommandFailed | OSError):
            raise NoUplink(
                f"this machine makes no client network towards {server.address}: {error}"
            ) from error
        raise
    return name


def _make(name: UplinkName, server: Endpoint) -> None:
    netns = str(name)
    run(["ip", "netns", "add", netns], timeout=_SECONDS)
    segments = ["gso_max_segs", "1"]  # a packet on the cable is one packet: emulators count them
    ip = [
        [
            "link",
            "add",
            name.device,
            *segments,
            "type",
            "veth",
            "peer",
            "name",
            _CABLE_INSIDE,
            "netns",
            netns,
        ],
        ["-n", netns, "link", "add", BRIDGE, "type", "bridge"],
        ["-n", netns, "link", "set", _CABLE_INSIDE, *segments, "master", BRIDGE, "up"],
        ["-n", netns, "addr", "add", f"{name.bridge_address}/{PREFIX}", "dev", BRIDGE],
        ["-n", netns, "link", "set", "lo", "up"],
        ["-n", netns, "link", "set", BRIDGE, "up"],
        ["-n", netns, "route", "add", "default", "via", str(name.gateway)],
        ["addr", "add", f"{name.gateway}/{PREFIX}", "dev", name.device],
        ["link", "set", name.device, "up"],
    ]
    for arguments in ip:
        run(["ip", *arguments], timeout=_SECONDS)
    run(["nft", "-f", "-"], timeout=_SECONDS, input=masquerade(name))
    forwarding.switch(name.device).write_text("1")
    forwarding.let_answers_in(_answers_come_in_at(server.address))


def _probe(name: UplinkName, server: Endpoint) -> None:
    """See whether the server is reached from inside.

    Raises:
        NoUplink: it is not.
    """
    inside = ["nsenter", f"--net=/run/netns/{name}", "--"]
    ask = [sys.executable, "-c", _PROBE, str(server.address), str(server.port), f"{_PROBE_SECONDS:g}"]
    done = run([*inside, *ask], timeout=_PROBE_SECONDS + _SECONDS, check=False)
    if not done.ok:
        raise NoUplink(
            f"{server.address}:{server.port} is not reached from a client network of this machine "
            f"({done.stderr.strip().splitlines()[-1]}). Where the machine itself reaches it, its packet "
            f"filter forbids what is forwarded: see `nft list ruleset` and `iptables -S FORWARD`"
        )


def _take_away(name: UplinkName) -> None:
    with _lock():
        _remove(name)
    _live.remove(name)


def _remove(name: UplinkName) -> None:
    """Take away all that belongs to an uplink. What is already gone is no error."""
    run(["ip", "link", "del", name.device], timeout=_SECONDS, check=False)
    run(["nft", "delete", "table", "ip", name.table], timeout=_SECONDS, check=False)
    if not any(_is_here(other) for other in _list()):
        forwarding.put_back()
    # Last: its name is all that the next reaper would see.
    run(["ip", "netns", "del", str(name)], timeout=_SECONDS, check=False)


def _is_here(name: UplinkName) -> bool:
    """Whether this machine has the cable's end: containers may share their list of namespaces with it."""
    return forwarding.switch(name.device).exists()


def _list() -> list[UplinkName]:
    try:
        found = sorted(Path("/run/netns").iterdir())
    except FileNotFoundError:
        return []
    return [name for name in (UplinkName.parse(path.name) for path in found) if name is not None]


def _networks_in_use() -> list[IPv4Network]:
    """The networks that this machine has an address or a route in."""
    routes = _ip_json("-4", "route", "show", "table", "all")
    return [IPv4Network(route["dst"]) for route in routes if route["dst"] != "default"]


def _answers_come_in_at(server: IPv4Address) -> set[str]:
    """The devices of the default routes, and the one that leads to the server."""
    defaults = [*_ip_json("-4", "route", "show", "default"), *_ip_json("-4", "route", "get", str(server))]
    return {route["dev"] for route in defaults if "dev" in route} - {"lo"}


def _ip_json(*arguments: str) -> list[dict[str, str]]:
    printed = run(["ip", "-j", *arguments], timeout=_SECONDS).stdout
    routes: list[dict[str, str]] = json.loads(printed or "[]")
    return routes


def _owner_of_this_process() -> Process:
    owner = process_of(os.getpid())
    if owner is None:
        raise RuntimeError("/proc does not show this process; is another /proc mounted over it?")
    return owner


@contextmanager
def _lock() -> Iterator[None]:
    """One at a time chooses a subnet. The kernel lets go of the lock when its holder dies."""
    _LOCK_FILE.parent.mkdir(parents=True, exist_ok=True)
    with _LOCK_FILE.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@atexit.register
def _remove_all() -> None:
    for name in list(_live):
        try:
            _take_away(name)
        except CommandFailed as error:
            print(f"could not take {name} away: {error}", file=sys.stderr)
