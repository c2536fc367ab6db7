"""What LiveKit is given: the server's configuration, and the values of charts/livekit-server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from livekit_platform import endpoints, names
from livekit_platform.config import Node, PlatformConfig
from livekit_platform.fingerprint import fingerprint, secrets_fingerprint
from livekit_platform.values import redis_client

CONFIG_FILE = "config.yaml"
# Down sooner than by LiveKit's own values, with which a viewer whose link is narrower than the largest layer
# stands still for 3 to 4 s after joining. How far down, and when up again, stays LiveKit's: loss in full, and
# longer probes, were worse. docs/adr/0021-congestion-control.md has all of it measured.
_CONGESTION_CONTROL: dict[str, Any] = {
    "enabled": True,
    "remote_bwe": {
        "channel_observer_non_probe": {
            "estimate": {
                "required_samples": 4,
                "required_samples_min": 3,
                "downward_trend_threshold": -0.3,
                "downward_trend_max_wait": "1s",
            },
            "nack": {"window_min_duration": "500ms", "window_max_duration": "1s"},
        },
    },
}


def server_config(config: PlatformConfig) -> dict[str, Any]:
    """LiveKit's configuration without its secrets. The server reads it strictly: an unknown key stops it."""
    token_api = names.service_host(names.TOKEN_API, config.namespace)
    return {
        "port": config.ports.signal,
        "region": config.livekit.region,
        "prometheus": {"port": config.ports.livekit_metrics},
        "logging": {"level": config.livekit.log_level, "json": True, "sample": False},
        "redis": redis_client.connection(config),
        "rtc": {
            "udp_port": config.ports.media_udp,
            "tcp_port": config.ports.ice_tcp,
            # The address is given as NODE_IP: discovery needs a STUN server outside, and its failure stops
            # the start. It is the only one that is told to clients; where the node has another inside, nobody
            # needs it (and the server tells both with discovery only).
            "use_external_ip": False,
            # Without this the mux also answers from the pod network's bridge, and relayed pairs fail.
            "interfaces": {"includes": list(config.livekit.interfaces)},
            "congestion_control": _CONGESTION_CONTROL,
            **_turn_servers(config),
        },
        "turn": _embedded_turn(config),
        "room": {"auto_create": config.livekit.room_auto_create},
        "webhook": {
            "api_key": config.livekit.api_key,
            "urls": [f"http://{token_api}:{config.ports.token_api}{names.WEBHOOK_PATH}"],
        },
    }


def _turn_servers(config: PlatformConfig) -> dict[str, Any]:
    """coturn as clients are told it; each server's secret comes with the other secrets."""
    if config.turn.kind != "coturn":
        return {}
    return {
        "turn_servers": [
            {
                "host": server.host,
                "port": server.port,
                "protocol": server.protocol,
                "ttl": config.turn.ttl_seconds,
            }
            for server in endpoints.turn_servers(config)
        ]
    }


def _embedded_turn(config: PlatformConfig) -> dict[str, Any]:
    if config.turn.kind != "embedded":
        return {"enabled": False}
    return {
        "enabled": True,
        "udp_port": config.ports.turn_udp,
        # The edge ends TLS and hands plain TCP on: LiveKit never reads a certificate again.
        **(
            {
                "tls_port": config.ports.turn_tls,
                "external_tls": True,
                "domain": config.host("turn"),
            }
            if config.edge.kind == "haproxy"
            else {}
        ),
        "ttl_seconds": config.turn.ttl_seconds,
        "relay_range_start": config.ports.turn_relay.first,
        "relay_range_end": config.ports.turn_relay.last,
        # A relay reaches the SFUs and nothing else. The first list only concerns private addresses and their
        # like; the second goes before it, and denies all others.
        "allow_restricted_peer_cidrs": [f"{address}/32" for address in _sfu_addresses(config)],
        "deny_peer_cidrs": [*_all_but(_sfu_addresses(config)), "::/0"],
    }


def _sfu_addresses(config: PlatformConfig) -> list[IPv4Address]:
    return [address for node in config.sfu_nodes for address in node.addresses]


def _all_but(addresses: Iterable[IPv4Address]) -> list[str]:
    """The networks that hold every IPv4 address but `addresses`."""
    left = [IPv4Network("0.0.0.0/0")]
    for one in map(IPv4Network, addresses):
        [around] = [network for network in left if one.subnet_of(network)]
        left.remove(around)
        left.extend(around.address_exclude(one))
    return [str(network) for network in sorted(left)]


def with_secrets(
    server: Mapping[str, Any],
    *,
    api_key: str,
    api_secret: str,
    redis_password: str,
    turn_secret: str,
    previous_keys: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """`server` completed with its secrets: only for the Secret object.

    Args:
        previous_keys: what else is taken of the server API's keys, with their secrets.
    """
    rtc = server["rtc"]
    turn = [{**entry, "secret": turn_secret} for entry in rtc.get("turn_servers", [])]
    return {
        **server,
        "keys": {**(previous_keys or {}), api_key: api_secret},
        "redis": redis_client.with_password(server["redis"], redis_password),
        "rtc": {**rtc, **({"turn_servers": turn} if turn else {})},
    }


def _secret_fields(config: PlatformConfig) -> list[str]:
    previous = ["livekit_previous_api_secret"] if config.livekit.previous_api_key else []
    return ["livekit_api_secret", *previous, "redis_password", "turn_secret"]


def translated(nodes: Iterable[Node]) -> dict[str, str]:
    """The addresses of nodes that do not know their own: by name, only where a pod sees another one."""
    return {node.name: str(node.address) for node in nodes if node.inside != node.address}


def chart_values(config: PlatformConfig) -> dict[str, Any]:
    """Values of charts/livekit-server: no secret, and nothing unknown at preview."""
    embedded_turn = config.turn.kind == "embedded"
    nodes = config.sfu_nodes
    return {
        "image": config.images.complete(config.images.livekit),
        "imagePullSecrets": list(config.images.pull_secrets),
        "replicas": len(nodes),
        "nodeNames": [node.name for node in nodes],
        "nodeAddresses": translated(nodes),
        "configSecret": {"name": names.LIVEKIT_CONFIG_SECRET, "key": CONFIG_FILE},
        "configChecksum": fingerprint(
            [
                server_config(config),
                config.livekit.previous_api_key,
                secrets_fingerprint(config.secrets, *_secret_fields(config)),
            ]
        ),
        "ports": {
            "signal": config.ports.signal,
            "iceTcp": config.ports.ice_tcp,
            "mediaUdp": config.ports.media_udp,
            "turnUdp": config.ports.turn_udp,
            "turnTls": config.ports.turn_tls,
            "turnRelay": {"first": config.ports.turn_relay.first, "last": config.ports.turn_relay.last},
            "metrics": config.ports.livekit_metrics,
        },
        "turn": {"enabled": embedded_turn, "tls": embedded_turn and config.edge.kind == "haproxy"},
        "drainSeconds": config.livekit.drain_seconds,
        "priorityClassName": config.livekit.priority_class
        or names.priority_class(config.namespace, names.MEDIA),
        "resources": config.livekit.resources.to_values(),
    }
