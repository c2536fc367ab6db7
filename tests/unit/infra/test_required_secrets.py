"""A stack needs exactly the secrets that the program reads. Errors name missing ones and the command."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from livekit_platform import certificates as own_certificates
from livekit_platform import required_secrets
from livekit_platform.certificates import new_authority, new_server_certificate, server_names
from livekit_platform.config import Certificates, Secrets
from livekit_platform.config_loader import SECRET_SECTIONS, describe, parse, parse_sections
from livekit_platform.required_secrets import expiry_warnings, required
from tests.unit.infra.program import certificates, completed, minimal_config, raw, run

COMMON = {"livekit_api_secret", "turn_secret", "api_service_key"}
STORE = {"s3_root_secret_key", "s3_secret_key", "s3_egress_secret_key", "s3_token_api_secret_key"}
EXTERNAL_REDIS = {"kind": "external", "external": {"address": "redis.example.com:6379"}}
EXTERNAL_STORE = {
    "kind": "external",
    "external": {"endpoint": "https://s3.example.com", "secret_name": "s3-keys"},
}
HOST_AUTH = {"host_auth": {"kind": "secret", "issuer": "https://host.example.com", "audience": "token-api"}}
PASSWORD = "a-given-password-0123456789abcdef"

CASES: list[tuple[dict[str, Any], set[str]]] = [
    ({}, COMMON | STORE | {"redis_password"}),
    ({"turn": {"kind": "embedded"}}, COMMON | STORE | {"redis_password"}),
    ({"redis": {"kind": "sentinel"}}, COMMON | STORE | {"redis_password", "redis_replication_password"}),
    ({"object_store": EXTERNAL_STORE}, COMMON | {"redis_password"}),
    ({"token_api": HOST_AUTH}, COMMON | STORE | {"redis_password", "host_jwt_secret"}),
    ({"egress": {"kind": "livekit"}}, COMMON | STORE | {"redis_password"}),
    ({"redis": EXTERNAL_REDIS, "secrets": {"redis_password": PASSWORD}}, COMMON | STORE),
]


def of_staging(config: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The mistakes in `config`, to which no secrets are added."""
    _, mistakes = parse(raw(config), set(SECRET_SECTIONS), stack="staging")
    return [(mistake.key, mistake.given, mistake.allowed) for mistake in mistakes]


@pytest.mark.parametrize(("changes", "needed"), CASES)
def test_every_missing_secret_is_named_with_its_command(
    kubeconfig: Path, changes: dict[str, Any], needed: set[str]
) -> None:
    config = {**minimal_config(kubeconfig), "certificates": certificates("lk.localhost"), **changes}
    allowed = "a secret: `make secrets STACK=staging` creates it"
    assert sorted(of_staging(config)) == sorted((f"secrets.{name}", "nothing", allowed) for name in needed)


@pytest.mark.parametrize(("changes", "needed"), CASES)
def test_what_is_needed_is_enough_for_the_program(
    kubeconfig: Path, changes: dict[str, Any], needed: set[str]
) -> None:
    """The program reads no other secret: a missing one would raise KeyError."""
    config = {**minimal_config(kubeconfig), **changes}
    sections, _ = parse_sections(raw(config), stack="staging")
    assert set(required(sections)) == needed
    assert set(completed(config)["secrets"]) == needed | set(changes.get("secrets", {}))
    run(config)


def test_every_secret_that_can_be_generated_is_needed_by_some_stack() -> None:
    assert set().union(*(needed for _, needed in CASES)) == set(Secrets.names())


def test_missing_certificates_are_named_for_their_kind_only(kubeconfig: Path) -> None:
    secrets = completed(minimal_config(kubeconfig))["secrets"]
    config = {**minimal_config(kubeconfig), "secrets": secrets}
    allowed = "`make secrets STACK=staging` creates it"
    assert of_staging(config) == [
        (f"certificates.{name}", "nothing", allowed) for name in Certificates.model_fields
    ]
    given = {"tls": {"kind": "secret", "secret_name": "wildcard"}}
    assert of_staging({**config, "edge": given}) == []


def test_the_local_stack_is_completed_by_make_up(kubeconfig: Path) -> None:
    _, mistakes = parse(raw(minimal_config(kubeconfig)), stack="local")
    assert mistakes
    assert all("`make up` creates it" in mistake.allowed for mistake in mistakes)


def test_missing_secrets_stand_with_every_other_mistake(kubeconfig: Path) -> None:
    config = {**minimal_config(kubeconfig), "nodes": [], "turn": {"kind": "coturm"}}
    keys = [key for key, _, _ in of_staging(config)]
    assert {"nodes", "turn.kind", "secrets.turn_secret", "secrets.s3_secret_key"} <= set(keys)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"ca_private_key": "server_private_key"}, "ca_certificate"),
        ({"server_private_key": "ca_private_key"}, "server_certificate"),
    ],
)
def test_a_key_that_is_not_the_certificate_s_is_refused_and_not_shown(
    kubeconfig: Path, changes: dict[str, str], key: str
) -> None:
    config = completed(minimal_config(kubeconfig))
    made = config["certificates"]
    config["certificates"] = {**made, **{name: made[other] for name, other in changes.items()}}
    [(found, given, allowed)] = of_staging(config)
    assert (found, given) == (f"certificates.{key}", "a certificate")
    assert "does not belong to its private key" in allowed
    assert "`make secrets STACK=staging` replaces it" in allowed


def test_certificates_of_another_domain_are_refused(kubeconfig: Path) -> None:
    config = {**completed(minimal_config(kubeconfig)), "domain": "lk.example.org"}
    assert [key for key, _, _ in of_staging(config)] == [
        "certificates.ca_certificate",
        "certificates.server_certificate",
    ]


def test_no_value_is_in_a_message(kubeconfig: Path) -> None:
    made = certificates("lk.localhost")
    config = {
        **completed(minimal_config(kubeconfig)),
        "certificates": {**made, "ca_private_key": made["server_private_key"]},
    }
    _, mistakes = parse(raw(config), set(), stack="staging")
    message = describe(mistakes, "staging")
    for value in (*made.values(), *config["secrets"].values()):
        assert value not in message
        assert json.dumps(value)[1:-1] not in message


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(days=31), None),
        (timedelta(days=29, hours=1), "expires in 29 days"),
        (timedelta(hours=-1), "has expired"),
    ],
)
def test_a_certificate_is_warned_of_30_days_before_it_expires(
    monkeypatch: pytest.MonkeyPatch, left: timedelta, said: str | None
) -> None:
    domain = "lk.example.org"
    authority = new_authority(domain)
    server = new_server_certificate(server_names(domain), authority)
    made = Certificates(ca_certificate=authority.certificate, server_certificate=server.certificate)
    at = own_certificates.expiry(server.certificate) - left
    monkeypatch.setattr(required_secrets, "now", lambda: at)
    found = list(expiry_warnings(made, "staging"))
    if said is None:
        assert found == []
    else:
        assert found == [f"certificates.server_certificate {said}: `make secrets STACK=staging` renews it"]
    # When the authority expires, the server's certificate has also expired.
    at = own_certificates.expiry(authority.certificate) - left
    assert len(list(expiry_warnings(made, "staging"))) == (1 if said is None else 2)
