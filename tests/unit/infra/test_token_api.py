"""What token-api is given: its database, who may call, where it may connect to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pulumi.runtime import rpc

from livekit_platform.values import token_api
from tests.unit.infra.conftest import ConfigMaker
from tests.unit.infra.program import GENERATED_VALUE, Deployment, minimal_config, run
from tests.unit.infra.refused import JWTS, STRONG
from tests.unit.infra.test_program import secret_data

EXTERNAL = {"kind": "external", "secret_name": "token-api-database"}
JWKS = {**JWTS, "kind": "jwks", "jwks_url": "https://www.example.com:8443/keys"}
STORE = {"endpoint": "https://s3.example.com", "secret_name": "recordings-store"}


@pytest.mark.parametrize(
    ("database", "given", "replicas"),
    [({}, None, 1), ({}, 1, 1), (EXTERNAL, None, 2), (EXTERNAL, 1, 1), (EXTERNAL, 5, 5)],
)
def test_one_replica_has_a_file_and_any_number_a_server(
    make_config: ConfigMaker, database: dict[str, Any], given: int | None, replicas: int
) -> None:
    config = make_config(database=database, token_api={} if given is None else {"replicas": given})
    assert token_api.chart_values(config)["replicas"] == replicas


def test_the_database_is_as_configured(make_config: ConfigMaker) -> None:
    own = token_api.chart_values(make_config(database={"storage_size": "5Gi", "storage_class": "fast"}))
    assert own["database"] == {
        "kind": "embedded",
        "secretName": "",
        "persistence": {"size": "5Gi", "storageClassName": "fast"},
    }
    given = token_api.chart_values(
        make_config(database={**EXTERNAL, "port": 6432, "cidrs": ["10.40.0.0/24"]})
    )
    assert (given["database"]["kind"], given["database"]["secretName"]) == ("external", "token-api-database")
    policy = given["networkPolicy"]
    assert (policy["databaseCidrs"], policy["databasePort"]) == (["10.40.0.0/24"], 6432)


def test_webhooks_go_to_the_internet_and_to_no_node(make_config: ConfigMaker) -> None:
    nodes = [{"name": "node-a", "address": "203.0.113.1", "internal_address": "10.0.0.1"}]
    network = {"node_cidrs": ["10.244.0.0/32"]}
    config = make_config(nodes=nodes, network=network, token_api={"webhook_allow": ["10.30.0.0/24"]})
    policy = token_api.chart_values(config)["networkPolicy"]
    assert policy["publicPorts"] == [443]
    assert policy["ownCidrs"] == ["203.0.113.1/32", "10.0.0.1/32", "10.244.0.0/32"]
    assert policy["webhookCidrs"] == ["10.30.0.0/24"]
    closed = token_api.chart_values(make_config(token_api={"webhook_ports": []}))["networkPolicy"]
    assert closed["publicPorts"] == []


def test_the_host_s_keys_are_reached_wherever_they_are(make_config: ConfigMaker) -> None:
    def policy(**changes: Any) -> dict[str, Any]:
        config = make_config(token_api={"host_auth": {**JWKS, **changes}})
        found: dict[str, Any] = token_api.chart_values(config)["networkPolicy"]
        return found

    assert policy()["publicPorts"] == [443, 8443]
    assert policy()["jwksCidrs"] == []
    private = policy(jwks_cidrs=["10.20.0.0/24"])
    assert private["publicPorts"] == [443]
    assert (private["jwksCidrs"], private["jwksPort"]) == (["10.20.0.0/24"], 8443)
    assert policy(jwks_url="https://www.example.com/keys", jwks_cidrs=["10.20.0.0/24"])["jwksPort"] == 443


def test_the_service_knows_who_signs_its_callers_jwts(make_config: ConfigMaker) -> None:
    assert token_api.chart_values(make_config())["hostAuth"]["kind"] == "none"
    values = token_api.chart_values(make_config(token_api={"host_auth": JWKS}))
    assert values["hostAuth"] == {
        "kind": "jwks",
        "previousSecret": False,
        "issuer": JWTS["issuer"],
        "audience": "token-api",
        "jwksUrl": JWKS["jwks_url"],
    }
    secret = {"host_auth": {**JWTS, "kind": "secret"}}
    before = token_api.chart_values(make_config(token_api=secret))["secretChecksum"]
    after = token_api.chart_values(make_config(token_api=secret, secrets={"host_jwt_secret": STRONG}))
    assert after["secretChecksum"] != before


@pytest.mark.parametrize(
    ("store", "secret", "endpoint"),
    [
        ({}, "token-api-recordings", "https://s3.lk.localhost"),
        ({"kind": "external", "external": STORE}, "recordings-store", "https://s3.example.com"),
        # Nothing to sign with: there are no presigned URLs.
        (
            {
                "kind": "external",
                "external": {"endpoint": STORE["endpoint"], "service_account_annotations": {"a": "b"}},
            },
            "",
            "https://s3.example.com",
        ),
    ],
)
def test_presigned_urls_lead_to_the_store_that_clients_reach(
    make_config: ConfigMaker, store: dict[str, Any], secret: str, endpoint: str
) -> None:
    recordings = token_api.chart_values(make_config(object_store=store))["recordings"]
    assert (recordings["secretName"], recordings["endpoint"]) == (secret, endpoint)


def test_the_service_itself_reaches_the_store_past_the_edge_and_nothing_beside(
    make_config: ConfigMaker,
) -> None:
    own = token_api.chart_values(make_config(ports={"object_store": 7777}))
    assert own["recordings"]["innerEndpoint"] == "http://object-store.livekit.svc:7777"
    policy = own["networkPolicy"]
    assert (policy["storePodLabels"], policy["storeCidrs"]) == (
        {"app.kubernetes.io/name": "object-store"},
        [],
    )
    assert (policy["storePort"], policy["publicPorts"]) == (7777, [443])
    public = {**STORE, "endpoint": "https://s3.example.com:9000"}
    for external, ports, cidrs in (
        (public, [443, 9000], []),
        ({**public, "cidrs": ["10.60.0.0/24"]}, [443], ["10.60.0.0/24"]),
    ):
        config = make_config(object_store={"kind": "external", "external": external})
        values = token_api.chart_values(config)
        assert values["recordings"]["innerEndpoint"] == ""
        policy = values["networkPolicy"]
        assert (policy["publicPorts"], policy["storeCidrs"], policy["storePort"]) == (ports, cidrs, 9000)
        assert policy["storePodLabels"] == {}


def test_rate_limits_go_by_what_the_edge_says_of_clients(make_config: ConfigMaker) -> None:
    assert token_api.chart_values(make_config())["trustedProxies"] == ["0.0.0.0/0"]
    # What a controller lets through may be made up.
    ingress = {"edge": {"kind": "ingress"}}
    assert token_api.chart_values(make_config(**ingress))["trustedProxies"] == []
    known = make_config(**ingress, network={"ingress_cidrs": ["198.51.100.0/28"]})
    assert token_api.chart_values(known)["trustedProxies"] == ["198.51.100.0/28"]


def _deployed(kubeconfig: Path, **changes: Any) -> Deployment:
    return run({**minimal_config(kubeconfig), **changes})


def test_of_a_given_store_no_key_is_made(kubeconfig: Path) -> None:
    deployment = _deployed(kubeconfig, object_store={"kind": "external", "external": STORE})
    assert "token-api-recordings" not in {entry.name for entry in deployment.resources.values()}


@pytest.mark.parametrize("kind", ["none", "jwks"])
def test_a_secret_that_nobody_takes_jwts_by_is_nowhere(kubeconfig: Path, kind: str) -> None:
    auth = JWKS if kind == "jwks" else {"kind": kind}
    deployment = _deployed(kubeconfig, token_api={"host_auth": auth})
    assert "TOKEN_API_HOST_JWT_SECRET" not in secret_data(deployment, "token-api-env")
    assert "host_jwt_secret" not in deployment.outputs


def test_while_a_key_is_replaced_both_are_taken_by_livekit_and_by_token_api(kubeconfig: Path) -> None:
    deployment = _deployed(
        kubeconfig,
        livekit={"api_key": "platform-2", "previous_api_key": "platform"},
        secrets={"livekit_previous_api_secret": STRONG},
    )
    present = GENERATED_VALUE.format(name="livekit-api-secret")
    server = yaml.safe_load(secret_data(deployment, "livekit-server-config")["config.yaml"])
    assert server["keys"] == {"platform-2": present, "platform": STRONG}
    assert server["webhook"]["api_key"] == "platform-2"
    environment = secret_data(deployment, "token-api-env")
    assert environment["LIVEKIT_API_KEY"] == "platform-2"
    assert environment["LIVEKIT_API_SECRET"] == present
    assert environment["LIVEKIT_API_KEY_PREVIOUS"] == "platform"
    assert environment["LIVEKIT_API_SECRET_PREVIOUS"] == STRONG
    values = rpc.unwrap_rpc_secret(deployment.chart("token-api").inputs["values"])
    assert values["livekit"]["previousKey"] is True
    assert values["previousServiceKey"] is False


def test_while_a_secret_of_the_host_application_is_replaced_token_api_accepts_both(kubeconfig: Path) -> None:
    earlier = {"previous_api_service_key": f"1{STRONG}", "previous_host_jwt_secret": f"2{STRONG}"}
    auth = {"host_auth": {**JWTS, "kind": "secret"}}
    deployment = _deployed(kubeconfig, token_api=auth, secrets=earlier)
    environment = secret_data(deployment, "token-api-env")
    assert environment["TOKEN_API_SERVICE_KEY"] == GENERATED_VALUE.format(name="api-service-key")
    assert environment["TOKEN_API_HOST_JWT_SECRET"] == GENERATED_VALUE.format(name="host-jwt-secret")
    assert environment["TOKEN_API_SERVICE_KEY_PREVIOUS"] == f"1{STRONG}"
    assert environment["TOKEN_API_HOST_JWT_SECRET_PREVIOUS"] == f"2{STRONG}"
    values = rpc.unwrap_rpc_secret(deployment.chart("token-api").inputs["values"])
    assert values["previousServiceKey"] is True
    assert values["hostAuth"]["previousSecret"] is True
