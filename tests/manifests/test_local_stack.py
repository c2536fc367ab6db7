"""The charts together, with exactly what the program gives them for stack `local`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from common.commands import run
from livekit_platform.config import Ports
from livekit_platform.ports import Protocol, Scope
from tests.manifests.rendering import (
    CHART_NAMES,
    Manifest,
    container_ports,
    containers,
    of_kind,
    pod_specs,
    secrets_of,
    stack_values,
    template,
    tool,
    workloads,
)
from tests.unit.infra.program import Deployment

STACK_NAMESPACE = "livekit"


@pytest.fixture(scope="module")
def whole(helm: Path, local_stack: Deployment) -> list[Manifest]:
    return [
        manifest
        for chart in CHART_NAMES
        for manifest in template(helm, chart, stack_values(local_stack, chart), STACK_NAMESPACE)
    ]


@pytest.fixture(scope="module")
def server_config(local_stack: Deployment) -> dict[str, Any]:
    config = yaml.safe_load(secrets_of(local_stack)["livekit-server-config"]["config.yaml"])
    assert isinstance(config, dict)
    return config


def test_every_chart_of_the_repository_is_deployed(local_stack: Deployment) -> None:
    for chart in CHART_NAMES:
        assert local_stack.chart(chart).inputs["chart"] == f"../charts/{chart}"
        assert local_stack.chart(chart).inputs["namespace"] == STACK_NAMESPACE


def test_declared_ports_are_the_ports_of_the_configuration(whole: list[Manifest]) -> None:
    declared = set(container_ports(whole).values())
    node_ports = {
        (port["nodePort"], port["protocol"])
        for service in of_kind(whole, "Service")
        for port in service["spec"]["ports"]
        if "nodePort" in port
    }
    [relay] = [
        workload["spec"]["template"]["metadata"]["annotations"]["livekit-platform/turn-relay-ports"]
        for workload in workloads(whole)
        if workload["metadata"]["name"] == "livekit-server"
    ]
    claims = Ports().claims()
    assert declared == {
        (claim.ports.first, claim.protocol.value)
        for claim in claims
        if claim.scope is not Scope.NODE_PORT and not claim.relay
    }
    assert node_ports == {
        (claim.ports.first, claim.protocol.value) for claim in claims if claim.scope is Scope.NODE_PORT
    }
    assert [relay] == [f"{claim.ports}/{Protocol.UDP.value}" for claim in claims if claim.relay]


def test_the_real_server_takes_the_configuration_strictly_and_names_the_declared_ports(
    server_config: dict[str, Any], tmp_path: Path
) -> None:
    livekit_server = tool("livekit-server")
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(server_config))
    printed = run([livekit_server, "--config", file, "--node-ip", "192.0.2.1", "ports"], timeout=30).stdout
    # The server's own formatting of a single UDP port is off: "%!s(int=7882)".
    assert re.findall(r"^(?:%!s\(int=)?(\d+)\)? - (.+)$", printed, re.MULTILINE) == [
        ("7880", "HTTP service"),
        ("7881", "ICE/TCP"),
        ("7882", "ICE/UDP"),
        ("3478", "TURN/UDP"),
    ]
    # That it is strict, and says so on standard output while its exit code stays 0.
    file.write_text(yaml.safe_dump({**server_config, "prot": 7880}))
    refused = run([livekit_server, "--config", file, "--node-ip", "192.0.2.1", "ports"], timeout=30).stdout
    assert "field prot not found" in refused


def test_secrets_that_pods_name_are_made_by_the_program_with_those_keys(
    whole: list[Manifest], local_stack: Deployment
) -> None:
    made = {(name, key) for name, data in secrets_of(local_stack).items() for key in data}
    named = {
        (volume["secret"]["secretName"], item["key"])
        for spec in pod_specs(whole)
        for volume in spec.get("volumes", [])
        if "secret" in volume
        for item in volume["secret"]["items"]
    } | {
        (source["name"], source["key"])
        for container in containers(whole)
        for variable in container.get("env", [])
        if (source := variable.get("valueFrom", {}).get("secretKeyRef"))
    }
    assert named == made


def test_every_address_inside_the_cluster_is_a_service_s(
    whole: list[Manifest], server_config: dict[str, Any]
) -> None:
    there = {
        f"{service['metadata']['name']}.{STACK_NAMESPACE}.svc:{port['port']}"
        for service in of_kind(whole, "Service")
        for port in service["spec"]["ports"]
    }
    [livekit_url] = [
        variable["value"]
        for container in containers(whole)
        for variable in container.get("env", [])
        if variable["name"] == "LIVEKIT_URL"
    ]
    assert server_config["redis"]["address"] in there
    assert urlsplit(livekit_url).netloc in there
    assert {urlsplit(url).netloc for url in server_config["webhook"]["urls"]} <= there


def test_policies_let_the_parts_reach_each_other(
    whole: list[Manifest], server_config: dict[str, Any]
) -> None:
    """SFUs come from, and are reached at, their nodes' addresses: those that TURN may relay to."""
    sfus = set(server_config["turn"]["allow_restricted_peer_cidrs"])
    assert sfus == {"192.0.2.1/32", "192.0.2.2/32"}
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(whole, "NetworkPolicy")}
    [from_sfus] = policies["redis"]["ingress"]
    assert {peer["ipBlock"]["cidr"] for peer in from_sfus["from"]} == sfus
    to_sfus = policies["token-api"]["egress"][0]
    assert {peer["ipBlock"]["cidr"] for peer in to_sfus["to"]} == sfus
    assert to_sfus["ports"] == [{"port": server_config["port"], "protocol": "TCP"}]


def test_every_pod_off_the_nodes_network_is_bound_by_a_policy(whole: list[Manifest]) -> None:
    bound = {policy["metadata"]["name"] for policy in of_kind(whole, "NetworkPolicy")}
    in_pod_network = {
        workload["metadata"]["name"]
        for workload in workloads(whole)
        if not workload["spec"]["template"]["spec"].get("hostNetwork")
    }
    assert bound == in_pod_network == {"redis", "token-api"}


def test_only_sfus_may_be_called_from_outside_beside_the_node_port(whole: list[Manifest]) -> None:
    assert {
        service["metadata"]["name"]: service["spec"]["type"] for service in of_kind(whole, "Service")
    } == {"livekit-server": "ClusterIP", "redis": "ClusterIP", "token-api": "NodePort"}


def test_no_generated_secret_is_in_what_the_charts_make(
    whole: list[Manifest], local_stack: Deployment
) -> None:
    text = yaml.safe_dump_all(whole)
    config = yaml.safe_load(secrets_of(local_stack)["livekit-server-config"]["config.yaml"])
    token_api = secrets_of(local_stack)["token-api-env"]
    for secret in (
        *config["keys"].values(),
        config["redis"]["password"],
        token_api["LIVEKIT_API_SECRET"],
        token_api["TOKEN_API_SERVICE_KEY"],
    ):
        assert secret not in text
