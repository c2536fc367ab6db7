"""Every rule of the configuration: what breaks it, and what the owner is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from livekit_platform.config_loader import describe, parse
from livekit_platform.config_rules import Mistake
from tests.unit.infra.program import local_config, minimal_config, raw

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
    ("livekit", {"drain_seconds": 18001}, "livekit.drain_seconds", "18001", "from 5 to 18000"),
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
    ("turn", {"kind": "coturn"}, "turn.kind", '"coturn"', "`embedded`"),
    ("redis", {"kind": "sentinel"}, "redis.kind", '"sentinel"', "`single`"),
    ("redis", {"maxmemory_mib": 1}, "redis.maxmemory_mib", "1", "16 to 65536"),
    ("redis", {"storage_size": "big"}, "redis.storage_size", '"big"', "a Kubernetes quantity"),
    ("redis", {"storage_class": "A"}, "redis.storage_class", '"A"', "StorageClass"),
    ("redis", {"client_cidrs": ["10.0.0.1/8"]}, "redis.client_cidrs[0]", '"10.0.0.1/8"', "IPv4 networks"),
    ("token_api", {"replicas": 0}, "token_api.replicas", "0", "from 1 to 20"),
    ("images", None, "images", "nothing", "token_api"),
    ("images", {}, "images.token_api", "nothing", "`make up` sets it"),
    ("images", {"token_api": "repo/x:latest"}, "images.token_api", '"repo/x:latest"', "other than `latest`"),
    ("images", {"token_api": "docker.io/x"}, "images.token_api", '"docker.io/x"', "with a tag"),
    ("images", {"token_api": "a.b/c:1", "livekit": "x"}, "images.livekit", '"x"', "full image reference"),
    ("secrets", {"generation": 0}, "secrets.generation", "1 characters (not shown)", "raising it"),
    ("ports", {"signal": 0}, "ports.signal", "0", "1 to 65535"),
    ("ports", {"signal": 7881}, "ports.ice_tcp", "7881/TCP", "ports.signal (7881/TCP) does not take"),
    ("ports", {"turn_relay": {"first": 39000}}, "ports.turn_relay", "39000-40199/UDP", "within 40000-49999"),
    ("ports", {"token_api_node_port": 8080}, "ports.token_api_node_port", "8080/TCP", "a NodePort: 30000"),
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


def test_an_unknown_key_comes_with_the_nearest_known_one(kubeconfig: Path) -> None:
    [mistake] = mistakes_of(kubeconfig, {"redsi": {"kind": "single"}})
    assert mistake.key == "redsi"
    assert mistake.allowed.endswith("did you mean `redis`?")


def test_a_key_like_no_other_is_answered_with_all_keys(kubeconfig: Path) -> None:
    [mistake] = mistakes_of(kubeconfig, {"zzz": "1"})
    assert mistake.allowed.startswith("one of the keys kubeconfig, context, namespace")
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


def test_one_wrong_entry_of_a_list_does_not_also_blame_the_list(kubeconfig: Path) -> None:
    [mistake] = mistakes_of(kubeconfig, {"nodes": nodes(("a", "300.0.0.1"))})
    assert mistake.key == "nodes[0].address"


@pytest.mark.parametrize("field", ["livekit_api_secret", "redis_password", "api_service_key"])
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
    [("secrets", STRONG), ("secrets", json.dumps(STRONG)), ("secretz", STRONG), ("domain", f"{STRONG}_")],
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
