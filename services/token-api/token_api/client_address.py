"""Whose address a request came from, where proxies that we trust stand in between."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
# What one subscriber usually gets of IPv6: they have 2^64 addresses to call from.
_SUBSCRIBER_BITS = 64


def client_of(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The client's address, or its /64 of IPv6; "unknown" where the connection has no address.

    `forwarded` are the X-Forwarded-For headers as they came. Each proxy adds who called it at the end:
    they are believed from the end backwards, as long as the one who added them is `trusted`. Anything
    before that may be made up.
    """
    address = _parse(peer or "")
    if address is None:
        return "unknown"
    entries = [entry for header in forwarded for entry in header.split(",")]
    while entries and any(address in network for network in trusted):
        before = _parse(entries.pop())
        if before is None:
            break
        address = before
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _SUBSCRIBER_BITS), strict=False))
    return str(address)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip().removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
