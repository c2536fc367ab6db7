"""To which addresses a webhook may go. What is not plainly the public internet is refused.

The URL comes from outside, and the service stands inside: without this, whoever may set a URL could
have it call the cloud's metadata service, the cluster's API, or a database.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import httpx

MAX_URL_LENGTH = 2048
RESOLVE_SECONDS = 5

# IANA's special-purpose registry, all that is not globally reachable, and what else is no host of others'.
_REFUSED_4 = tuple(
    ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        # Azure's host agent: a public address that every machine there reaches.
        "168.63.129.16/32",
    )
)
# Of IPv6 only global unicast is public: not loopback, link-local (fe80::/10), unique local (fc00::/7),
# multicast (ff00::/8), IPv4-mapped (::ffff:0:0/96), or NAT64 (64:ff9b::/96, 64:ff9b:1::/48).
_PUBLIC_6 = ip_network("2000::/3")
# Within it: protocols' own with Teredo and ORCHID, documentation, and 6to4, which leads to any IPv4.
_REFUSED_6 = tuple(
    ip_network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class Refused(Exception):
    """A URL or an address that webhooks do not go to. The text says why, without the URL's path."""


@dataclass(frozen=True)
class Allowed:
    """The configured exceptions: networks, host names, and host names with a port."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    def host(self, host: str, port: int) -> bool:
        """Whether all addresses of the host are allowed, and plain http too."""
        return host in self.hosts or f"{host}:{port}" in self.hosts

    def address(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def allowed_of(entries: Sequence[str]) -> Allowed:
    """The exceptions of TOKEN_API_WEBHOOK_ALLOW."""
    networks, hosts = [], []
    for entry in entries:
        try:
            networks.append(ip_network(entry))
        except ValueError:
            hosts.append(entry.lower())
    return Allowed(tuple(networks), frozenset(hosts))


@dataclass(frozen=True)
class Target:
    """Where a URL leads. `host` as it is looked up."""

    scheme: str
    host: str
    port: int


def target_of(url: str, allowed: Allowed) -> Target:
    """Judge the form of a URL.

    Raises:
        Refused: with what is wrong.
    """
    if len(url) > MAX_URL_LENGTH or not url.isascii() or any(not "!" <= sign <= "~" for sign in url):
        raise Refused(f"allowed are up to {MAX_URL_LENGTH} printable ASCII characters without spaces")
    try:
        # The parser of the client that sends: two of them may differ, which is how such checks are passed by.
        parsed = httpx.URL(url)
        host, port = parsed.raw_host.decode("ascii").lower(), parsed.port
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused("it is no URL") from error
    if parsed.scheme not in {"https", "http"} or not host or "\\" in url:
        raise Refused("allowed are https:// URLs with a host")
    if parsed.userinfo or parsed.fragment:
        raise Refused("it holds a user name, a password or a fragment")
    if port == 0 or (port or 0) > 65535:
        raise Refused("allowed are ports 1 to 65535")
    target = Target(parsed.scheme, host, port or {"https": 443, "http": 80}[parsed.scheme])
    if target.scheme == "http" and not (
        allowed.host(host, target.port) or _is_allowed_literal(host, allowed)
    ):
        raise Refused("allowed are https:// URLs; http:// only to hosts in TOKEN_API_WEBHOOK_ALLOW")
    return target


def _is_allowed_literal(host: str, allowed: Allowed) -> bool:
    try:
        return allowed.address(ip_address(host.strip("[]")))
    except ValueError:
        return False


def judge(address: Address) -> str | None:
    """Why nothing goes to `address`; None where it is a public one."""
    if isinstance(address, IPv4Address):
        if any(address in network for network in _REFUSED_4):
            return "it is not a public address"
        return None
    if address.scope_id is not None or address not in _PUBLIC_6:
        return "it is not a public address"
    if any(address in network for network in _REFUSED_6):
        return "it is not a public address"
    return None


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Addresses of a host, by the system's resolver. Raises OSError, TimeoutError."""
    async with asyncio.timeout(RESOLVE_SECONDS):
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


async def addresses_of(target: Target, allowed: Allowed, resolve: Resolve) -> tuple[str, ...]:
    """The addresses to connect to, each judged: nothing is looked up again after this.

    A host of which a single address is refused is refused: which one was taken would be chance.

    Raises:
        Refused: an address is not public, or there is none.
    """
    try:
        found = await resolve(target.host.strip("[]"), target.port)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise Refused("its host has no address") from error
    addresses = []
    for text in dict.fromkeys(found):
        address = ip_address(text)
        reason = judge(address)
        if reason and not allowed.host(target.host, target.port) and not allowed.address(address):
            # Not the address itself: whoever set the URL would learn what the inner DNS says.
            raise Refused(f"its host has an address to which webhooks do not go: {reason}")
        addresses.append(text)
    if not addresses:
        raise Refused("its host has no address")
    return tuple(addresses)
