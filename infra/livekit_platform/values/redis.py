"""What Redis is given: its ACL file, and the values of charts/redis."""

from __future__ import annotations

import hashlib
from typing import Any

from livekit_platform import names
from livekit_platform.config import PlatformConfig
from livekit_platform.fingerprint import secrets_fingerprint
from livekit_platform.values.livekit import REDIS_USER

ACL_FILE = "users.acl"


def acl_file(password: str) -> str:
    """Redis' users: the SFUs', the probes', and nobody else.

    The file holds the password's digest, so Redis' own pod never sees the password. The probe user needs
    none: all it can do is PING, and so there is no secret in an argument list or an environment.
    """
    digest = hashlib.sha256(password.encode()).hexdigest()
    return "\n".join(
        [
            "user default off resetpass resetchannels -@all",
            # State, psrpc's messages, locks and scripts; not KEYS, FLUSHALL, CONFIG, ACL and their like.
            f"user {REDIS_USER} on #{digest} ~* &* -@all +@read +@write +@pubsub +@transaction +@scripting "
            "+@connection -@admin -@dangerous",
            "user probe on nopass resetkeys resetchannels -@all +ping",
            "",
        ]
    )


def chart_values(config: PlatformConfig) -> dict[str, Any]:
    """Values of charts/redis: no secret, and nothing unknown at preview."""
    redis = config.redis
    return {
        "image": config.images.redis,
        "port": config.ports.redis,
        "aclSecret": {"name": names.REDIS_ACL_SECRET, "key": ACL_FILE},
        "aclChecksum": secrets_fingerprint(config.secrets, "redis_password"),
        "maxmemoryMib": redis.maxmemory_mib,
        "persistence": {"size": redis.storage_size, "storageClassName": redis.storage_class},
        "networkPolicy": {
            # SFUs use the node's network: they come from their nodes' addresses, not from pods with labels.
            "clientCidrs": [
                *(f"{node.address}/32" for node in config.sfu_nodes),
                *(str(network) for network in redis.client_cidrs),
            ],
        },
    }
