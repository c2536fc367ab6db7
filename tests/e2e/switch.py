"""A bridge of a test's own, where no cluster is needed: real namespaces, nothing behind them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network

from common.commands import run
from loadtest.net.bridge import ClientNetwork

_GATEWAY = "192.0.2.1"  # TEST-NET-1: meets no network that the machine is in


@contextmanager
def own_switch(*, addresses: str = "192.0.2.128/25") -> Iterator[ClientNetwork]:
    """A network namespace with a bridge in it, for as long as the block runs."""
    netns = f"lktest-switch-{os.getpid()}"
    run(["ip", "netns", "add", netns], timeout=10)
    try:
        for command in (
            ["link", "add", "br0", "type", "bridge"],
            ["addr", "add", f"{_GATEWAY}/24", "dev", "br0"],
            ["link", "set", "br0", "up"],
        ):
            run(["ip", "-n", netns, *command], timeout=10)
        yield ClientNetwork(
            netns=netns,
            bridge="br0",
            gateway=IPv4Address(_GATEWAY),
            addresses=IPv4Network(addresses),
            prefix=24,
        )
    finally:
        run(["ip", "netns", "del", netns], timeout=10)
