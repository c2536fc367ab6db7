"""charts/token-api: its database, its environment as the service reads it, and where it may connect to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from tests.manifests.reach import PRIVATE, PUBLIC, reaches
from tests.manifests.rendering import (
    CASES,
    CHARTS,
    Case,
    Manifest,
    containers,
    of_kind,
    pod_specs,
    refusal,
    template,
    workloads,
)
from token_api.settings import Settings, load_settings, variables

OWN_CASES = [case for case in CASES if case.chart == "token-api"]
STRONG = "0123456789abcdefghijklmnopqrstuv"
# What Secrets hold, each of its own kind; all others are strong secrets.
_FROM_SECRETS = {
    "LIVEKIT_API_KEY": "platform",
    "LIVEKIT_API_KEY_PREVIOUS": "earlier",
    "TOKEN_API_DATABASE_URL": "postgresql://token-api:password@database.example.com:5432/token_api",
    "TOKEN_API_GETSTREAM_KEY": "getstream",
    "TOKEN_API_S3_ACCESS_KEY": "token-api",
}


def _values(name: str, **changes: Any) -> dict[str, Any]:
    given = yaml.safe_load((CHARTS / "token-api" / "ci" / f"{name}-values.yaml").read_text())
    return {**given, **changes}


def _environment(manifests: list[Manifest]) -> dict[str, str]:
    [container] = containers(manifests)
    return {
        variable["name"]: variable.get("value")
        or _FROM_SECRETS.get(variable["name"], f"{variable['name']}-{STRONG}")
        for variable in container["env"]
    }


def _settings(manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    for name, value in _environment(manifests).items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize("case", OWN_CASES, ids=str)
def test_the_service_takes_its_environment_and_reads_every_variable(
    manifests: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    _settings(manifests, monkeypatch)
    # SQLite reads its own.
    assert set(_environment(manifests)) - set(variables()) <= {"SQLITE_TMPDIR"}


def test_what_is_configured_arrives(helm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = _settings(template(helm, "token-api", _values("everything")), monkeypatch)
    assert settings.host_jwks_url == "https://www.example.org:8443/.well-known/jwks.json"
    assert (settings.host_jwt_issuer, settings.host_jwt_audience) == ("https://www.example.org", "token-api")
    assert settings.cors_origins == ("https://www.example.org", "https://app.example.org")
    assert [*map(str, settings.trusted_proxies)] == ["10.0.0.0/8", "2001:db8::/64"]
    assert settings.webhook_allow == ("10.1.0.0/16",)
    assert (settings.chat_provider, settings.getstream_key) == ("getstream", "getstream")
    assert (settings.s3_endpoint, settings.s3_bucket) == ("https://s3.example.org", "recordings")
    assert (settings.s3_region, settings.s3_access_key) == ("eu-central-1", "token-api")
    assert settings.recordings_retention_days == 90
    assert set(settings.livekit_secrets) == {"platform", "earlier"}
    assert settings.host_jwt_secret is None
    by_secret = _settings(template(helm, "token-api", _values("embedded")), monkeypatch)
    assert isinstance(by_secret.host_jwt_secret, SecretStr)


def test_an_embedded_database_is_on_a_volume_of_the_one_pod(
    helm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = template(helm, "token-api", _values("embedded"))
    [workload] = workloads(objects)
    assert (workload["kind"], workload["spec"]["replicas"]) == ("StatefulSet", 1)
    [claim] = workload["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "256Mi"
    assert claim["spec"]["storageClassName"] == "fast"
    [container] = containers(objects)
    [mount] = container["volumeMounts"]
    assert mount["name"] == claim["metadata"]["name"]
    settings = _settings(objects, monkeypatch)
    assert settings.database == f"sqlite:///{mount['mountPath']}/token-api.db"
    # What does not fit into memory: the root is read-only.
    assert _environment(objects)["SQLITE_TMPDIR"] == mount["mountPath"]
    # The volume is the group's, which the process is of.
    [spec] = pod_specs(objects)
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]


def test_an_external_database_is_any_number_of_replicas_s(
    helm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = template(helm, "token-api", _values("everything"))
    [workload] = workloads(objects)
    assert (workload["kind"], workload["spec"]["replicas"]) == ("Deployment", 5)
    settings = _settings(objects, monkeypatch)
    assert settings.database.startswith("postgresql://")
    [spec] = pod_specs(objects)
    [volume] = spec["volumes"]
    # Its authority's certificate, where the Secret has one.
    assert (volume["secret"]["secretName"], volume["secret"]["optional"]) == ("database", True)
    assert [item["key"] for item in volume["secret"]["items"]] == ["ca.crt"]


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("embedded", {"replicas": 2}, "/replicas"),
        ("embedded", {"database": {"kind": "external"}}, "/database"),
        ("embedded", {"hostAuth": {"kind": "secret", "issuer": "", "audience": ""}}, "/hostAuth"),
        ("embedded", {"hostAuth": {"kind": "jwks", "issuer": "i", "audience": "a"}}, "/hostAuth"),
        ("embedded", {"chat": {"provider": "getstream"}}, "/chat"),
        ("embedded", {"recordings": {"secretName": "x"}}, "/recordings"),
    ],
)
def test_what_the_service_would_refuse_helm_refuses(
    helm: Path, name: str, changes: dict[str, Any], said: str
) -> None:
    assert refusal(helm, "token-api", _values(name)) is None
    stderr = refusal(helm, "token-api", _values(name, **changes))
    assert stderr is not None
    assert said in stderr


def test_webhooks_reach_the_internet_and_nothing_inside(helm: Path) -> None:
    objects = template(helm, "token-api", _values("embedded"))
    assert reaches(objects, PUBLIC, 443)
    assert not reaches(objects, PUBLIC, 80)
    assert [address for address in PRIVATE if reaches(objects, address, 443)] == []
    assert reaches(objects, "192.0.2.1", 7880)
    assert not reaches(objects, "192.0.2.1", 443)


def test_exceptions_are_the_configured_ones(helm: Path) -> None:
    objects = template(helm, "token-api", _values("everything"))
    assert reaches(objects, PUBLIC, 8443)
    # A node's own address, which would pass for a public one.
    assert not reaches(objects, "8.8.8.8", 443)
    assert reaches(objects, "10.1.2.3", 9999)
    assert reaches(objects, "10.2.0.1", 8443)
    assert not reaches(objects, "10.2.0.1", 443)
    assert [address for address in PRIVATE if reaches(objects, address, 443)] == []


def test_the_database_is_reached_where_it_is(helm: Path) -> None:
    objects = template(helm, "token-api", _values("everything"))
    assert reaches(objects, "198.51.100.1", 15432)
    assert not reaches(objects, PUBLIC, 15432)
    anywhere = template(helm, "token-api", _values("two-nodes"))
    assert reaches(anywhere, PUBLIC, 5432)
    assert reaches(anywhere, "10.0.0.1", 5432)
    assert not reaches(template(helm, "token-api", _values("embedded")), PUBLIC, 5432)


def test_the_object_store_is_reached_where_it_is_and_at_its_port_only(helm: Path) -> None:
    objects = template(helm, "token-api", _values("everything"))
    assert reaches(objects, "10.3.0.1", 9000)
    assert not reaches(objects, "10.3.0.1", 443)
    assert not reaches(objects, "10.4.0.1", 9000)
    [policy] = of_kind(objects, "NetworkPolicy")
    peers = [peer for rule in policy["spec"]["egress"] for peer in rule["to"]]
    assert {"podSelector": {"matchLabels": {"app.kubernetes.io/name": "object-store"}}} in peers
    # Labels of nobody would be everybody's.
    none = template(helm, "token-api", _values("two-nodes"))
    assert not any(
        "podSelector" in peer
        for rule in of_kind(none, "NetworkPolicy")[0]["spec"]["egress"]
        for peer in rule["to"]
    )


@pytest.mark.parametrize("case", OWN_CASES, ids=str)
def test_a_stopping_pod_gets_the_time_of_all_its_phases(case: Case, manifests: list[Manifest]) -> None:
    [spec] = pod_specs(manifests)
    [container] = spec["containers"]
    # The service drains by itself: a sleep before it would be time that it does not know of.
    assert "lifecycle" not in container
    environment = _environment(manifests)
    phases = [int(environment[f"TOKEN_API_{phase}_SECONDS"]) for phase in ("DRAIN", "SHUTDOWN", "WORKER")]
    assert all(phases)
    assert spec["terminationGracePeriodSeconds"] == sum(phases) + 5
