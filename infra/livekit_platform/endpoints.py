"""Where clients find the platform: every URL that is told to somebody, computed from the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from livekit_platform.config import PlatformConfig


@dataclass(frozen=True)
class TurnServer:
    """One way to a TURN server, as clients are told it."""

    host: str
    port: int
    protocol: Literal["udp", "tcp", "tls"]

    @property
    def url(self) -> str:
        """RFC 7065."""
        scheme = "turns" if self.protocol == "tls" else "turn"
        transport = "udp" if self.protocol == "udp" else "tcp"
        return f"{scheme}:{self.host}:{self.port}?transport={transport}"


def signal_url(config: PlatformConfig) -> str:
    """Signalling through the edge."""
    return f"wss://{config.host('sfu')}{_port(config)}"


def node_signal_urls(config: PlatformConfig) -> list[str]:
    """Signalling at each SFU itself, past the edge: for tests and operators."""
    return [f"ws://{node.address}:{config.ports.signal}" for node in config.sfu_nodes]


def api_url(config: PlatformConfig) -> str:
    return f"https://{config.host('api')}{_port(config)}"


def s3_endpoint(config: PlatformConfig) -> str:
    """Where the object store is reached from outside the cluster; presigned URLs begin with it."""
    external = config.object_store.external
    if config.object_store.kind == "external" and external is not None:
        return external.endpoint
    return f"https://{config.host('s3')}{_port(config)}"


def edge_addresses(config: PlatformConfig) -> list[str]:
    """The node addresses at which the edge answers; none where something else leads to it."""
    on_nodes = config.edge.kind == "haproxy" and config.edge.expose == "host_port"
    return [str(node.address) for node in config.edge_nodes] if on_nodes else []


def turn_servers(config: PlatformConfig) -> list[TurnServer]:
    """What clients are told, the cheapest way first.

    UDP and TCP by address, so that they need no DNS; TLS by name, for the certificate is for that name. With
    HAProxy as the edge TLS is on its port; LiveKit itself names 443 for the embedded server, whatever we say.
    """
    through_edge = config.edge.kind == "haproxy"
    tls = TurnServer(
        config.host("turn"), config.ports.edge_https if through_edge else config.ports.turn_tls, "tls"
    )
    if config.turn.kind == "embedded":
        own = [TurnServer(str(node.address), config.ports.turn_udp, "udp") for node in config.sfu_nodes]
        return [*own, *([tls] if through_edge else [])]
    addresses = [str(node.address) for node in config.turn_nodes]
    return [
        *(TurnServer(address, config.ports.turn_udp, "udp") for address in addresses),
        *(TurnServer(address, config.ports.turn_tcp, "tcp") for address in addresses),
        tls,
    ]


def _port(config: PlatformConfig) -> str:
    """The edge's port where a URL must say it."""
    default = config.edge.kind != "haproxy" or config.ports.edge_https == 443
    return "" if default else f":{config.ports.edge_https}"
