"""What a stack may not be configured to: every refused value, and rules over several keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

from tests.unit.infra.program import Deployment, minimal_config, parse_completed, run
from tests.unit.infra.refused import (
    EXTERNAL_REDIS,
    PRODUCTION,
    REFUSED,
    REFUSED_IN_PRODUCTION,
    STRONG,
    mistakes_of,
)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case[2]}={case[3]}")
def test_a_wrong_value_is_named_with_what_was_given_and_what_is_allowed(
    kubeconfig: Path, case: tuple[str, Any, str, str, str]
) -> None:
    section, value, key, given, allowed = case
    [mistake] = mistakes_of(kubeconfig, {section: value})
    assert (mistake.key, mistake.given) == (key, given)
    assert allowed in mistake.allowed


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


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_relays_that_no_policy_holds_are_for_the_local_stack_only(kubeconfig: Path, environment: str) -> None:
    given = {**minimal_config(kubeconfig), "turn": {"kind": "embedded"}}
    config, mistakes = parse_completed(given)
    assert config is not None, mistakes
    _, mistakes = parse_completed({**given, "environment": environment, "domain": "live.example.com"})
    [mistake] = [mistake for mistake in mistakes if mistake.key == "turn.kind"]
    assert mistake.given == '"embedded"'
    assert f"coturn in environment {environment}" in mistake.allowed
