"""Redis with Sentinel: the chart, the Secret and LiveKit's configuration fit each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from common.commands import run as run_command
from tests.manifests.rendering import (
    Manifest,
    container_ports,
    of_kind,
    pod_specs,
    secrets_of,
    stack_values,
    template,
    tool,
    workloads,
)
from tests.unit.infra.program import Deployment, minimal_config, run

_NAMESPACE = "livekit"
_EXTERNAL_PASSWORD = "0123456789abcdefghijklmnopqrstuv"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """What the program registers with Redis of kind `sentinel`."""
    kubeconfig = tmp_path_factory.mktemp("sentinel") / "kubeconfig"
    kubeconfig.touch()
    return run({**minimal_config(kubeconfig), "redis": {"kind": "sentinel"}})


@pytest.fixture(scope="module")
def rendered(helm: Path, program: Deployment) -> list[Manifest]:
    return template(helm, "redis", stack_values(program, "redis"), _NAMESPACE)


def _server_config(deployment: Deployment) -> dict[str, Any]:
    config = yaml.safe_load(secrets_of(deployment)["livekit-server-config"]["config.yaml"])
    assert isinstance(config, dict)
    return config


def test_livekit_asks_pods_that_the_headless_service_names(
    program: Deployment, rendered: list[Manifest]
) -> None:
    [workload], [service] = workloads(rendered), of_kind(rendered, "Service")
    name = workload["metadata"]["name"]
    assert workload["spec"]["serviceName"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    port, _ = container_ports(rendered)["sentinel"]
    assert _server_config(program)["redis"]["sentinel_addresses"] == [
        f"{name}-{ordinal}.{service['metadata']['name']}.{_NAMESPACE}.svc:{port}"
        for ordinal in range(workload["spec"]["replicas"])
    ]


def test_files_that_the_pods_mount_are_in_the_secret(program: Deployment, rendered: list[Manifest]) -> None:
    [spec] = pod_specs(rendered)
    [volume] = [volume["secret"] for volume in spec["volumes"] if "secret" in volume]
    assert {item["key"] for item in volume["items"]} == set(secrets_of(program)[volume["secretName"]])


def test_only_sfu_nodes_and_the_three_themselves_reach_both_ports(rendered: list[Manifest]) -> None:
    [policy] = [policy["spec"] for policy in of_kind(rendered, "NetworkPolicy")]
    ports = [{"port": port, "protocol": "TCP"} for port in (6379, 26379)]
    own = {"podSelector": policy["podSelector"]}
    nodes = [{"ipBlock": {"cidr": f"192.0.2.{number}/32"}} for number in (1, 2)]
    assert policy["ingress"] == [{"from": [own, *nodes], "ports": ports}]
    to_each_other, to_dns = policy["egress"]
    assert to_each_other == {"to": [own], "ports": ports}
    assert {port["port"] for port in to_dns["ports"]} == {53}


def test_three_run_on_two_nodes_and_spread_where_they_can(rendered: list[Manifest]) -> None:
    [spec] = pod_specs(rendered)
    apart = spec["affinity"]["podAntiAffinity"]
    assert "requiredDuringSchedulingIgnoredDuringExecution" not in apart
    [wish] = apart["preferredDuringSchedulingIgnoredDuringExecution"]
    assert wish["podAffinityTerm"]["topologyKey"] == "kubernetes.io/hostname"
    assert {constraint["whenUnsatisfiable"] for constraint in spec["topologySpreadConstraints"]} == {
        "ScheduleAnyway"
    }


def test_a_pod_that_never_became_ready_can_be_replaced(rendered: list[Manifest]) -> None:
    """With the default policy a StatefulSet waits for it for ever."""
    [workload] = workloads(rendered)
    assert workload["spec"]["podManagementPolicy"] == "Parallel"


def test_no_password_stands_in_the_chart_and_no_sentinel_shares_the_sfus_one(
    program: Deployment, rendered: list[Manifest]
) -> None:
    files = secrets_of(program)["redis-acl"]
    own = files["replication.conf"].split()[-1]
    text = yaml.safe_dump_all(rendered)
    sfus = _server_config(program)["redis"]["password"]
    assert own != sfus
    for password in (own, sfus):
        assert password not in text
    assert not any(sfus in file for file in files.values())


def test_the_start_scripts_are_whole(rendered: list[Manifest], tmp_path: Path) -> None:
    [config_map] = of_kind(rendered, "ConfigMap")
    scripts = {name: text for name, text in config_map["data"].items() if name.endswith(".sh")}
    assert set(scripts) == {"common.sh", "ready.sh", "redis.sh", "sentinel.sh", "settings.sh"}
    for name, text in scripts.items():
        file = tmp_path / name
        file.write_text(text)
        run_command(["bash", "-n", file], timeout=10)


@pytest.mark.parametrize(
    "redis",
    [
        {"kind": "sentinel"},
        {"kind": "external", "external": {"address": "redis.example.com:6380", "username": "platform"}},
        {
            "kind": "external",
            "external": {
                "sentinel_master_name": "mymaster",
                "sentinel_addresses": ["a.example.com:26379"],
                "sentinel_auth": True,
            },
        },
    ],
    ids=["sentinel", "address", "sentinels"],
)
def test_the_real_server_knows_every_key(tmp_path: Path, redis: dict[str, Any]) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    secrets = {"redis_password": _EXTERNAL_PASSWORD} if redis["kind"] == "external" else {}
    config = {**minimal_config(kubeconfig), "redis": redis, "secrets": secrets}
    file = tmp_path / "config.yaml"
    server = _server_config(run(config))
    command = [str(tool("livekit-server")), "--config", str(file), "--node-ip", "192.0.2.1", "ports"]
    file.write_text(yaml.safe_dump(server))
    assert "HTTP service" in run_command(command, timeout=30).stdout
    # That it would say so.
    file.write_text(yaml.safe_dump({**server, "redis": {**server["redis"], "sentinel_adresses": []}}))
    assert "field sentinel_adresses not found" in run_command(command, timeout=30).stdout
