"""What coturn is given: its configuration file, and the values of charts/coturn."""

from __future__ import annotations

from typing import Any

from livekit_platform import names
from livekit_platform.config import PlatformConfig
from livekit_platform.fingerprint import fingerprint, secrets_fingerprint
from livekit_platform.turn_allocations import (
    ALLOCATIONS_OF_A_USER,
    FORGOTTEN_SECONDS,
    LIFETIME_SECONDS,
)

CONFIG_FILE = "turnserver.conf"
# The server may write to this directory. charts/coturn puts a validated copy of the certificate there.
_RUN = "/run/coturn"
_TLS = f"{_RUN}/tls"
# More than any office behind one address starts in a second; less than what makes us worth reflecting off.
_CHALLENGES_PER_SECOND = 100
# For TLS 1.2: with forward secrecy and authenticated encryption. TLS 1.3 has nothing else.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def turnserver_conf(config: PlatformConfig, secret: str) -> str:
    """The whole turnserver.conf, but for the pod's address, which each pod adds as arguments.

    What coturn 4.18 leaves off by itself (its command line, DTLS, the second ports of RFC 5780, peers on
    loopback and link-local addresses, old TLS, the SOFTWARE attribute) is not named: some of these words are
    refused by now, and all of it is tested on the running server.
    """
    ports = config.ports
    settings: list[tuple[str, object]] = [
        # LiveKit makes each client's user (`<expiry>:<participant>`) and password with the same secret.
        ("use-auth-secret", True),
        ("static-auth-secret", secret),
        ("realm", config.domain),
        ("fingerprint", True),
        ("stale-nonce", 600),
        # Nobody's password is in a database; coturn makes an empty one all the same.
        ("userdb", f"{_RUN}/turndb"),
        ("no-auth-pings", True),
        ("no-dynamic-ip-list", True),
        ("no-dynamic-realms", True),
        ("listening-port", ports.turn_udp),
        ("tls-listening-port", ports.turn_tls),
        ("min-port", ports.turn_relay.first),
        ("max-port", ports.turn_relay.last),
        ("no-tcp-relay", True),
        ("no-multicast-peers", True),
        # coturn lets an address pass that is both allowed and denied: so everything is denied, and the SFUs
        # are allowed. IPv4-mapped addresses lie in the IPv6 range and are judged by both.
        ("denied-peer-ip", "0.0.0.0-255.255.255.255"),
        ("denied-peer-ip", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        # At both addresses where an SFU has two: clients name the one that they are told, and the SFU sends
        # from the other one.
        *(("allowed-peer-ip", address) for node in config.sfu_nodes for address in node.addresses),
        # A user is one join of a participant.
        ("user-quota", ALLOCATIONS_OF_A_USER),
        ("total-quota", len(ports.turn_relay.ports)),
        # The shortest that coturn knows: a client that vanishes holds its relays for so long.
        ("max-allocate-lifetime", LIFETIME_SECONDS),
        ("unauthorized-ratelimit", True),
        ("unauthorized-ratelimit-rps", _CHALLENGES_PER_SECOND),
        ("cert", f"{_TLS}/tls.crt"),
        ("pkey", f"{_TLS}/tls.key"),
        ("cipher-list", _CIPHERS),
        # To the Redis beside it: its own metrics Debian does not build, and they know of traffic only when a
        # session has ended.
        *(
            [("redis-statsdb", f'"ip=127.0.0.1 dbname=0 port={ports.turn_reports}"')]
            if config.turn.metrics
            else []
        ),
        ("log-file", "stdout"),
        # Below it, every session's user is named.
        ("log-min-level", "info"),
        ("pidfile", f"{_RUN}/turnserver.pid"),
    ]
    return "".join(f"{key}\n" if value is True else f"{key}={value}\n" for key, value in settings)


def chart_values(config: PlatformConfig) -> dict[str, Any]:
    """Values of charts/coturn: no secret, and nothing unknown at preview."""
    nodes = config.turn_nodes
    relay = config.ports.turn_relay
    return {
        "image": config.images.complete(config.images.coturn),
        "imagePullSecrets": list(config.images.pull_secrets),
        # None where the SFUs are TURN servers, too: see platform.py for why it is declared all the same.
        "replicas": len(nodes) if config.turn.kind == "coturn" else 0,
        "nodeNames": [node.name for node in nodes],
        "priorityClassName": names.priority_class(config.namespace, names.MEDIA),
        "configSecret": {"name": names.COTURN_CONFIG_SECRET, "key": CONFIG_FILE},
        "configChecksum": fingerprint(
            [turnserver_conf(config, ""), secrets_fingerprint(config.secrets, "turn_secret")]
        ),
        "tlsSecret": {"name": config.tls_secret_name},
        "ports": {
            "turn": config.ports.turn_udp,
            "turnTls": config.ports.turn_tls,
            "turnRelay": {"first": relay.first, "last": relay.last},
            "metrics": config.ports.turn_metrics,
            "reports": config.ports.turn_reports,
        },
        "sfus": {
            "cidrs": config.sfu_media_cidrs,
            "sourceCidrs": config.sfu_source_cidrs,
            "mediaPort": config.ports.media_udp,
        },
        # An edge of ours leads clients of TURN over TLS here; else they come to the nodes.
        "turnTlsClients": ({"app.kubernetes.io/name": names.EDGE} if config.edge.kind == "haproxy" else {}),
        "limits": {
            "perAddress": config.turn.allocations_per_address,
            "image": config.images.complete(config.images.nftables),
            "lifetimeSeconds": LIFETIME_SECONDS,
            "forgottenSeconds": FORGOTTEN_SECONDS,
        },
        "metrics": {
            "enabled": config.turn.metrics,
            "image": config.images.complete(config.images.turn_exporter),
        },
        "reports": {"image": config.images.complete(config.images.redis)},
        "drainSeconds": config.turn.drain_seconds,
        "resources": config.turn.resources.to_values(),
    }
