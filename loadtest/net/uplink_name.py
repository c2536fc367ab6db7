"""How the client networks of `uplink` are named and addressed, and their rules. Decisions only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from common.processes import Process
from loadtest.net.bridge import ClientNetwork

# For measurements between networks (RFC 2544): nobody's machines have addresses of it.
_BLOCK: Final = IPv4Network("198.18.0.0/15")
PREFIX: Final = 24
BRIDGE: Final = "br0"


class NoUplink(Exception):
    """This machine cannot lead a client network to the server. A sentence for people."""


@dataclass(frozen=True)
class UplinkName:
    """The name of the bridge's namespace, which says whose it is, and of all that belongs to it.

    Attributes:
        subnet: a /24: `.1` is the machine, `.2` the bridge, and the upper half is the clients'.
    """

    owner: Process
    subnet: IPv4Network

    def __str__(self) -> str:
        return f"lkuplink-{self.owner.pid}-{self.owner.started}-{self.subnet.network_address}"

    @property
    def device(self) -> str:
        """The machine's end of the cable; Linux allows 15 characters."""
        return f"lu{int(self.subnet.network_address):08x}"

    @property
    def table(self) -> str:
        """The nftables table with the masquerade."""
        return f"livekit_uplink_{int(self.subnet.network_address):08x}"

    @property
    def gateway(self) -> IPv4Address:
        return self.subnet[1]

    @property
    def bridge_address(self) -> IPv4Address:
        return self.subnet[2]

    def network(self, names: Mapping[str, IPv4Address], ca_certificate: str) -> ClientNetwork:
        """What clients are plugged into."""
        return ClientNetwork(
            netns=str(self),
            bridge=BRIDGE,
            gateway=self.gateway,
            addresses=list(self.subnet.subnets(1))[1],
            prefix=PREFIX,
            names=dict(names),
            ca_certificate=ca_certificate,
        )

    @staticmethod
    def parse(name: str) -> UplinkName | None:
        """The parts of a name that `str()` made; None for any other namespace."""
        match name.split("-"):
            case ["lkuplink", pid, started, address]:
                try:
                    return UplinkName(Process(int(pid), int(started)), IPv4Network(f"{address}/{PREFIX}"))
                except ValueError:
                    return None
        return None


def free_subnet(taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first /24 of 198.18.0.0/15 that overlaps none of the `taken`.

    Raises:
        NoUplink: none is left.
    """
    used = list(taken)
    for candidate in _BLOCK.subnets(new_prefix=PREFIX):
        if not any(candidate.overlaps(network) for network in used):
            return candidate
    raise NoUplink(f"this machine has routes to all of {_BLOCK}, where client networks are made")


def resolv_conf(candidates: Iterable[str]) -> str:
    """The first of these files that names a server off loopback; empty where none does."""
    for text in candidates:
        servers = [line.split()[1:2] for line in text.splitlines() if line.startswith("nameserver")]
        if any(server and not server[0].startswith(("127.", "::1")) for server in servers):
            return text
    return ""


def masquerade(name: UplinkName) -> str:
    """Input for `nft -f -`: what leaves the subnet goes out under the machine's address. Pure."""
    return (
        f"table ip {name.table} {{\n"
        f"  chain postrouting {{\n"
        f"    type nat hook postrouting priority srcnat; policy accept;\n"
        f'    ip saddr {name.subnet} oifname != "{name.device}" masquerade\n'
        f"  }}\n"
        f"}}\n"
    )
