"""How LiveKit and the egress workers reach Redis: the section `redis` of their configuration files.

Both read it into the same type (livekit/protocol, redis/redis.go), and must use the same database of the same
Redis: they send each other messages through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from livekit_platform import names
from livekit_platform.config import ExternalRedis, PlatformConfig

# Redis knows this user by its ACL file, and the Sentinels the master by this name (values/redis.py).
REDIS_USER = "livekit"
REDIS_MASTER = "livekit"


def connection(config: PlatformConfig) -> dict[str, Any]:
    """The section without its password."""
    external = config.redis.external
    if config.redis.kind == "external" and external is not None:
        return _external(config, external)
    if config.redis.kind == "sentinel":
        hosts = names.pod_hosts(names.REDIS, config.namespace, names.REDIS_REPLICAS)
        return {
            "sentinel_master_name": REDIS_MASTER,
            "sentinel_addresses": [f"{host}:{config.ports.redis_sentinel}" for host in hosts],
            "sentinel_username": REDIS_USER,
            "username": REDIS_USER,
            **_timeouts(config),
        }
    host = names.service_host(names.REDIS, config.namespace)
    return {"address": f"{host}:{config.ports.redis}", "username": REDIS_USER}


def with_password(connection: Mapping[str, Any], password: str) -> dict[str, Any]:
    """The whole section: only for a Secret. The user has the same password at servers and Sentinels."""
    sentinel = {"sentinel_password": password} if "sentinel_username" in connection else {}
    return {**connection, "password": password, **sentinel}


def _external(config: PlatformConfig, external: ExternalRedis) -> dict[str, Any]:
    return {
        **(
            {"address": external.address}
            if external.address is not None
            else {
                "sentinel_master_name": external.sentinel_master_name,
                "sentinel_addresses": list(external.sentinel_addresses),
                **({"sentinel_username": external.username} if external.sentinel_auth else {}),
                **_timeouts(config),
            }
        ),
        "username": external.username,
        "db": external.db,
        **({"tls": {"enabled": True}} if external.tls else {}),
    }


def _timeouts(config: PlatformConfig) -> dict[str, int]:
    """In ms. They are read with Sentinels only, and 200 ms, the default, makes dead nodes of stalls."""
    return {f"{what}_timeout": config.redis.timeout_ms for what in ("dial", "read", "write")}
