"""What is refused: each entry a value, the key that is blamed, what is said of it, and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from livekit_platform.config_loader import parse
from livekit_platform.config_rules import Mistake
from tests.unit.infra.program import minimal_config, raw

STRONG = "0123456789abcdefghijklmnopqrstuv"


def mistakes_of(
    kubeconfig: Path, changes: dict[str, Any], secret_keys: set[str] | None = None
) -> list[Mistake]:
    values = {**minimal_config(kubeconfig), **changes}
    config, mistakes = parse(
        raw({key: value for key, value in values.items() if value is not None}), secret_keys or {"secrets"}
    )
    assert (config is None) == bool(mistakes)
    return mistakes


def images(**changes: Any) -> dict[str, Any]:
    ours = {
        "token_api": "r.example.com/token-api:1",
        "object_store_setup": "r.example.com/object-store-setup:1",
    }
    return {key: value for key, value in {**ours, **changes}.items() if value is not None}


def nodes(*entries: tuple[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "address": address} for name, address in entries]


# section, value (None: left out), key of the mistake, given, a part of what is allowed
REFUSED: list[tuple[str, Any, str, str, str]] = [
    ("kubeconfig", None, "kubeconfig", "nothing", "pulumi config set livekit-platform:kubeconfig"),
    ("kubeconfig", "relative/path", "kubeconfig", '"relative/path"', "the absolute path"),
    ("kubeconfig", "/does/not/exist", "kubeconfig", '"/does/not/exist"', "a file that exists"),
    ("context", "", "context", '""', "a context of the kubeconfig"),
    ("namespace", "Live Kit", "namespace", '"Live Kit"', "a DNS label"),
    ("namespace", "kube-system", "namespace", '"kube-system"', "not a namespace of Kubernetes"),
    ("domain", "-lk", "domain", '"-lk"', "a DNS name"),
    ("nodes", None, "nodes", "nothing", "a list of at least one"),
    ("nodes", [], "nodes", "[]", "a list of at least one"),
    ("nodes", "node-a", "nodes", '"node-a"', "a list of at least one"),
    ("nodes", nodes(("Node_A", "192.0.2.1")), "nodes[0].name", '"Node_A"', "the node's name in Kubernetes"),
    ("nodes", nodes(("a", "fe80::1")), "nodes[0].address", '"fe80::1"', "IPv4"),
    ("nodes", nodes(("a", "255.255.255.255")), "nodes[0].address", '"255.255.255.255"', "not loopback"),
    ("nodes", nodes(("a", "127.0.0.1")), "nodes[0].address", '"127.0.0.1"', "not loopback"),
    (
        "nodes",
        nodes(("a", "192.0.2.1"), ("a", "192.0.2.2")),
        "nodes[1].name",
        '"a"',
        "nodes[0] does not have",
    ),
    ("nodes", nodes(("a", "192.0.2.1"), ("b", "192.0.2.1")), "nodes[1].address", '"192.0.2.1"', "nodes[0]"),
    ("nodes", [{"name": "a"}], "nodes[0].address", "nothing", "IPv4"),
    (
        "nodes",
        [{"name": "a", "address": "192.0.2.1", "internal_address": "127.0.0.1"}],
        "nodes[0].internal_address",
        '"127.0.0.1"',
        "InternalIP",
    ),
    (
        "nodes",
        [
            {"name": "a", "address": "192.0.2.1", "internal_address": "10.0.0.1"},
            {"name": "b", "address": "192.0.2.2", "internal_address": "10.0.0.1"},
        ],
        "nodes[1].internal_address",
        '"10.0.0.1"',
        "an address that nodes[0] does not have",
    ),
    (
        "nodes",
        [
            {"name": "a", "address": "192.0.2.1", "internal_address": "10.0.0.1"},
            {"name": "b", "address": "10.0.0.1"},
        ],
        "nodes[1].address",
        '"10.0.0.1"',
        "nodes[0]",
    ),
    (
        "nodes",
        [{"name": "a", "address": "192.0.2.1", "adress": 1}],
        "nodes[0].adress",
        "1",
        "mean `address`?",
    ),
    ("livekit", "{", "livekit", '"{"', "an object"),
    ("livekit", {"replicas": 0}, "livekit.replicas", "0", "how many SFUs"),
    ("livekit", {"replicas": 3}, "livekit.replicas", "3", "at most 2, one per node"),
    ("livekit", {"api_key": "a b"}, "livekit.api_key", '"a b"', "letters, digits"),
    ("livekit", {"interfaces": []}, "livekit.interfaces", "[]", "at least one"),
    ("livekit", {"interfaces": ["eth 0"]}, "livekit.interfaces[0]", '"eth 0"', "network interfaces"),
    ("livekit", {"log_level": "loud"}, "livekit.log_level", '"loud"', "one of debug, info"),
    ("livekit", {"region": "a/b"}, "livekit.region", '"a/b"', "letters"),
    ("livekit", {"room_auto_create": "maybe"}, "livekit.room_auto_create", '"maybe"', "true"),
    ("livekit", {"drain_seconds": 18001}, "livekit.drain_seconds", "18001", "seconds from 5 to"),
    ("livekit", {"priority_class": "A"}, "livekit.priority_class", '"A"', "PriorityClass"),
    (
        "livekit",
        {"resources": {"cpu_request": "1 core"}},
        "livekit.resources.cpu_request",
        '"1 core"',
        "250m",
    ),
    (
        "livekit",
        {"resources": {"cpu_reqest": "1"}},
        "livekit.resources.cpu_reqest",
        '"1"',
        "mean `cpu_request`?",
    ),
    ("livekit", {"resources": {"cpu_request": "512Mi"}}, "livekit.resources.cpu_request", '"512Mi"', "cores"),
    ("livekit", {"resources": {"cpu_request": "0m"}}, "livekit.resources.cpu_request", '"0m"', "above 0"),
    # Thousandths of a byte, and bytes: both are accepted by Kubernetes, and kill every container.
    (
        "edge",
        {"resources": {"memory_limit": "512m"}},
        "edge.resources.memory_limit",
        '"512m"',
        "at least 1Mi",
    ),
    ("edge", {"resources": {"memory_limit": "512"}}, "edge.resources.memory_limit", '"512"', "at least 1Mi"),
    (
        "livekit",
        {"resources": {"memory_request": "2.5Gi"}},
        "livekit.resources.memory_request",
        '"2.5Gi"',
        "at most `memory_limit`, 2Gi",
    ),
    (
        "turn",
        {"resources": {"memory_request": "1G", "memory_limit": "900Mi"}},
        "turn.resources.memory_request",
        '"1G"',
        "at most `memory_limit`, 900Mi",
    ),
    (
        "edge",
        {"resources": {"memory_request": "1Gi"}},
        "edge.resources.memory_request",
        '"1Gi"',
        "at most `memory_limit`, 512Mi",
    ),
    ("environment", "prod", "environment", '"prod"', "one of local, staging, production"),
    ("environment", "Staging", "environment", '"Staging"', "mean `staging`?"),
    ("turn", {"kind": "coturm"}, "turn.kind", '"coturm"', "mean `coturn`?"),
    (
        "turn",
        {"kind": "embedded", "replicas": 2},
        "turn.replicas",
        "a value, with kind `embedded`",
        "nothing",
    ),
    ("turn", {"replicas": 3}, "turn.replicas", "3", "at most 2, one per node"),
    ("turn", {"ttl_seconds": 59}, "turn.ttl_seconds", "59", "from 60 to 86400"),
    ("turn", {"drain_seconds": 4}, "turn.drain_seconds", "4", "seconds from 5 to"),
    ("edge", {"kind": "haproxi"}, "edge.kind", '"haproxi"', "mean `haproxy`?"),
    ("edge", {"replicas": 3}, "edge.replicas", "3", "at most 2, one per node"),
    (
        "edge",
        {"kind": "ingress", "replicas": 2},
        "edge.replicas",
        "a value, with kind `ingress`",
        "`haproxy`",
    ),
    (
        "edge",
        {"kind": "ingress", "expose": "load_balancer"},
        "edge.expose",
        "a value, with kind `ingress`",
        "`haproxy`",
    ),
    ("edge", {"ingress_class": "nginx"}, "edge.ingress_class", "a value, with kind `haproxy`", "`ingress`"),
    (
        "edge",
        {"ingress_annotations": {"a": "b"}},
        "edge.ingress_annotations",
        "a value, with kind `haproxy`",
        "`ingress`",
    ),
    ("edge", {"drain_seconds": 1}, "edge.drain_seconds", "1", "seconds from 5 to"),
    ("edge", {"tls": {"kind": "secret"}}, "edge.tls.secret_name", "nothing", "the name of a Secret"),
    ("edge", {"tls": {"kind": "cert_manager"}}, "edge.tls.issuer", "nothing", "an issuer"),
    (
        "edge",
        {"tls": {"kind": "own_ca", "secret_name": "x"}},
        "edge.tls.secret_name",
        "a value, with kind `own_ca`",
        "unless the kind is `secret`",
    ),
    (
        "edge",
        {"tls": {"kind": "secret", "secret_name": "x", "issuer": {"name": "y"}}},
        "edge.tls.issuer",
        "a value, with kind `secret`",
        "unless the kind is `cert_manager`",
    ),
    (
        "edge",
        {"rate_limit": {"connections": 0}},
        "edge.rate_limit.connections",
        "0",
        "from 1 to 100000",
    ),
    ("redis", {"kind": "sentinal"}, "redis.kind", '"sentinal"', "mean `sentinel`?"),
    ("redis", {"kind": "external"}, "redis.external", "nothing", "an object"),
    (
        "redis",
        {"external": {"address": "r:1"}},
        "redis.external",
        "a value, with kind `single`",
        "`external`",
    ),
    (
        "redis",
        {"kind": "sentinel", "maxmemory_mib": 1024},
        "redis.storage_size",
        '"1Gi"',
        "at least 2048Mi, twice `maxmemory_mib`",
    ),
    ("redis", {"timeout_ms": 100}, "redis.timeout_ms", "100", "from 200 to 30000"),
    ("redis", {"failover_ms": 999}, "redis.failover_ms", "999", "from 1000 to 60000"),
    (
        "network",
        {"node_cidrs": ["10.0.0.0/33"]},
        "network.node_cidrs[0]",
        '"10.0.0.0/33"',
        "IPv4 networks",
    ),
    ("network", {"node_cidrs": ["everyone"]}, "network.node_cidrs[0]", '"everyone"', "IPv4 networks"),
    ("network", {"node_cidrs": ["10.0.0.1/8"]}, "network.node_cidrs[0]", '"10.0.0.1/8"', "IPv4 networks"),
    (
        "network",
        {"node_cidrs": ["10.0.0.0/24", "0.0.0.0/0"]},
        "network.node_cidrs[1]",
        '"0.0.0.0/0"',
        "/8 or narrower",
    ),
    ("network", {"dns_cidrs": ["fd00::/64"]}, "network.dns_cidrs[0]", '"fd00::/64"', "name servers"),
    ("network", {"dns_cidrs": ["0.0.0.0/1"]}, "network.dns_cidrs[0]", '"0.0.0.0/1"', "/8 or narrower"),
    (
        "network",
        {"ingress_cidrs": ["10.0.0.0/8"]},
        "network.ingress_cidrs",
        "a value, with kind `haproxy`",
        "`ingress`",
    ),
    ("network", {"client_cidrs": []}, "network.client_cidrs", "[]", "one of the keys node_cidrs"),
    ("object_store", {"kind": "extern"}, "object_store.kind", '"extern"', "mean `external`?"),
    ("object_store", {"bucket": "Big_Bucket"}, "object_store.bucket", '"Big_Bucket"', "3 to 63"),
    ("object_store", {"kind": "external"}, "object_store.external", "nothing", "an object"),
    (
        "object_store",
        {"external": {"endpoint": "https://s3.example.com", "secret_name": "x"}},
        "object_store.external",
        "a value, with kind `embedded`",
        "`external`",
    ),
    (
        "object_store",
        {"kind": "external", "external": {"endpoint": "https://s3.example.com:70000", "secret_name": "x"}},
        "object_store.external.endpoint",
        '"https://s3.example.com:70000"',
        "without a path",
    ),
    (
        "object_store",
        {"kind": "external", "external": {"endpoint": "https://s3.example.com"}},
        "object_store.external",
        "neither of a Secret and annotations",
        "either `secret_name`",
    ),
    (
        "object_store",
        {
            "kind": "external",
            "external": {
                "endpoint": "https://s3.example.com",
                "secret_name": "x",
                "service_account_annotations": {"a": "b"},
            },
        },
        "object_store.external",
        "both of a Secret and annotations",
        "either `secret_name`",
    ),
    ("database", {"kind": "external"}, "database.secret_name", "nothing", "the name of a Secret"),
    (
        "database",
        {"secret_name": "x"},
        "database.secret_name",
        "a value, with kind `embedded`",
        "`external`",
    ),
    ("redis", {"maxmemory_mib": 1}, "redis.maxmemory_mib", "1", "16 to 65536"),
    ("redis", {"storage_size": "big"}, "redis.storage_size", '"big"', "a Kubernetes quantity"),
    ("redis", {"storage_class": "A"}, "redis.storage_class", '"A"', "StorageClass"),
    ("token_api", {"replicas": 0}, "token_api.replicas", "0", "from 1 to 20"),
    ("images", None, "images", "nothing", "token_api"),
    (
        "images",
        images(token_api="r.io/x:latest"),
        "images.token_api",
        '"r.io/x:latest"',
        "other than `latest`",
    ),
    ("images", images(token_api="docker.io/x"), "images.token_api", '"docker.io/x"', "with a tag"),
    ("images", images(token_api="r.io/x@sha256:12"), "images.token_api", '"r.io/x@sha256:12"', "a digest"),
    ("images", images(token_api=None), "images.token_api", "nothing", "`make images-push` publishes it"),
    ("images", images(object_store_setup=None), "images.object_store_setup", "nothing", "`make images-push`"),
    ("images", images(livekit="x"), "images.livekit", '"x"', "registry/path:tag"),
    (
        "images",
        images(token_api="token-api:1"),
        "images.token_api",
        '"token-api:1"',
        "or `images.registry` set",
    ),
    ("images", images(redis="library/redis:7"), "images.redis", '"library/redis:7"', "with its registry"),
    (
        "images",
        images(registry="https://r.io"),
        "images.registry",
        '"https://r.io"',
        "a registry, with a path",
    ),
    (
        "images",
        images(pull_secrets=["Not A Name"]),
        "images.pull_secrets[0]",
        '"Not A Name"',
        "existing Secrets",
    ),
    ("secrets", {"generation": 0}, "secrets.generation", "1 characters (not shown)", "raising it"),
    ("ports", {"signal": 0}, "ports.signal", "0", "1 to 65535"),
    ("ports", {"signal": 7881}, "ports.ice_tcp", "7881/TCP", "ports.signal (7881/TCP) does not take"),
    ("ports", {"turn_relay": {"first": 39000}}, "ports.turn_relay", "39000-40199/UDP", "within 40000-49999"),
    ("ports", {"media_udp": 3478}, "ports.turn_udp", "3478/UDP", "ports.media_udp (3478/UDP) does not take"),
    ("ports", {"turn_tls": 853}, "ports.turn_tls", "853/TCP", "an unprivileged port"),
    ("ports", {"turn_tcp": 3479}, "ports.turn_tcp", "3479", "coturn serves TCP and UDP on the same one"),
    (
        "ports",
        {"edge_https": 5349},
        "ports.edge_https",
        "5349/TCP",
        "ports.turn_tls (5349/TCP) does not take",
    ),
    ("ports", {"edge_http": 443}, "ports.edge_http", "443/TCP", "ports.edge_https (443/TCP) does not take"),
    ("ports", {"turn_tls": 3478}, "ports.turn_tls", "3478/TCP", "ports.turn_tcp (3478/TCP) does not take"),
    ("ports", {"turn_metrics": 6789}, "ports.livekit_metrics", "6789/TCP", "ports.turn_metrics (6789/TCP)"),
    ("ports", {"media_udp": 30000}, "ports.media_udp", "30000/UDP", "outside the NodePorts"),
    ("ports", {"ice_tcp": 50000}, "ports.ice_tcp", "50000/TCP", "outside the ephemeral ports"),
    ("ports", {"edge_https": 32000}, "ports.edge_https", "32000/TCP", "outside the NodePorts"),
    ("ports", {"edge_https": 6443}, "ports.edge_https", "6443/TCP", "Kubernetes does not use"),
    (
        "ports",
        {"turn_relay": {"first": 40100, "last": 40001}},
        "ports.turn_relay",
        "40100-40001/UDP",
        "not above its last",
    ),
    (
        "ports",
        {"turn_relay": {"first": 40000, "last": 40018}},
        "ports.turn_relay",
        "40000-40018/UDP",
        "at least 20 ports",
    ),
    (
        "ports",
        {"turn_relay": {"first": 30000, "last": 30100}},
        "ports.turn_relay",
        "30000-30100/UDP",
        "within 40000-49999",
    ),
    ("ports", {"redis_sentinel": 6379}, "ports.redis_sentinel", "6379/TCP", "both are ports of pod redis"),
    ("ports", {"token_api": 80}, "ports.token_api", "80/TCP", "an unprivileged port"),
    ("ports", {"turn_udb": 1}, "ports.turn_udb", "1", "mean `turn_udp`?"),
]


# What production must say beside the minimum; each refusal below is one change to it.
PRODUCTION: dict[str, Any] = {
    "environment": "production",
    "domain": "live.example.com",
    "edge": {"tls": {"kind": "secret", "secret_name": "edge-certificate"}},
    "redis": {"kind": "sentinel"},
    "object_store": {
        "kind": "external",
        "external": {"endpoint": "https://s3.example.com", "secret_name": "recordings-store"},
    },
    "database": {"kind": "external", "secret_name": "token-api-database"},
}
EXTERNAL_REDIS: dict[str, Any] = {"kind": "external", "external": {"address": "redis.example.com:6380"}}
PLAIN_STORE = {"kind": "external", "external": {"endpoint": "http://s3.example.com", "secret_name": "x"}}

REFUSED_IN_PRODUCTION: list[tuple[str, Any, str, str, str]] = [
    ("nodes", nodes(("a", "192.0.2.1")), "nodes", "1 node", "at least 2"),
    ("domain", "intranet", "domain", '"intranet"', "clients' DNS"),
    ("domain", "lk.test", "domain", '"lk.test"', "clients' DNS"),
    ("livekit", {"replicas": 1}, "livekit.replicas", "1", "at least 2"),
    ("turn", {"replicas": 1}, "turn.replicas", "1", "at least 2"),
    ("edge", {**PRODUCTION["edge"], "replicas": 1}, "edge.replicas", "1", "at least 2"),
    ("edge", None, "edge.tls.kind", '"own_ca"', "no browser trusts"),
    ("edge", {"kind": "ingress"}, "edge.tls.kind", '"own_ca"', "no browser trusts"),
    ("edge", {**PRODUCTION["edge"], "plain_localhost": True}, "edge.plain_localhost", "true", "without TLS"),
    ("redis", None, "redis.kind", '"single"', "`sentinel` or `external`"),
    ("object_store", None, "object_store.kind", '"embedded"', "`external` in production"),
    (
        "object_store",
        PLAIN_STORE,
        "object_store.external.endpoint",
        '"http://s3.example.com"',
        "an https:// address",
    ),
    ("database", None, "database.kind", '"embedded"', "`external` in production"),
    ("token_api", {"replicas": 1}, "token_api.replicas", "1", "at least 2"),
]
