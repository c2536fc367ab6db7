"""The stack's outputs, as `make -s outputs` prints them: all that tests and load know of a stack."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from loadtest.net.bridge import ClientNetwork
from loadtest.net.firewall import Endpoint, Protocol


class StackOutputs(BaseModel):
    """Outputs of the deployed stack, with the secret ones (`SECRETS=1 make -s outputs`).

    Outputs that later versions of the stack add are let through and not looked at.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    namespace: str
    domain: str
    signal_url: str
    signal_urls: tuple[str, ...] = Field(min_length=1)
    turn_urls: tuple[str, ...]
    api_url: str
    livekit_api_key: str
    livekit_api_secret: SecretStr
    api_service_key: SecretStr
    kubeconfig_path: Path
    client_network: ClientNetwork | None


def endpoint_of(url: str) -> Endpoint:
    """What a signalling, HTTP or TURN URL (`turn:host:port?transport=udp`) leads to.

    Raises:
        ValueError: its scheme is another, or it lacks an IPv4 address or a port, as SFU nodes' have.
    """
    scheme, _, rest = url.partition(":")
    parts = urlsplit(rest if rest.startswith("//") else f"//{rest}")
    protocol: Protocol
    if scheme in ("ws", "wss", "http", "https"):
        protocol = "tcp"
    elif scheme in ("turn", "turns"):
        protocol = "udp" if parse_qs(parts.query).get("transport", ["udp"]) == ["udp"] else "tcp"
    else:
        raise ValueError(f"{url!r}: scheme {scheme!r}; allowed are ws, wss, http, https, turn and turns")
    if parts.hostname is None or parts.port is None:
        raise ValueError(f"{url!r} lacks a host or a port; expected something like ws://192.0.2.1:7880")
    return Endpoint(protocol, IPv4Address(parts.hostname), parts.port)
