"""What every object of every chart keeps to: names, labels, and references that lead somewhere."""

from __future__ import annotations

import re
from typing import Any

from tests.manifests.rendering import (
    FROM_OPERATORS,
    NAMESPACE,
    Case,
    Manifest,
    container_ports,
    containers,
    containers_of,
    of_kind,
    pod_labels,
    pod_specs,
    selected,
    serving,
    workloads,
)
from tests.unit.infra.provider_schema import built_provider, type_of

_RECOMMENDED = {
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
}
_RELAYS = "livekit-platform/turn-relay-ports"
_CHANGING = {"app.kubernetes.io/version", "helm.sh/chart"}
_SECRET_NAME = re.compile(r"secret|password|passwd|token|(api|service|private)_?key", re.IGNORECASE)


def test_objects_are_labelled_and_in_the_release_s_namespace(case: Case, manifests: list[Manifest]) -> None:
    assert manifests
    for manifest in manifests:
        assert manifest["metadata"]["namespace"] == NAMESPACE
        labels = manifest["metadata"]["labels"]
        assert set(labels) >= _RECOMMENDED
        assert labels["app.kubernetes.io/name"] == case.chart


def test_selectors_hold_what_never_changes(manifests: list[Manifest]) -> None:
    for workload in serving(manifests):
        selector = workload["spec"]["selector"]["matchLabels"]
        assert set(selector) == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
        assert selector.items() <= pod_labels(workload).items()
        # A release of the chart alone must not restart pods.
        assert not _CHANGING & set(pod_labels(workload))
        for claim in workload["spec"].get("volumeClaimTemplates", []):
            assert not _CHANGING & set(claim["metadata"].get("labels", {}))


def test_workloads_are_created_after_their_service_account(manifests: list[Manifest]) -> None:
    """Pulumi creates all objects of a chart at once, except where the annotation says otherwise."""
    accounts = {manifest["metadata"]["name"] for manifest in of_kind(manifests, "ServiceAccount")}
    for workload in workloads(manifests):
        account = workload["spec"]["template"]["spec"]["serviceAccountName"]
        assert account in accounts
        depends_on = workload["metadata"]["annotations"]["config.kubernetes.io/depends-on"]
        assert depends_on == f"/namespaces/{NAMESPACE}/ServiceAccount/{account}"


def test_the_built_provider_knows_every_kind_and_property(manifests: list[Manifest]) -> None:
    """The built provider is older than the SDK; staging and production may use a newer provider."""
    for manifest in manifests:
        # No provider knows a kind that comes with an operator.
        if manifest["apiVersion"] not in FROM_OPERATORS:
            assert built_provider().unknown(type_of(manifest), manifest) == []


def test_there_are_no_hooks(manifests: list[Manifest]) -> None:
    """helm.v4.Chart drops them."""
    for manifest in manifests:
        assert not any(
            name.startswith("helm.sh/hook") for name in manifest["metadata"].get("annotations", {})
        )


def test_charts_hold_no_secret(manifests: list[Manifest]) -> None:
    """Secrets are made by the program; charts know their names."""
    assert of_kind(manifests, "Secret") == []
    for container in containers(manifests):
        for variable in container.get("env", []):
            # The service's own name says that it is about tokens, not that its settings are.
            if _SECRET_NAME.search(variable["name"].removeprefix("TOKEN_API_")):
                assert variable.get("value", "") == "", variable["name"]
    for config_map in of_kind(manifests, "ConfigMap"):
        for text in config_map["data"].values():
            lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
            # Redis' word for a user without a password is its own.
            open_users = re.compile(r"\s*user \S+ on nopass ")
            assert not any(
                re.match(r"\s*(requirepass|masterauth|user|password)\b", line)
                for line in lines
                if not open_users.match(line)
            )


def test_services_and_budgets_lead_to_pods(manifests: list[Manifest]) -> None:
    ports = container_ports(manifests)
    for service in of_kind(manifests, "Service"):
        assert len(selected(manifests, service["spec"]["selector"])) == 1
        for port in service["spec"]["ports"]:
            target = port["targetPort"]
            assert port["protocol"] in {protocol for _, protocol in ports.values()}
            assert target in ports or target in {number for number, _ in ports.values()}
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        assert len(selected(manifests, budget["spec"]["selector"]["matchLabels"])) == 1


def _words(port: dict[str, Any]) -> str:
    last = f"-{port['endPort']}" if "endPort" in port else ""
    return f"{port['port']}{last}/{port['protocol']}"


def test_network_policies_bind_pods_and_open_only_declared_ports(manifests: list[Manifest]) -> None:
    policies = of_kind(manifests, "NetworkPolicy")
    declared = {f"{port}/{protocol}" for port, protocol in container_ports(manifests).values()}
    # Too many to declare one by one.
    declared |= {
        annotations[_RELAYS]
        for workload in workloads(manifests)
        if _RELAYS in (annotations := workload["spec"]["template"]["metadata"].get("annotations", {}))
    }
    for policy in policies:
        assert len(selected(manifests, policy["spec"]["podSelector"]["matchLabels"])) == 1
        assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        for rule in policy["spec"].get("ingress", []):
            assert {_words(port) for port in rule["ports"]} <= declared
            # An empty list of peers means everybody.
            assert rule.get("from") != []
        for rule in policy["spec"].get("egress", []):
            assert rule["ports"]
            assert rule["to"]


def test_mounts_have_volumes_and_volumes_are_mounted(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        spec = workload["spec"]["template"]["spec"]
        claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        volumes = {volume["name"] for volume in spec.get("volumes", [])} | claims
        mounted = {
            mount["name"] for container in containers_of(spec) for mount in container.get("volumeMounts", [])
        }
        assert mounted == volumes


def test_config_maps_that_pods_name_are_there(manifests: list[Manifest]) -> None:
    there = {config_map["metadata"]["name"] for config_map in of_kind(manifests, "ConfigMap")}
    named = {
        volume["configMap"]["name"]
        for spec in pod_specs(manifests)
        for volume in spec.get("volumes", [])
        if "configMap" in volume
    }
    assert named == there


def test_arguments_that_are_paths_lead_into_a_mount(manifests: list[Manifest]) -> None:
    for spec in pod_specs(manifests):
        for container in containers_of(spec):
            words = [*container.get("command", []), *container.get("args", [])]
            for path in (word for word in words if word.startswith("/")):
                assert _mounted_file(spec, container, path, manifests), path


def _mounted_file(
    spec: dict[str, Any], container: dict[str, Any], path: str, manifests: list[Manifest]
) -> bool:
    directory, _, file = path.rpartition("/")
    for mount in container.get("volumeMounts", []):
        if mount["mountPath"] == path:
            return True
        if mount["mountPath"] != directory:
            continue
        [volume] = [volume for volume in spec["volumes"] if volume["name"] == mount["name"]]
        if "secret" in volume:
            return file in {item["path"] for item in volume["secret"]["items"]}
        [config_map] = [
            found
            for found in of_kind(manifests, "ConfigMap")
            if found["metadata"]["name"] == volume["configMap"]["name"]
        ]
        return file in config_map["data"]
    return False


def test_probes_knock_at_declared_ports(manifests: list[Manifest]) -> None:
    for container in containers(serving(manifests)):
        ports = {port["name"] for port in container.get("ports", [])}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            for handler in ("httpGet", "tcpSocket"):
                # A sidecar has not all of them.
                if handler in container.get(probe, {}):
                    assert container[probe][handler]["port"] in ports
