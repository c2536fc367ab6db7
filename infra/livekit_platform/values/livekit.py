"""What LiveKit is given: the server's configuration, and the values of charts/livekit-server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livekit_platform import names
from livekit_platform.config import PlatformConfig
from livekit_platform.fingerprint import fingerprint, secrets_fingerprint

CONFIG_FILE = "config.yaml"
# Redis knows this user by its ACL file (values/redis.py).
REDIS_USER = "livekit"


def server_config(config: PlatformConfig) -> dict[str, Any]:
    """LiveKit's configuration without its secrets. The server reads it strictly: an unknown key stops it."""
    redis = names.service_host(names.REDIS, config.namespace)
    token_api = names.service_host(names.TOKEN_API, config.namespace)
    return {
        "port": config.ports.signal,
        "region": config.livekit.region,
        "prometheus": {"port": config.ports.livekit_metrics},
        "logging": {"level": config.livekit.log_level, "json": True, "sample": False},
        "redis": {"address": f"{redis}:{config.ports.redis}", "username": REDIS_USER},
        "rtc": {
            "udp_port": config.ports.media_udp,
            "tcp_port": config.ports.ice_tcp,
            # The address is given as NODE_IP: discovery needs a STUN server outside, and its failure stops
            # the start.
            "use_external_ip": False,
            # Without this the mux also answers from the pod network's bridge, and relayed pairs fail.
            "interfaces": {"includes": list(config.livekit.interfaces)},
        },
        "turn": {
            "enabled": config.turn.kind == "embedded",
            "udp_port": config.ports.turn_udp,
            "relay_range_start": config.ports.turn_relay.first,
            "relay_range_end": config.ports.turn_relay.last,
            # A relay must reach the SFUs, whose addresses may be private, and nothing else that is.
            "allow_restricted_peer_cidrs": [f"{node.address}/32" for node in config.sfu_nodes],
        },
        "room": {"auto_create": config.livekit.room_auto_create},
        "webhook": {
            "api_key": config.livekit.api_key,
            "urls": [f"http://{token_api}:{config.ports.token_api}{names.WEBHOOK_PATH}"],
        },
    }


def with_secrets(
    server: Mapping[str, Any], *, api_key: str, api_secret: str, redis_password: str
) -> dict[str, Any]:
    """`server` completed with its secrets: only for the Secret object."""
    return {
        **server,
        "keys": {api_key: api_secret},
        "redis": {**server["redis"], "password": redis_password},
    }


def chart_values(config: PlatformConfig) -> dict[str, Any]:
    """Values of charts/livekit-server: no secret, and nothing unknown at preview."""
    resources = config.livekit.resources
    nodes = config.sfu_nodes
    return {
        "image": config.images.livekit,
        "replicas": len(nodes),
        "nodeNames": [node.name for node in nodes],
        "configSecret": {"name": names.LIVEKIT_CONFIG_SECRET, "key": CONFIG_FILE},
        "configChecksum": fingerprint(
            [
                server_config(config),
                secrets_fingerprint(config.secrets, "livekit_api_secret", "redis_password"),
            ]
        ),
        "ports": {
            "signal": config.ports.signal,
            "iceTcp": config.ports.ice_tcp,
            "mediaUdp": config.ports.media_udp,
            "turnUdp": config.ports.turn_udp,
            "turnRelay": {"first": config.ports.turn_relay.first, "last": config.ports.turn_relay.last},
            "metrics": config.ports.livekit_metrics,
        },
        "turn": {"enabled": config.turn.kind == "embedded"},
        "terminationGracePeriodSeconds": config.livekit.drain_seconds,
        "priorityClassName": config.livekit.priority_class,
        "resources": {
            "requests": {"cpu": resources.cpu_request, "memory": resources.memory_request},
            "limits": {"memory": resources.memory_limit},
        },
    }
