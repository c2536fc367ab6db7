"""The stack's outputs, as `make -s outputs` prints them: all that tests and load know of a stack."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from loadtest.net.bridge import ClientNetwork
from loadtest.net.firewall import Endpoint, Protocol

# Where a URL names no port; RFC 7065 for TURN.
_DEFAULT_PORTS: Final = {"ws": 80, "http": 80, "wss": 443, "https": 443, "turn": 3478, "turns": 5349}


class BrowserUrls(BaseModel):
    """Where a browser on the machine itself opens the stack; `browser_urls` of `make outputs`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    https: str
    http: str


class StackOutputs(BaseModel):
    """Outputs of the deployed stack, with the secret ones (`SECRETS=1 make -s outputs`).

    Outputs that later versions of the stack add are let through and not looked at.

    Attributes:
        signal_url: signalling as clients are told it, through the edge.
        signal_urls: signalling at each SFU node, past the edge.
        edge_addresses: where the edge answers; none where DNS leads to it.
        ca_certificate: the edge's own authority as PEM; empty where its certificate is a public one.
        s3_access_key, s3_secret_key: None for a store that the program did not deploy.
        browser_urls: None where the cluster is not on this machine.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    namespace: str
    domain: str
    signal_url: str
    signal_urls: tuple[str, ...] = Field(min_length=1)
    turn_urls: tuple[str, ...]
    api_url: str
    edge_addresses: tuple[IPv4Address, ...]
    ca_certificate: str
    s3_endpoint: str
    s3_bucket: str
    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    livekit_api_key: str
    livekit_api_secret: SecretStr
    api_service_key: SecretStr
    kubeconfig_path: Path
    client_network: ClientNetwork | None
    browser_urls: BrowserUrls | None = None

    def address_of(self, host: str) -> IPv4Address:
        """Where a host of one of the URLs is: an address is itself, a name of the stack's own is at the edge.

        Raises:
            OSError: a name that DNS must know, and does not.
        """
        try:
            return IPv4Address(host)
        except ValueError:
            pass
        if self.edge_addresses and is_under(self.domain, host):
            return self.edge_addresses[0]
        return IPv4Address(socket.gethostbyname(host))

    @property
    def network_of_clients(self) -> ClientNetwork | None:
        """`client_network` where clients resolve the stack's names and trust its CA, without any DNS."""
        if self.client_network is None:
            return None
        urls = (self.signal_url, self.api_url, self.s3_endpoint, *self.turn_urls)
        hosts = {self.domain, *(host_of(url) for url in urls)}
        at_the_edge = sorted(host for host in hosts if self.edge_addresses and is_under(self.domain, host))
        names = {host: self.address_of(host) for host in at_the_edge}
        return self.client_network.model_copy(update={"names": names, "ca_certificate": self.ca_certificate})


def is_under(domain: str, host: str) -> bool:
    """Whether a name is the domain itself or one below it."""
    return host == domain or host.endswith(f".{domain}")


def host_of(url: str) -> str:
    """The host that a signalling, HTTP or TURN URL names; empty where it names none."""
    return _parts(url).hostname or ""


def endpoint_of(url: str, address_of: Callable[[str], IPv4Address] = IPv4Address) -> Endpoint:
    """What a signalling, HTTP or TURN URL (`turn:host:port?transport=udp`) leads to.

    Args:
        address_of: what resolves its host; without it, the host must be an address, as SFU nodes' is.

    Raises:
        ValueError: its scheme is another, or its host is none that `address_of` takes.
    """
    scheme = url.partition(":")[0]
    parts = _parts(url)
    protocol: Protocol
    if scheme in ("ws", "wss", "http", "https"):
        protocol = "tcp"
    elif scheme in ("turn", "turns"):
        protocol = "udp" if parse_qs(parts.query).get("transport", ["udp"]) == ["udp"] else "tcp"
    else:
        raise ValueError(f"{url!r}: scheme {scheme!r}; allowed are ws, wss, http, https, turn and turns")
    if parts.hostname is None:
        raise ValueError(f"{url!r} lacks a host; expected something like ws://192.0.2.1:7880")
    return Endpoint(protocol, address_of(parts.hostname), parts.port or _DEFAULT_PORTS[scheme])


def _parts(url: str) -> SplitResult:
    """TURN URLs have no slashes, and urlsplit finds no host without them."""
    rest = url.partition(":")[2]
    return urlsplit(rest if rest.startswith("//") else f"//{rest}")
