"""What a stack may not be configured to: every refused value, and rules over several keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest

from livekit_platform.mistakes import Mistake
from tests.unit.infra.program import RECORDER_IMAGE, Deployment, minimal_config, parse_completed, run
from tests.unit.infra.refused import (
    EXTERNAL_REDIS,
    PRODUCTION,
    REFUSED,
    REFUSED_IN_PRODUCTION,
    STRONG,
    images,
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


@pytest.mark.parametrize(
    ("section", "value", "key"),
    [
        (
            "redis",
            {**EXTERNAL_REDIS, "external": {**EXTERNAL_REDIS["external"], "cidrs": ["0.0.0.0/0"]}},
            "redis.external.cidrs[0]",
        ),
        (
            "egress",
            {"backup": {"endpoint": "https://b.example.com", "bucket": "calls", "cidrs": ["0.0.0.0/0"]}},
            "egress.backup.cidrs[0]",
        ),
    ],
)
def test_workers_are_let_into_networks_not_everywhere(
    kubeconfig: Path, section: str, value: Any, key: str
) -> None:
    changes = {**PRODUCTION, "redis": EXTERNAL_REDIS, "secrets": {"redis_password": STRONG}, section: value}
    [mistake] = mistakes_of(kubeconfig, changes)
    assert (mistake.key, mistake.given) == (key, '"0.0.0.0/0"')
    assert "/8 or narrower" in mistake.allowed


@pytest.mark.parametrize("cores", ["4", "4000m", "4.5"])
def test_workers_of_livekit_egress_have_the_cores_and_the_disk_of_a_room(
    kubeconfig: Path, cores: str
) -> None:
    given = {"kind": "livekit", "resources": {"cpu_request": cores}}
    assert mistakes_of(kubeconfig, {"egress": given}) == []
    assert mistakes_of(kubeconfig, {"egress": {**given, "temporary_storage": "8950Mi"}}) == []
    # Where nothing records, nothing needs them.
    none = {"kind": "none", "resources": {"cpu_request": "100m"}, "temporary_storage": "1Mi"}
    assert mistakes_of(kubeconfig, {"egress": none}) == []


@pytest.mark.parametrize(
    ("cores", "cost", "least"),
    [("1", None, None), ("999m", None, "1"), ("500m", 0.4, None), ("500m", 0.5, "0.625")],
)
def test_recorders_keep_a_fifth_of_their_cores_free(
    kubeconfig: Path, cores: str, cost: float | None, least: str | None
) -> None:
    requests = ("room_composite", "participant", "track_composite", "track")
    costs = {} if cost is None else dict.fromkeys(requests, cost)
    found = _of_recorder(kubeconfig, resources={"cpu_request": cores}, cpu_cost=costs)
    assert [mistake.key for mistake in found] == ([] if least is None else ["egress.resources.cpu_request"])
    assert all(mistake.allowed.startswith(f"at least {least}: ") for mistake in found)


def test_a_recorder_has_the_cores_of_each_request_that_it_can_meet(kubeconfig: Path) -> None:
    costs = {"room_composite": 0.3, "max_utilization": 1.0}
    [mistake] = _of_recorder(kubeconfig, resources={"cpu_request": "300m"}, cpu_cost=costs)
    assert mistake.allowed.startswith("at least 0.6: ")
    assert "`egress.cpu_cost.participant`" in mistake.allowed
    counted = {**costs, "cores": 0.6}
    assert _of_recorder(kubeconfig, resources={"cpu_request": "300m"}, cpu_cost=counted) == []


@pytest.mark.parametrize(
    ("own", "size", "least", "text"),
    [
        ({}, "356Mi", None, ""),
        ({}, "355Mi", "356Mi", "a worker with 1 cores records 1 at once, and each recording needs 320 MiB"),
        ({"resources": {"cpu_request": "4"}}, "1423Mi", None, ""),
        ({"resources": {"cpu_request": "4"}}, "1422Mi", "1423Mi", "a worker with 4 cores records 4 at once"),
        (
            {"cpu_cost": {"cores": 2, "room_composite": 0.4, "max_utilization": 1}},
            "1Gi",
            "1778Mi",
            "a worker with 2 cores records 5 at once",
        ),
    ],
)
def test_a_recorders_spool_has_space_for_all_recordings_at_once(
    kubeconfig: Path, own: dict[str, Any], size: str, least: str | None, text: str
) -> None:
    found = _of_recorder(kubeconfig, spool={"size": size}, **own)
    assert [(mistake.key, mistake.given) for mistake in found] == (
        [] if least is None else [("egress.spool.size", f'"{size}"')]
    )
    for mistake in found:
        assert mistake.allowed.startswith(f"at least {least}: ")
        assert text in mistake.allowed
    # The others have no spool.
    for kind in ("livekit", "none"):
        assert mistakes_of(kubeconfig, {"egress": {"kind": kind, "spool": {"size": "1Mi"}}}) == []


def _of_recorder(kubeconfig: Path, **own: Any) -> list[Mistake]:
    """The mistakes of a configuration with recorders; `own` are further keys of `egress`."""
    given = {"kind": "recorder", **own}
    return mistakes_of(kubeconfig, {"egress": given, "images": images(recorder=RECORDER_IMAGE)})


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


def test_the_embedded_servers_relays_are_ports_that_nodes_reserve(kubeconfig: Path) -> None:
    def given(first: int, last: int) -> dict[str, Any]:
        ports = {"turn_relay": {"first": first, "last": last}}
        return {**minimal_config(kubeconfig), "turn": {"kind": "embedded"}, "ports": ports}

    config, mistakes = parse_completed(given(43000, 49999))
    assert config is not None, mistakes
    _, mistakes = parse_completed(given(43000, 50000))
    [mistake] = mistakes
    assert (mistake.key, mistake.given) == ("ports.turn_relay", "43000-50000/UDP")
    assert "ports within 40000-49999" in mistake.allowed


def test_as_many_relays_as_the_expected_participants_hold_are_enough(kubeconfig: Path) -> None:
    ports = {"turn_relay": {"first": 40000, "last": 45999}}
    turn = {"expected_participants": 1000, "allocations_per_address": 250}
    config, mistakes = parse_completed({**minimal_config(kubeconfig), "turn": turn, "ports": ports})
    assert config is not None, mistakes


@pytest.mark.parametrize(("secret", "refused"), [({"secret_name": "store"}, False), ({}, True)])
def test_recordings_are_deleted_by_a_key_only(
    kubeconfig: Path, secret: dict[str, str], refused: bool
) -> None:
    identity = {} if secret else {"service_account_annotations": {"a": "b"}}
    external = {"endpoint": "https://s3.example.com", **secret, **identity}
    mistakes = mistakes_of(
        kubeconfig,
        {
            "object_store": {"kind": "external", "external": external},
            "recordings": {"retention_days": 30},
        },
    )
    assert [(mistake.key, mistake.given) for mistake in mistakes] == (
        [("recordings.retention_days", "30")] if refused else []
    )
