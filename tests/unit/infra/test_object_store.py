"""What the object store is given, and what the program registers for it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from pulumi.runtime import rpc

from livekit_platform.config import PlatformConfig
from livekit_platform.values import object_store
from object_store_setup.rights import RIGHTS
from tests.unit.infra.conftest import ConfigMaker
from tests.unit.infra.program import CHART, GENERATED_VALUE, SECRET, minimal_config, run

STRONG = "0123456789abcdefghijklmnopqrstuv"
KEYS = ("s3_root_secret_key", "s3_secret_key", "s3_egress_secret_key", "s3_token_api_secret_key")
EXTERNAL: dict[str, Any] = {
    "kind": "external",
    "bucket": "calls",
    "external": {"endpoint": "https://s3.example.com", "secret_name": "s3-keys"},
}


def checksum(config: PlatformConfig) -> str:
    value = object_store.chart_values(config)["gateway"]["secretsChecksum"]
    assert isinstance(value, str)
    return value


def test_every_account_that_has_rights_has_a_key_and_none_is_an_administrator() -> None:
    secrets = {field: f"{field}-{STRONG}" for field in KEYS}
    accounts = json.loads(object_store.accounts_file(secrets))["accessAccounts"]
    assert set(accounts) == set(RIGHTS)
    for name, account in accounts.items():
        assert account["access"] == name
        assert account["role"] == "user"
    assert len({account["secret"] for account in accounts.values()}) == len(RIGHTS)
    assert "s3_root_secret_key" not in str(accounts)


def test_the_gateway_is_open_to_who_uses_it_and_to_ingress_controllers_only_with_ingress(
    make_config: ConfigMaker,
) -> None:
    policy = object_store.chart_values(make_config())["networkPolicy"]
    assert policy == {
        "clientPodLabels": [{"app.kubernetes.io/name": name} for name in ("edge", "token-api")],
        "clientCidrs": [],
        "fromAllNamespaces": False,
        "dnsCidrs": [],
    }
    by_ingress = object_store.chart_values(make_config(edge={"kind": "ingress"}))["networkPolicy"]
    assert by_ingress["fromAllNamespaces"] is True


def test_only_the_platforms_own_pages_may_read_objects_by_script(make_config: ConfigMaker) -> None:
    config = make_config(domain="lk.example.org")
    assert object_store.page_origins(config) == ["https://api.lk.example.org"]
    local = make_config(domain="lk.localhost", edge={"plain_localhost": True}, environment="local")
    assert object_store.page_origins(local) == [
        "https://api.lk.localhost",
        "http://localhost",
        "http://localhost:*",
    ]


@pytest.mark.parametrize("key", KEYS)
def test_a_new_key_restarts_the_gateway_and_proves_the_keys_again(make_config: ConfigMaker, key: str) -> None:
    generated, given = make_config(), make_config(secrets={key: STRONG})
    assert checksum(generated) != checksum(given) != checksum(make_config(secrets={key: STRONG + "2"}))
    assert STRONG not in str(object_store.chart_values(given))


def test_other_secrets_leave_the_gateway_alone(make_config: ConfigMaker) -> None:
    assert checksum(make_config()) == checksum(make_config(secrets={"redis_password": STRONG}))


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [("https://s3.example.com", 443), ("http://s3.example.com", 80), ("https://s3.example.com:9000", 9000)],
)
def test_the_way_to_a_given_store_is_opened_at_its_port(
    make_config: ConfigMaker, endpoint: str, port: int
) -> None:
    config = make_config(
        object_store={**EXTERNAL, "external": {**EXTERNAL["external"], "endpoint": endpoint}}
    )
    values = object_store.chart_values(config)
    assert values["kind"] == "external"
    assert values["external"]["port"] == port
    assert "gateway" not in values


def test_a_given_store_gets_no_accounts_of_ours_and_its_key_is_no_output(kubeconfig: Path) -> None:
    deployment = run({**minimal_config(kubeconfig), "object_store": EXTERNAL})
    assert not any("object-store" in secret.name for secret in deployment.of_type(SECRET))
    assert deployment.chart("object-store").inputs["values"]["external"]["secretName"] == "s3-keys"
    assert deployment.outputs["s3_endpoint"] == "https://s3.example.com"
    assert deployment.outputs["s3_bucket"] == "calls"
    assert not {"s3_access_key", "s3_secret_key"} & set(deployment.outputs)


def test_the_operators_key_is_a_secret_output_and_the_others_are_none(kubeconfig: Path) -> None:
    deployment = run(minimal_config(kubeconfig))
    for output in ("s3_access_key", "s3_secret_key"):
        assert rpc.is_rpc_secret(deployment.outputs[output])
    secret = rpc.unwrap_rpc_secret(deployment.outputs["s3_secret_key"])
    assert secret == GENERATED_VALUE.format(name="s3-secret-key")
    accounts = json.loads(_secret(deployment.of_type(SECRET), "object-store-accounts")["users.json"])
    assert accounts["accessAccounts"]["operator"]["secret"] == secret
    assert _secret(deployment.of_type(SECRET), "object-store-root") == {
        "access_key_id": "root",
        "secret_access_key": GENERATED_VALUE.format(name="s3-root-secret-key"),
    }
    assert deployment.outputs["s3_endpoint"] == "https://s3.lk.localhost"
    [component] = [entry for entry in deployment.resources.values() if entry.type.endswith(":ObjectStore")]
    assert any("Namespace::namespace" in urn for urn in component.dependencies)
    [chart] = [entry for entry in deployment.of_type(CHART) if entry.name == "object-store"]
    assert {urn.split("::")[-1] for urn in chart.dependencies} == {
        "object-store-root",
        "object-store-accounts",
    }


def _secret(secrets: list[Any], name: str) -> dict[str, str]:
    [secret] = [secret for secret in secrets if secret.name == name]
    data = secret.inputs["data"]
    assert rpc.is_rpc_secret(data)
    return {key: base64.b64decode(text).decode() for key, text in rpc.unwrap_rpc_secret(data).items()}
