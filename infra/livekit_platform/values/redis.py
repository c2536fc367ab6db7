"""What Redis is given: its users, the Sentinels' users, and the values of charts/redis."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from livekit_platform import names
from livekit_platform.config import PlatformConfig
from livekit_platform.fingerprint import secrets_fingerprint
from livekit_platform.values.redis_client import REDIS_MASTER, REDIS_USER

ACL_FILE = "users.acl"
SENTINEL_ACL_FILE = "sentinel.acl"
REPLICATION_FILE = "replication.conf"
SENTINEL_AUTH_FILE = "sentinel-auth.conf"

# Users of the servers and Sentinels among themselves.
_REPLICA = "replica"
_SENTINEL = "sentinel"
_NOBODY = "user default off resetpass resetchannels -@all"
# A promotion ends within this many milliseconds, even on a busy machine.
_LEAST_FAILOVER_MS = 5000
# The last master has at least this many seconds to come back: its pod may be rescheduled and pull its image.
_LEAST_RESTART_GRACE = 60
# Seconds that an election and a promotion take at most.
_ELECTION_SECONDS = 15


def secret_files(config: PlatformConfig, password: str, replication_password: str) -> dict[str, str]:
    """The files of the Secret that Redis' pods mount, by name.

    Args:
        password: the SFUs', at servers and Sentinels.
        replication_password: what stands for the servers and Sentinels among themselves.
    """
    if config.redis.kind != "sentinel":
        return {ACL_FILE: acl_file(password)}
    # Redis has no one way of quoting: its files get hexadecimal digits, whatever was given.
    own = hashlib.sha256(replication_password.encode()).hexdigest()
    return {
        ACL_FILE: acl_file(password) + _replication_users(own),
        SENTINEL_ACL_FILE: _sentinel_acl_file(password, own),
        REPLICATION_FILE: f"masteruser {_REPLICA}\nmasterauth {own}\n",
        SENTINEL_AUTH_FILE: "\n".join(
            [
                f"sentinel auth-user {REDIS_MASTER} {_SENTINEL}",
                f"sentinel auth-pass {REDIS_MASTER} {own}",
                f"sentinel sentinel-user {_SENTINEL}",
                f"sentinel sentinel-pass {own}",
                "",
            ]
        ),
    }


def acl_file(password: str) -> str:
    """Redis' users: the SFUs', the probes', and nobody else.

    The file holds the password's digest, so Redis' own pod never sees the password. The probe user needs
    none: it may PING and ask for the ROLE, and so there is no secret in an argument list or an environment.
    """
    return _lines(
        _NOBODY,
        # State, psrpc's messages, locks and scripts; not KEYS, FLUSHALL, CONFIG, ACL and their like.
        f"user {REDIS_USER} on {_digest(password)} ~* &* -@all +@read +@write +@pubsub +@transaction "
        "+@scripting +@connection -@admin -@dangerous",
        "user probe on nopass resetkeys resetchannels -@all +ping +role",
    )


def _replication_users(own: str) -> str:
    """Users of the servers by which replicas copy their master, and Sentinels watch and lead all of them."""
    return _lines(
        f"user {_REPLICA} on {_digest(own)} resetkeys resetchannels -@all +ping +psync +replconf",
        # CONFIG REWRITE fails, for the file is read only; but it stands in the transaction by which a
        # Sentinel changes a server's master, and a command that may not be called would stop that.
        f"user {_SENTINEL} on {_digest(own)} resetkeys resetchannels &__sentinel__:hello -@all +ping +info "
        "+role +multi +exec +slaveof +subscribe +publish +config|rewrite +client|setname +client|kill "
        "+script|kill",
    )


def _sentinel_acl_file(password: str, own: str) -> str:
    """The Sentinels' users: each other; the SFUs, who ask for the master and hear of a new one; probes.

    What the start scripts ask, who is the master, is no secret, and spares them one.
    """
    return _lines(
        _NOBODY,
        f"user {_SENTINEL} on {_digest(own)} resetkeys resetchannels &__sentinel__:hello -@all +ping "
        "+publish +client|setname +sentinel|is-master-down-by-addr",
        f"user {REDIS_USER} on {_digest(password)} resetkeys resetchannels &+* -@all +@connection "
        "-@admin -@dangerous +subscribe +psubscribe +unsubscribe +punsubscribe "
        "+sentinel|get-master-addr-by-name +sentinel|sentinels +sentinel|replicas +sentinel|slaves",
        "user probe on nopass resetkeys resetchannels -@all +ping +sentinel|get-master-addr-by-name",
    )


def _digest(password: str) -> str:
    return f"#{hashlib.sha256(password.encode()).hexdigest()}"


def _lines(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def failover_timeout_ms(failover_ms: int) -> int:
    """The time after which Sentinels give up an attempt. They start the next attempt after twice this time.

    An attempt fails if two Sentinels vote for themselves at the same moment. Clients give up about 30 s
    after they lose Redis, so the second attempt must end before that.

    Args:
        failover_ms: the time without an answer after which the Sentinels consider the master dead.
    """
    return max(_LEAST_FAILOVER_MS, failover_ms)


def failover_seconds(failover_ms: int, *, attempts: int) -> int:
    """The longest time from a master's end until the next master, if all attempts but the last fail."""
    waiting_ms = failover_ms + (attempts - 1) * 2 * failover_timeout_ms(failover_ms)
    return math.ceil(waiting_ms / 1000) + _ELECTION_SECONDS


def chart_values(config: PlatformConfig) -> dict[str, Any]:
    """Values of charts/redis: no secret, and nothing unknown at preview."""
    redis = config.redis
    three = redis.kind == "sentinel"
    used = ("redis_password", *(("redis_replication_password",) if three else ()))
    return {
        "image": config.images.complete(config.images.redis),
        "imagePullSecrets": list(config.images.pull_secrets),
        "port": config.ports.redis,
        "aclSecret": {"name": names.REDIS_ACL_SECRET, "key": ACL_FILE},
        "aclChecksum": secrets_fingerprint(config.secrets, *used),
        "sentinel": {
            "enabled": three,
            "port": config.ports.redis_sentinel,
            "masterName": REDIS_MASTER,
            "downAfterMs": redis.failover_ms,
            "failoverTimeoutMs": failover_timeout_ms(redis.failover_ms),
            "restartGraceSeconds": max(_LEAST_RESTART_GRACE, failover_seconds(redis.failover_ms, attempts=2)),
            "aclKey": SENTINEL_ACL_FILE,
            "replicationKey": REPLICATION_FILE,
            "authKey": SENTINEL_AUTH_FILE,
        },
        "maxmemoryMib": redis.maxmemory_mib,
        "persistence": {"size": redis.storage_size, "storageClassName": redis.storage_class},
        "priorityClassName": names.priority_class(config.namespace, names.STATE),
        "networkPolicy": {
            # SFUs use the node's network: they come from their nodes' addresses, not from pods with labels.
            "clientCidrs": config.sfu_source_cidrs,
            **(
                {"clientPodLabels": [{"app.kubernetes.io/name": names.EGRESS}]}
                if config.egress.kind != "none"
                else {}
            ),
            "dnsCidrs": [*map(str, config.network.dns_cidrs)],
        },
    }
