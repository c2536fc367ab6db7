"""How mistakes are told: unknown keys, secrets, and all of them at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from livekit_platform.config import PlatformConfig, Secrets
from livekit_platform.config_loader import describe, parse
from livekit_platform.mistakes import Mistake
from tests.unit.infra.program import completed, local_config, minimal_config, parse_completed, raw
from tests.unit.infra.refused import (
    STRONG,
    images,
    mistakes_of,
    nodes,
)


def test_the_minimal_and_the_local_configuration_are_valid(kubeconfig: Path) -> None:
    for config in (minimal_config(kubeconfig), local_config(kubeconfig)):
        assert parse_completed(config)[1] == []


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
            "ports": {"signal": 6443, "turn_relay": {"first": 40000, "last": 30000}},
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
    config = make_config(edge={"resources": {"cpu_request": "1"}}, ports={"turn_relay": {"last": 48999}})
    given = config.edge.resources
    assert (given.cpu_request, given.memory_request, given.memory_limit) == ("1", "64Mi", "512Mi")
    assert (config.ports.turn_relay.first, config.ports.turn_relay.last) == (40000, 48999)
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
    given = completed({**minimal_config(kubeconfig), "secrets": {"redis_password": STRONG}})
    _, mistakes = parse(raw(given), {"certificates"}, stack="staging")
    assert "secrets.redis_password" in {mistake.key for mistake in mistakes}
    assert {mistake.key for mistake in mistakes} == {f"secrets.{name}" for name in given["secrets"]}
    assert all("pulumi config set --secret" in mistake.allowed for mistake in mistakes)
    assert STRONG not in describe(mistakes, "local")


def test_a_private_key_in_plain_text_is_refused(kubeconfig: Path) -> None:
    given = completed(minimal_config(kubeconfig))
    _, mistakes = parse(raw(given), {"secrets"}, stack="staging")
    assert [mistake.key for mistake in mistakes] == [
        "certificates.ca_private_key",
        "certificates.server_private_key",
    ]
    assert "PRIVATE KEY" not in describe(mistakes, "local")


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
    assert config.secrets.present()["redis_password"].get_secret_value() == STRONG
