"""The charts together, with exactly what the program gives them for stack `local`."""

from __future__ import annotations

import json
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
    NOT_IN_STACK,
    Manifest,
    containers,
    deployed_charts,
    of_kind,
    pod_labels,
    pod_specs,
    secrets_of,
    selected,
    stack_values,
    template,
    tool,
    workloads,
)
from tests.unit.infra import program
from tests.unit.infra.program import Deployment

STACK_NAMESPACE = "livekit"


@pytest.fixture(scope="module")
def whole(helm: Path, local_stack: Deployment) -> list[Manifest]:
    return [
        manifest
        for chart in deployed_charts(local_stack)
        for manifest in template(helm, chart, stack_values(local_stack, chart), STACK_NAMESPACE)
    ]


@pytest.fixture(scope="module")
def server_config(local_stack: Deployment) -> dict[str, Any]:
    config = yaml.safe_load(secrets_of(local_stack)["livekit-server-config"]["config.yaml"])
    assert isinstance(config, dict)
    return config


def test_every_chart_of_the_repository_is_deployed(local_stack: Deployment) -> None:
    assert set(deployed_charts(local_stack)) == set(CHART_NAMES) - set(NOT_IN_STACK.get("local", ()))
    for chart in deployed_charts(local_stack):
        assert local_stack.chart(chart).inputs["chart"] == f"../charts/{chart}"
        assert local_stack.chart(chart).inputs["namespace"] == STACK_NAMESPACE


def test_declared_ports_are_the_ports_of_the_configuration(whole: list[Manifest]) -> None:
    """Each port of the configuration is declared by a pod, and each port of a pod is in the configuration."""
    ports = [port for container in containers(whole) for port in container.get("ports", [])]
    on_nodes = {(port.get("hostPort"), port["protocol"]) for port in ports if "hostPort" in port}
    # The edge has ports of its own behind those of the node; coturn has the same.
    in_pods = {
        (port["containerPort"], port["protocol"])
        for port in ports
        if port.get("hostPort", port["containerPort"]) == port["containerPort"]
    }
    claims = Ports().claims()
    relays = "ports.turn_relay"

    def claimed(*scopes: Scope) -> set[tuple[int, str]]:
        return {
            (claim.ports.first, claim.protocol.value)
            for claim in claims
            if claim.scope in scopes and claim.key != relays
        }

    # One Redis has no Sentinel; what is on a pod's loopback is not declared.
    own = Ports()
    numbers = [own.redis_sentinel, own.turn_reports, own.egress_template]
    if "egress" in NOT_IN_STACK.get("local", ()):
        numbers += [own.egress_health, own.egress_metrics]
    absent = {(port, Protocol.TCP.value) for port in numbers}
    assert in_pods == claimed(Scope.HOST, Scope.POD) - absent
    # The edge leads to TURN over TLS.
    assert on_nodes == claimed(Scope.HOST_PORT) - {(Ports().turn_tls, Protocol.TCP.value)}
    [relay] = [
        annotations["livekit-platform/turn-relay-ports"]
        for workload in workloads(whole)
        if "livekit-platform/turn-relay-ports"
        in (annotations := workload["spec"]["template"]["metadata"].get("annotations", {}))
    ]
    assert [relay] == [f"{claim.ports}/{Protocol.UDP.value}" for claim in claims if claim.key == relays]


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
    ]
    # That it is strict, and says so on standard output while its exit code stays 0.
    file.write_text(yaml.safe_dump({**server_config, "prot": 7880}))
    refused = run([livekit_server, "--config", file, "--node-ip", "192.0.2.1", "ports"], timeout=30).stdout
    assert "field prot not found" in refused


def test_secrets_that_pods_name_are_made_by_the_program_with_those_keys(
    whole: list[Manifest], local_stack: Deployment
) -> None:
    made = {(name, key) for name, data in secrets_of(local_stack).items() for key in data}
    # For whoever wants to trust the authority; no pod does.
    made -= {("edge-tls", "ca.crt")}
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
    store_urls = [
        variable["value"]
        for container in containers(whole)
        for variable in container.get("env", [])
        if variable["name"] in ("OBJECT_STORE_ENDPOINT", "OBJECT_STORE_ADMIN_ENDPOINT")
    ]
    assert len(store_urls) == 2
    assert {urlsplit(url).netloc for url in store_urls} <= there
    assert server_config["redis"]["address"] in there
    assert urlsplit(livekit_url).netloc in there
    assert {urlsplit(url).netloc for url in server_config["webhook"]["urls"]} <= there


def test_policies_let_the_parts_reach_each_other(
    whole: list[Manifest], server_config: dict[str, Any], local_stack: Deployment
) -> None:
    """SFUs come from, and are reached at, their nodes' addresses: those that TURN may relay to."""
    conf = secrets_of(local_stack)["coturn-config"]["turnserver.conf"]
    sfus = {f"{address}/32" for address in re.findall(r"^allowed-peer-ip=(.+)$", conf, re.MULTILINE)}
    assert sfus == {"192.0.2.1/32", "192.0.2.2/32"}
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in of_kind(whole, "NetworkPolicy")}
    [to_redis] = policies["redis"]["ingress"]
    assert {peer["ipBlock"]["cidr"] for peer in to_redis["from"] if "ipBlock" in peer} == sfus
    to_sfus = policies["token-api"]["egress"][0]
    assert {peer["ipBlock"]["cidr"] for peer in to_sfus["to"]} == sfus
    assert to_sfus["ports"] == [{"port": server_config["port"], "protocol": "TCP"}]


def test_where_addresses_are_translated_policies_name_the_nodes_own(helm: Path, tmp_path: Path) -> None:
    """And pods on the node's network are told the other: nothing but NODE_ADDRESSES names it."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    config = {**program.local_config(kubeconfig), "nodes": program.TRANSLATED}
    deployed = program.run({**config, "network": {"node_cidrs": ["10.244.0.0/32"]}})
    objects = [
        manifest
        for chart in deployed_charts(deployed)
        for manifest in template(helm, chart, stack_values(deployed, chart), STACK_NAMESPACE)
    ]
    told = {
        workload["metadata"]["name"]: variable["value"]
        for workload in workloads(objects)
        for container in workload["spec"]["template"]["spec"]["containers"]
        for variable in container.get("env", [])
        if variable["name"] == "NODE_ADDRESSES"
    }
    assert told == {"livekit-server": "node-a=203.0.113.1"}
    policies = of_kind(objects, "NetworkPolicy")
    # What is let through; what is left out (`except`) names nodes by all their addresses.
    named = set(re.findall(r"cidr: (\d+(?:\.\d+){3}/32)", yaml.safe_dump_all(policies)))
    # Relays and workers that join rooms send to the address that clients are told.
    named.remove("203.0.113.1/32")
    assert named == {"10.0.0.1/32", "192.0.2.2/32", "10.244.0.0/32"}
    [redis] = [policy["spec"] for policy in policies if policy["metadata"]["name"] == "redis"]
    [to_redis] = redis["ingress"]
    assert {peer["ipBlock"]["cidr"] for peer in to_redis["from"] if "ipBlock" in peer} == named
    others = [manifest for manifest in objects if manifest["kind"] not in ("Deployment", "NetworkPolicy")]
    assert "203.0.113.1" not in yaml.safe_dump_all(others)


def test_every_pod_that_asks_for_names_reaches_the_given_name_servers(helm: Path, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    config = {
        **program.local_config(kubeconfig),
        "redis": {"kind": "sentinel"},
        "egress": {"kind": "livekit"},
    }
    deployed = program.run({**config, "network": {"dns_cidrs": ["169.254.20.10/32"]}})
    asking = {
        chart: rule["to"]
        for chart in CHART_NAMES
        for policy in of_kind(template(helm, chart, stack_values(deployed, chart)), "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        if {"port": 53, "protocol": "UDP"} in rule["ports"]
    }
    assert set(asking) == {"edge", "egress", "object-store", "redis", "token-api"}
    for chart, servers in asking.items():
        assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in servers, chart


def test_every_pod_off_the_nodes_network_is_bound_by_a_policy(whole: list[Manifest]) -> None:
    bound = {
        pod_labels(workload)["app.kubernetes.io/name"]
        for policy in of_kind(whole, "NetworkPolicy")
        for workload in selected(whole, policy["spec"]["podSelector"]["matchLabels"])
    }
    in_pod_network = {
        pod_labels(workload)["app.kubernetes.io/name"]
        for workload in workloads(whole)
        if not workload["spec"]["template"]["spec"].get("hostNetwork")
    }
    assert bound == in_pod_network >= {"redis", "token-api", "object-store", "object-store-setup"}


def test_no_service_opens_a_port_of_the_nodes(whole: list[Manifest]) -> None:
    """The edge's host ports are the way in, beside what carries media on the nodes' network."""
    assert {service["spec"]["type"] for service in of_kind(whole, "Service")} == {"ClusterIP"}


def test_no_generated_secret_is_in_what_the_charts_make(
    whole: list[Manifest], local_stack: Deployment
) -> None:
    text = yaml.safe_dump_all(whole)
    config = yaml.safe_load(secrets_of(local_stack)["livekit-server-config"]["config.yaml"])
    token_api = secrets_of(local_stack)["token-api-env"]
    accounts = json.loads(secrets_of(local_stack)["object-store-accounts"]["users.json"])
    for secret in (
        *config["keys"].values(),
        config["redis"]["password"],
        token_api["LIVEKIT_API_SECRET"],
        token_api["TOKEN_API_SERVICE_KEY"],
        token_api["TOKEN_API_HOST_JWT_SECRET"],
        secrets_of(local_stack)["object-store-root"]["secret_access_key"],
        *(account["secret"] for account in accounts["accessAccounts"].values()),
    ):
        assert secret not in text
