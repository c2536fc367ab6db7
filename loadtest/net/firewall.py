"""What a client's network lets through, as nftables rules for the client's own namespace.

The rules stand at the device, below the IP stack, in both directions. A drop there is silence to
the sender, as in a real network; a drop in the OUTPUT hook would be an error from `sendto`, and the
client would react to that instead of to missing answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final, Literal, TypeAlias

from loadtest.net.bridge import CLIENT_DEVICE

Protocol: TypeAlias = Literal["udp", "tcp"]


@dataclass(frozen=True)
class Endpoint:
    """A destination that a client may reach."""

    protocol: Protocol
    address: IPv4Address
    port: int


@dataclass(frozen=True)
class Open:
    """Everything passes."""


@dataclass(frozen=True)
class UdpBlocked:
    """No UDP in either direction, as in a strict corporate network.

    Attributes:
        unreachable: TCP destinations that are closed as well.
    """

    unreachable: tuple[Endpoint, ...] = ()


@dataclass(frozen=True)
class OnlyTo:
    """Nothing but ARP and these destinations."""

    destinations: tuple[Endpoint, ...]


Firewall: TypeAlias = Open | UdpBlocked | OnlyTo

OPEN: Final = Open()
_TABLE: Final = "netdev client_firewall"


def ruleset(firewall: Firewall) -> str | None:
    """The rules as input for `nft -f -`; None where none are needed."""
    match firewall:
        case Open():
            return None
        case UdpBlocked(unreachable):
            closed = [f"ip daddr {d.address} {d.protocol} dport {d.port} drop" for d in unreachable]
            return _table(inward=["meta l4proto udp drop"], outward=["meta l4proto udp drop", *closed])
        case OnlyTo(destinations):
            inward = [f"ip saddr {d.address} {d.protocol} sport {d.port} accept" for d in destinations]
            outward = [f"ip daddr {d.address} {d.protocol} dport {d.port} accept" for d in destinations]
            rest = "meta protocol != arp drop"
            return _table(inward=[*inward, rest], outward=[*outward, rest])


def replacement(firewall: Firewall) -> str:
    """The same for a namespace that has rules already, or none: nft changes all at once, or nothing."""
    # Named first, so that there is one to delete.
    return f"table {_TABLE} {{}}\ndelete table {_TABLE}\n" + (ruleset(firewall) or "")


def _table(*, inward: list[str], outward: list[str]) -> str:
    def chain(hook: str, rules: list[str]) -> list[str]:
        return [
            f"  chain {hook} {{",
            f'    type filter hook {hook} device "{CLIENT_DEVICE}" priority 0; policy accept;',
            *(f"    {rule}" for rule in rules),
            "  }",
        ]

    lines = [f"table {_TABLE} {{", *chain("ingress", inward), *chain("egress", outward), "}", ""]
    return "\n".join(lines)
