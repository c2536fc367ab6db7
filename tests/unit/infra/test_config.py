"""Every rule of the configuration: what breaks it, and what the owner is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

from livekit_platform.config import PlatformConfig, Secrets
from livekit_platform.config_loader import describe, parse
from livekit_platform.config_rules import Mistake
from tests.unit.infra.program import Deployment, local_config, minimal_config, raw, run

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


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[2]}={case[3]}")
def test_a_wrong_value_is_named_with_what_was_given_and_what_is_allowed(
    kubeconfig: Path, case: tuple[str, Any, str, str, str]
) -> None:
    section, value, key, given, allowed = case
    [mistake] = mistakes_of(kubeconfig, {section: value})
    assert (mistake.key, mistake.given) == (key, given)
    assert allowed in mistake.allowed


def test_the_minimal_and_the_local_configuration_are_valid(kubeconfig: Path) -> None:
    for config in (minimal_config(kubeconfig), local_config(kubeconfig)):
        assert parse(raw(config))[1] == []


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


@pytest.mark.parametrize("case", REFUSED_IN_PRODUCTION, ids=lambda case: f"{case[2]}={case[3]}")
def test_what_production_refuses_staging_takes(
    kubeconfig: Path, case: tuple[str, Any, str, str, str]
) -> None:
    section, value, key, given, allowed = case
    changed = {**PRODUCTION, section: value}
    [mistake] = mistakes_of(kubeconfig, changed)
    assert (mistake.key, mistake.given) == (key, given)
    assert allowed in mistake.allowed
    assert "in production" in mistake.allowed
    assert mistakes_of(kubeconfig, {**changed, "environment": "staging"}) == []


@pytest.mark.parametrize("environment", ["staging", "production"])
@pytest.mark.parametrize("domain", [None, "lk.localhost", "localhost"])
def test_away_from_this_machine_the_domain_is_another_than_this_machine_s(
    kubeconfig: Path, environment: str, domain: str | None
) -> None:
    changes = {**PRODUCTION, "environment": environment, "domain": domain}
    [mistake] = mistakes_of(kubeconfig, changes)
    assert (mistake.key, mistake.given) == ("domain", json.dumps(domain or "lk.localhost"))
    assert "every client's own machine" in mistake.allowed


def test_a_production_with_all_that_it_needs_is_valid(kubeconfig: Path) -> None:
    assert mistakes_of(kubeconfig, PRODUCTION) == []


def test_production_s_redis_is_not_asked_for_its_password_in_the_open(kubeconfig: Path) -> None:
    secrets = {"redis_password": STRONG}
    plain = {"kind": "external", "external": {**EXTERNAL_REDIS["external"], "tls": False}}
    [mistake] = mistakes_of(kubeconfig, {**PRODUCTION, "redis": plain, "secrets": secrets})
    assert (mistake.key, mistake.given) == ("redis.external.tls", "false")
    assert mistakes_of(kubeconfig, {**PRODUCTION, "redis": EXTERNAL_REDIS, "secrets": secrets}) == []


@pytest.mark.parametrize(
    ("external", "given"),
    [
        ({}, "no address"),
        ({"sentinel_master_name": "m"}, "`sentinel_master_name`"),
        (
            {"address": "r:1", "sentinel_master_name": "m", "sentinel_addresses": ["s:1"]},
            "`address`, `sentinel_master_name`, `sentinel_addresses`",
        ),
    ],
)
def test_an_external_redis_is_found_in_one_way(kubeconfig: Path, external: Any, given: str) -> None:
    changes = {"redis": {"kind": "external", "external": external}, "secrets": {"redis_password": STRONG}}
    [mistake] = mistakes_of(kubeconfig, changes)
    assert (mistake.key, mistake.given) == ("redis.external", given)


def test_an_external_redis_needs_the_password_that_it_has(kubeconfig: Path) -> None:
    [mistake] = mistakes_of(kubeconfig, {"redis": EXTERNAL_REDIS})
    assert (mistake.key, mistake.given) == ("secrets.redis_password", "nothing")


@pytest.mark.parametrize("address", ["redis", "redis:0", "redis:65536", "redis:", "redis.example.com:6379/0"])
def test_an_address_without_a_port_is_refused(kubeconfig: Path, address: str) -> None:
    redis = {"kind": "external", "external": {"address": address}}
    [mistake] = mistakes_of(kubeconfig, {"redis": redis, "secrets": {"redis_password": STRONG}})
    assert (mistake.key, mistake.given) == ("redis.external.address", json.dumps(address))


@pytest.mark.parametrize("preview", [True, False], ids=["preview", "up"])
@pytest.mark.parametrize("case", [*REFUSED[::7], *REFUSED_IN_PRODUCTION[::4]], ids=lambda case: case[2])
def test_what_is_refused_ends_the_program_before_anything_is_registered(
    kubeconfig: Path, case: tuple[str, Any, str, str, str], preview: bool
) -> None:
    section, value, key, _, _ = case
    base = PRODUCTION if case in REFUSED_IN_PRODUCTION else {}
    config = {**minimal_config(kubeconfig), **base, section: value}
    registered = Deployment()
    with pytest.raises(pulumi.RunError, match="has 1 mistake") as caught:
        run(
            {name: given for name, given in config.items() if given is not None},
            preview=preview,
            into=registered,
            nodes=[],
        )
    assert f"livekit-platform:{key}: given " in str(caught.value)
    assert registered == Deployment()


def test_every_part_with_resources_of_its_own_is_looked_at(kubeconfig: Path) -> None:
    parts = [name for name, part in PlatformConfig.model_fields.items() if hasattr(part.default, "resources")]
    for part in parts:
        [mistake] = mistakes_of(kubeconfig, {part: {"resources": {"memory_request": "99Gi"}}})
        assert mistake.key == f"{part}.resources.memory_request"


def test_an_unknown_key_comes_with_the_nearest_known_one(kubeconfig: Path) -> None:
    [mistake] = mistakes_of(kubeconfig, {"redsi": {"kind": "single"}})
    assert mistake.key == "redsi"
    assert mistake.allowed.endswith("did you mean `redis`?")


def test_a_key_like_no_other_is_answered_with_all_keys(kubeconfig: Path) -> None:
    [mistake] = mistakes_of(kubeconfig, {"zzz": "1"})
    assert mistake.allowed.startswith("one of the keys kubeconfig, context, environment")
    assert "did you mean" not in mistake.allowed


def test_all_mistakes_are_found_at_once_in_values_and_in_rules(kubeconfig: Path) -> None:
    mistakes = mistakes_of(
        kubeconfig,
        {
            "kubeconfig": "nowhere",
            "nodes": nodes(("a", "192.0.2.1"), ("a", "192.0.2.2")),
            "livekit": {"replicas": 5, "log_levl": "info"},
            "ports": {"signal": 6443, "turn_relay": {"first": 30000, "last": 40000}},
            "typo": "x",
        },
    )
    assert [mistake.key for mistake in mistakes] == [
        "typo",
        "kubeconfig",
        "livekit.log_levl",
        "nodes[1].name",
        "ports.signal",
        "ports.turn_relay",
    ]
    message = describe(mistakes, "local")
    assert message.startswith("the configuration of stack 'local' has 6 mistakes:\n")
    assert all(
        f"\n  livekit-platform:{mistake.key}: given {mistake.given}; " in message for mistake in mistakes
    )


def test_a_part_given_in_part_keeps_the_rest_of_its_own_defaults(make_config: Any) -> None:
    config = make_config(edge={"resources": {"cpu_request": "1"}}, ports={"turn_relay": {"last": 40999}})
    given = config.edge.resources
    assert (given.cpu_request, given.memory_request, given.memory_limit) == ("1", "64Mi", "512Mi")
    assert (config.ports.turn_relay.first, config.ports.turn_relay.last) == (40000, 40999)
    assert config.livekit.resources.memory_limit == "2Gi"


def test_one_wrong_entry_of_a_list_does_not_also_blame_the_list(kubeconfig: Path) -> None:
    [mistake] = mistakes_of(kubeconfig, {"nodes": nodes(("a", "300.0.0.1"))})
    assert mistake.key == "nodes[0].address"


@pytest.mark.parametrize("field", Secrets.names())
@pytest.mark.parametrize("value", ["short", "a" * 40, STRONG + " ", "é" + STRONG, "0123456789" * 26])
def test_a_weak_secret_is_refused_and_never_shown(kubeconfig: Path, field: str, value: str) -> None:
    [mistake] = mistakes_of(kubeconfig, {"secrets": {field: value}})
    assert mistake == Mistake(f"secrets.{field}", f"{len(value)} characters (not shown)", mistake.allowed)
    assert "32 to 256" in mistake.allowed
    assert value not in describe([mistake], "local")


def test_a_secret_in_plain_text_is_refused(kubeconfig: Path) -> None:
    _, mistakes = parse(raw({**minimal_config(kubeconfig), "secrets": {"redis_password": STRONG}}), set())
    [mistake] = mistakes
    assert mistake.key == "secrets.redis_password"
    assert "pulumi config set --secret" in mistake.allowed
    assert STRONG not in describe(mistakes, "local")


def test_one_secret_may_not_serve_twice(kubeconfig: Path) -> None:
    [mistake] = mistakes_of(
        kubeconfig, {"secrets": {"livekit_api_secret": STRONG, "api_service_key": STRONG}}
    )
    assert mistake.key == "secrets.api_service_key"
    assert STRONG not in mistake.given


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("secrets", STRONG),
        ("secrets", json.dumps(STRONG)),
        ("secretz", STRONG),
        ("domain", f"{STRONG}_"),
        ("images", json.dumps(images(token_api=f"{STRONG}:1"))),
    ],
)
def test_what_pulumi_holds_encrypted_is_not_shown_wherever_it_stands(
    kubeconfig: Path, key: str, text: str
) -> None:
    mistakes = mistakes_of(kubeconfig, {key: text}, {"secrets", key})
    assert mistakes
    assert STRONG not in describe(mistakes, "local")


def test_given_secrets_are_not_in_the_configuration_s_repr(make_config: Any) -> None:
    config = make_config(secrets={"redis_password": STRONG})
    assert STRONG not in repr(config)
    assert config.secrets.given()["redis_password"].get_secret_value() == STRONG


def test_translated_turn_servers_stand_where_sfus_do(kubeconfig: Path) -> None:
    """coturn with an external address relays to its own node, whatever is denied."""
    translated = [
        {"name": "node-a", "address": "198.51.100.1", "internal_address": "10.0.0.1"},
        {"name": "node-b", "address": "198.51.100.2", "internal_address": "10.0.0.2"},
    ]
    given = {**minimal_config(kubeconfig), "nodes": translated, "livekit": {"replicas": 1}}
    _, mistakes = parse(raw(given))
    assert [(mistake.key, mistake.given) for mistake in mistakes] == [("turn.replicas", "2")]
    config, mistakes = parse(raw({**given, "turn": {"replicas": 1}}))
    assert config is not None, mistakes
