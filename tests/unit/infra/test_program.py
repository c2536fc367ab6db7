"""The whole program under Pulumi mocks: what it registers, and what it must never show."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from pulumi.runtime import rpc

from livekit_platform.config import Secrets
from tests.unit.infra.program import (
    CHART,
    GENERATED_VALUE,
    SECRET,
    Deployment,
    certificates,
    local_config,
    minimal_config,
    run,
    stack_config,
)

SECRET_OUTPUTS = {
    *("livekit_api_secret", "api_service_key", "host_jwt_secret"),
    *("s3_access_key", "s3_secret_key"),
}
_CHARTS = ("coturn", "edge", "egress", "livekit-server", "object-store", "redis", "token-api")
GIVEN = {name: f"given-{name}-0123456789abcdef0123456789" for name in Secrets.names()}


@pytest.fixture(scope="module")
def deployment(shared_kubeconfig: Path) -> Deployment:
    """The resources that the program registers for stack `local`. Tests share them; do not change them."""
    return run(local_config(shared_kubeconfig))


def secret_data(deployment: Deployment, name: str) -> dict[str, str]:
    [secret] = [secret for secret in deployment.of_type(SECRET) if secret.name == name]
    data = secret.inputs["data"]
    assert rpc.is_rpc_secret(data), f"Secret {name} would stand unencrypted in the state"
    return {key: base64.b64decode(text).decode() for key, text in rpc.unwrap_rpc_secret(data).items()}


def test_the_program_registers_what_the_platform_is_made_of(deployment: Deployment) -> None:
    assert sorted((entry.type.split(":")[-1], entry.name) for entry in deployment.resources.values()) == [
        *(("Chart", chart) for chart in _CHARTS),
        ("Coturn", "coturn"),
        ("Edge", "edge"),
        ("Egress", "egress"),
        ("LiveKit", "livekit-server"),
        ("Namespace", "namespace"),
        ("Namespace", "namespace"),
        ("NetworkPolicy", "namespace-default-deny"),
        ("ObjectStore", "object-store"),
        ("PriorityClass", "livekit-api"),
        ("PriorityClass", "livekit-media"),
        ("PriorityClass", "livekit-state"),
        ("Redis", "redis"),
        ("Secret", "coturn-config"),
        ("Secret", "edge-tls"),
        ("Secret", "egress-config"),
        ("Secret", "livekit-server-config"),
        ("Secret", "object-store-accounts"),
        ("Secret", "object-store-root"),
        ("Secret", "redis-acl"),
        ("Secret", "token-api-env"),
        ("Secret", "token-api-recordings"),
        ("Tls", "tls"),
        ("TokenApi", "token-api"),
        ("kubernetes", "cluster"),
    ]


def test_every_resource_but_the_top_components_stands_in_a_component(deployment: Deployment) -> None:
    for entry in deployment.resources.values():
        parent = entry.parent.split("::")[2].split("$")[-1]
        top = entry.type.startswith(("livekit-platform:components:", "pulumi:providers:"))
        assert parent == "pulumi:pulumi:Stack" if top else parent.startswith("livekit-platform:components:")


def test_everything_in_the_cluster_goes_through_the_one_explicit_provider(
    deployment: Deployment, shared_kubeconfig: Path
) -> None:
    [(urn, provider)] = [
        entry for entry in deployment.resources.items() if entry[1].type == "pulumi:providers:kubernetes"
    ]
    in_cluster = [entry for entry in deployment.resources.values() if entry.type.startswith("kubernetes:")]
    assert len(in_cluster) == 21
    assert {entry.provider for entry in in_cluster} == {f"{urn}::cluster-id"}
    assert provider.inputs["kubeconfig"] == str(shared_kubeconfig)
    # The provider takes its inputs as JSON text.
    for switch in ("enableServerSideApply", "enableConfigMapMutable", "enableSecretMutable"):
        assert provider.inputs[switch] == "true"


def test_parts_come_after_what_they_need(deployment: Deployment) -> None:
    def needs(component: str) -> set[str]:
        [entry] = [
            entry
            for entry in deployment.resources.values()
            if entry.type == f"livekit-platform:components:{component}"
        ]
        return {urn.split("$")[-1] for urn in entry.dependencies}

    assert "kubernetes:core/v1:Namespace::namespace" in needs("Redis")
    assert f"{CHART}::redis" in needs("LiveKit")
    assert f"{CHART}::livekit-server" in needs("TokenApi")
    # It looks up the names of what it leads to when it starts, and serves the certificate.
    for part in ("livekit-server", "token-api", "object-store"):
        assert f"{CHART}::{part}" in needs("Edge")
    assert "kubernetes:core/v1:Secret::edge-tls" in needs("Edge")
    for chart, secrets in (
        ("coturn", ["coturn-config"]),
        ("redis", ["redis-acl"]),
        ("livekit-server", ["livekit-server-config"]),
        ("object-store", ["object-store-accounts", "object-store-root"]),
        ("token-api", ["token-api-env", "token-api-recordings"]),
    ):
        assert sorted(urn.split("::")[-1] for urn in deployment.chart(chart).dependencies) == secrets


@pytest.mark.parametrize(
    ("kind", "first", "last"), [("coturn", "LiveKit", "Coturn"), ("embedded", "Coturn", "LiveKit")]
)
def test_the_turn_server_that_goes_is_gone_before_the_other_comes(
    kubeconfig: Path, kind: str, first: str, last: str
) -> None:
    """Both take the same ports of the nodes."""
    deployment = run({**local_config(kubeconfig), "turn": {"kind": kind}})
    [waiting] = [e for e in deployment.resources.values() if e.type.endswith(f":components:{last}")]
    chart = {"LiveKit": "livekit-server", "Coturn": "coturn"}[first]
    assert f"{CHART}::{chart}" in {urn.split("$")[-1] for urn in waiting.dependencies}


def test_outputs_are_those_that_tests_and_users_rely_on(deployment: Deployment) -> None:
    shown = {key: value for key, value in deployment.outputs.items() if key not in SECRET_OUTPUTS}
    assert shown.pop("ca_certificate").startswith("-----BEGIN CERTIFICATE-----")
    assert shown == {
        "namespace": "livekit",
        "domain": "lk.localhost",
        "signal_url": "wss://sfu.lk.localhost",
        "signal_urls": ["ws://192.0.2.1:7880", "ws://192.0.2.2:7880"],
        "turn_urls": [
            "turn:192.0.2.1:3478?transport=udp",
            "turn:192.0.2.2:3478?transport=udp",
            "turn:192.0.2.1:3478?transport=tcp",
            "turn:192.0.2.2:3478?transport=tcp",
            "turns:turn.lk.localhost:443?transport=tcp",
        ],
        "api_url": "https://api.lk.localhost",
        "edge_addresses": ["192.0.2.1", "192.0.2.2"],
        "s3_endpoint": "https://s3.lk.localhost",
        "s3_bucket": "recordings",
        "egress_kind": "recorder",
        "livekit_api_key": "platform",
    }


def test_secret_outputs_are_marked_and_nothing_else_is(deployment: Deployment) -> None:
    marked = {key for key, value in deployment.outputs.items() if rpc.is_rpc_secret(value)}
    assert marked == SECRET_OUTPUTS


def test_no_resource_needs_a_dynamic_provider(deployment: Deployment) -> None:
    """The state of a dynamic resource would contain a pickled class of the program."""
    assert not [entry.type for entry in deployment.resources.values() if "dynamic" in entry.type]


def test_the_servers_get_the_secrets_of_the_configuration(deployment: Deployment) -> None:
    api_secret = GENERATED_VALUE.format(name="livekit-api-secret")
    server = yaml.safe_load(secret_data(deployment, "livekit-server-config")["config.yaml"])
    assert server["keys"] == {"platform": api_secret}
    assert server["redis"]["password"] == GENERATED_VALUE.format(name="redis-password")
    assert secret_data(deployment, "token-api-env") == {
        "LIVEKIT_API_KEY": "platform",
        "LIVEKIT_API_SECRET": api_secret,
        "TOKEN_API_SERVICE_KEY": GENERATED_VALUE.format(name="api-service-key"),
        "TOKEN_API_HOST_JWT_SECRET": GENERATED_VALUE.format(name="host-jwt-secret"),
    }
    accounts = json.loads(secret_data(deployment, "object-store-accounts")["users.json"])["accessAccounts"]
    assert secret_data(deployment, "token-api-recordings") == {
        "access_key_id": "token-api",
        "secret_access_key": accounts["token-api"]["secret"],
    }
    assert set(secret_data(deployment, "redis-acl")) == {"users.acl"}


def test_other_secrets_replace_them_without_another_resource(kubeconfig: Path) -> None:
    """Also in production: no resource that a change would have to delete is protected."""
    config = stack_config("production", kubeconfig)
    before, deployment = run(config), run({**config, "secrets": GIVEN})
    assert set(deployment.resources) == set(before.resources)
    server = yaml.safe_load(secret_data(deployment, "livekit-server-config")["config.yaml"])
    assert server["keys"] == {"platform": GIVEN["livekit_api_secret"]}
    assert rpc.is_rpc_secret(deployment.outputs["api_service_key"])
    assert rpc.unwrap_rpc_secret(deployment.outputs["api_service_key"]) == GIVEN["api_service_key"]


@pytest.mark.parametrize("secrets", [{}, GIVEN], ids=["generated", "given"])
def test_no_secret_stands_anywhere_but_in_marked_values(kubeconfig: Path, secrets: dict[str, str]) -> None:
    config = {**minimal_config(kubeconfig), "secrets": secrets}
    deployment = run(config)
    values = [*secrets.values(), *(GENERATED_VALUE.format(name=name.replace("_", "-")) for name in GIVEN)]
    keys = certificates("lk.localhost")
    values += ["".join(keys[name].splitlines()[1:-1]) for name in ("ca_private_key", "server_private_key")]
    in_the_open = json.dumps(
        [_without_secrets(entry.inputs) for entry in deployment.resources.values()]
        + [_without_secrets(deployment.outputs)]
    )
    in_the_open = in_the_open.replace("\\n", "")
    for value in values:
        assert value not in in_the_open
        assert base64.b64encode(value.encode()).decode() not in in_the_open


def _without_secrets(value: Any) -> Any:
    if rpc.is_rpc_secret(value):
        return "[secret]"
    if isinstance(value, dict):
        return {key: _without_secrets(inner) for key, inner in value.items()}
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("stack_name", "protected"), [("local", False), ("production", True)])
def test_what_cannot_be_made_again_is_protected_in_production(
    kubeconfig: Path, stack_name: str, protected: bool
) -> None:
    deployment = run(stack_config(stack_name, kubeconfig))
    assert deployment.chart("redis").protected is protected
    # A Job or a Deployment must be replaceable at any time.
    assert not deployment.chart("object-store").protected
    assert not deployment.chart("livekit-server").protected


def test_every_chart_value_is_known_at_the_first_preview(kubeconfig: Path) -> None:
    preview = run(local_config(kubeconfig), preview=True)
    applied = run(local_config(kubeconfig))
    for chart in _CHARTS:
        assert preview.chart(chart).inputs == applied.chart(chart).inputs


def test_two_runs_declare_the_same(kubeconfig: Path) -> None:
    config = local_config(kubeconfig)
    assert run(config).resources == run(config).resources


def test_a_wrong_configuration_ends_the_program_before_any_resource(kubeconfig: Path) -> None:
    config = {**local_config(kubeconfig), "nodes": [], "trun": {}}
    del config["kubeconfig"]
    with pytest.raises(pulumi.RunError) as caught:
        run(config)
    message = str(caught.value)
    assert "has 3 mistakes" in message
    for key in ("kubeconfig: given nothing", "nodes: given []", 'trun: given "{}"'):
        assert f"livekit-platform:{key}; allowed: " in message
