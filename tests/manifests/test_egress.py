"""charts/egress: either worker with its configuration file, its storage, its scaling and its way out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests import keda
from tests.manifests.reach import PRIVATE, PUBLIC, reaches
from tests.manifests.rendering import (
    CASES,
    CHARTS,
    NAMESPACE,
    Case,
    Manifest,
    container_ports,
    containers,
    of_kind,
    pod_labels,
    pod_specs,
    refusal,
    secrets_of,
    stack_values,
    template,
    workloads,
)
from tests.unit.infra.program import Deployment, run, stack_config

OWN_CASES = [case for case in CASES if case.chart == "egress"]


def _values(name: str, **changes: Any) -> dict[str, Any]:
    given = yaml.safe_load((CHARTS / "egress" / "ci" / f"{name}-values.yaml").read_text())
    return {**given, **changes}


@pytest.fixture(scope="module", params=["livekit", "recorder"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def program(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """What the program registers for stack `local` with workers of `kind`."""
    kubeconfig = tmp_path_factory.mktemp(kind) / "kubeconfig"
    kubeconfig.touch()
    return run({**stack_config("local", kubeconfig), "egress": {"kind": kind, "temporary_storage": "30Gi"}})


@pytest.fixture(scope="module")
def rendered(helm: Path, program: Deployment) -> list[Manifest]:
    return template(helm, "egress", stack_values(program, "egress"))


@pytest.fixture(scope="module")
def file(program: Deployment) -> dict[str, Any]:
    """The configuration file, as the worker finds it."""
    found = yaml.safe_load(secrets_of(program)["egress-config"]["config.yaml"])
    assert isinstance(found, dict)
    return found


def _environment(manifests: list[Manifest]) -> dict[str, dict[str, Any]]:
    [container] = containers(manifests)
    return {variable["name"]: variable for variable in container["env"]}


def test_the_file_is_mounted_from_its_secret_where_the_worker_looks(
    program: Deployment, rendered: list[Manifest]
) -> None:
    [spec], [container] = pod_specs(rendered), list(containers(rendered))
    [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "config"]
    [volume] = [volume["secret"] for volume in spec["volumes"] if volume["name"] == "config"]
    assert set(secrets_of(program)[volume["secretName"]]) == {item["key"] for item in volume["items"]}
    [path] = [f"{mount['mountPath']}/{item['path']}" for item in volume["items"]]
    assert _environment(rendered)["EGRESS_CONFIG_FILE"]["value"] == path
    # Readable by the worker's group, and nobody else.
    assert volume["defaultMode"] == 0o440
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]


def test_declared_ports_are_those_of_the_file(rendered: list[Manifest], file: dict[str, Any]) -> None:
    assert container_ports(rendered) == {
        "health": (file["health_port"], "TCP"),
        "metrics": (file["prometheus_port"], "TCP"),
    }


def test_no_secret_of_the_file_is_in_what_the_chart_makes(
    program: Deployment, rendered: list[Manifest], file: dict[str, Any]
) -> None:
    text = yaml.safe_dump_all(rendered) + str(stack_values(program, "egress"))
    for secret in (file["api_secret"], file["redis"]["password"], file["storage"]["s3"]["secret"]):
        assert secret not in text


def test_recordings_are_on_storage_of_a_size(
    kind: str, rendered: list[Manifest], file: dict[str, Any]
) -> None:
    [workload], [container], [spec] = workloads(rendered), list(containers(rendered)), pod_specs(rendered)
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    if kind == "livekit":
        assert workload["kind"] == "Deployment"
        # Where the image keeps recordings: pkg/config/base.go.
        assert mounts["recordings"]["mountPath"] == "/home/egress/tmp"
        [volume] = [volume for volume in spec["volumes"] if volume["name"] == "recordings"]
        assert volume["emptyDir"] == {"sizeLimit": "30Gi"}
        assert container["resources"]["requests"]["ephemeral-storage"] == "30Gi"
        assert spec["securityContext"]["runAsUser"] == 1001
    else:
        assert workload["kind"] == "StatefulSet"
        assert mounts["spool"]["mountPath"] == file["recorder"]["spool"]
        [claim] = workload["spec"]["volumeClaimTemplates"]
        assert claim["spec"]["resources"]["requests"]["storage"] == "10Gi"
        # What a removed worker has left is uploaded by the next one.
        assert set(workload["spec"]["persistentVolumeClaimRetentionPolicy"].values()) == {"Retain"}
        [service] = of_kind(rendered, "Service")
        assert workload["spec"]["serviceName"] == service["metadata"]["name"]
        assert service["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize(("name", "cores"), [("default", "4"), ("recorder", "1.5"), ("everything", "7.5")])
def test_a_worker_counts_the_cores_that_it_asks_for(helm: Path, name: str, cores: str) -> None:
    """Or those that are given, and not those of the node: there is no limit by which it could know."""
    objects = template(helm, "egress", _values(name))
    assert _environment(objects)["LIVEKIT_CPU_REQUEST"]["value"] == cores
    [container] = containers(objects)
    assert set(container["resources"]["limits"]) == {"memory"}


@pytest.mark.parametrize("case", OWN_CASES, ids=str)
def test_a_stopping_worker_has_time_for_its_recordings(case: Case, manifests: list[Manifest]) -> None:
    [spec], [container], [workload] = pod_specs(manifests), list(containers(manifests)), workloads(manifests)
    grace = spec["terminationGracePeriodSeconds"]
    assert int(workload["metadata"]["annotations"]["pulumi.com/timeoutSeconds"]) > grace
    annotations = workload["spec"]["template"]["metadata"]["annotations"]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    if workload["kind"] == "StatefulSet":
        # The recorder ends its recordings by itself: its file says when.
        assert "lifecycle" not in container
        return
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["bash", "/scripts/stop.sh", "1"]
    finish = grace - int(_environment(manifests)["FINISH_AFTER_SECONDS"]["value"])
    assert 0 < finish < grace
    [config_map] = of_kind(manifests, "ConfigMap")
    assert set(config_map["data"]) == {"stop.sh"}


@pytest.mark.parametrize("case", OWN_CASES, ids=str)
def test_workers_can_be_drained_one_at_a_time(case: Case, manifests: list[Manifest]) -> None:
    [budget], [workload] = of_kind(manifests, "PodDisruptionBudget"), workloads(manifests)
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"] == workload["spec"]["selector"]


def test_a_given_key_and_an_identity_reach_the_worker(helm: Path) -> None:
    objects = template(helm, "egress", _values("everything"))
    for variable, key in (
        ("AWS_ACCESS_KEY_ID", "access_key_id"),
        ("AWS_SECRET_ACCESS_KEY", "secret_access_key"),
    ):
        source = _environment(objects)[variable]["valueFrom"]["secretKeyRef"]
        assert source == {"name": "recordings-store", "key": key}
    [account], [spec] = of_kind(objects, "ServiceAccount"), pod_specs(objects)
    assert account["metadata"]["annotations"] == {"example.org/role": "recordings"}
    assert account["metadata"]["name"] == spec["serviceAccountName"]
    # A provider mounts a token of its own.
    assert account["automountServiceAccountToken"] is False
    without = template(helm, "egress", _values("default"))
    assert not any(name.startswith("AWS_") for name in _environment(without))
    assert "annotations" not in of_kind(without, "ServiceAccount")[0]["metadata"]


@pytest.mark.parametrize("scaling", ["none", "keda", "hpa"])
@pytest.mark.parametrize("name", ["default", "recorder"])
def test_who_scales_workers_is_the_only_one_that_says_how_many(helm: Path, name: str, scaling: str) -> None:
    autoscaling = {"kind": scaling, "maxReplicas": 7, "prometheusUrl": "http://prometheus:9090"}
    objects = template(helm, "egress", _values(name, replicas=3, autoscaling=autoscaling))
    [workload] = workloads(objects)
    assert workload["spec"].get("replicas") == (3 if scaling == "none" else None)
    scalers = of_kind(objects, "ScaledObject", "HorizontalPodAutoscaler")
    assert [scaler["kind"] for scaler in scalers] == {
        "none": [],
        "keda": ["ScaledObject"],
        "hpa": ["HorizontalPodAutoscaler"],
    }[scaling]
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) == (workload["kind"], workload["metadata"]["name"])
        assert 7 in (scaler["spec"].get("maxReplicas"), scaler["spec"].get("maxReplicaCount"))


def _query(objects: list[Manifest]) -> str:
    """The expression by which workers are scaled."""
    [scaler] = of_kind(objects, "ScaledObject", "HorizontalPodAutoscaler")
    if scaler["kind"] == "ScaledObject":
        [trigger] = scaler["spec"]["triggers"]
        return str(trigger["metadata"]["query"])
    return str(scaler["metadata"]["annotations"]["livekit-platform/metric-query"])


@pytest.mark.parametrize(("name", "headroom"), [("everything", 2), ("hpa", 1)])
def test_workers_are_scaled_by_the_busy_ones_and_headroom(helm: Path, name: str, headroom: int) -> None:
    objects = template(helm, "egress", _values(name))
    query = _query(objects)
    # `livekit_egress_available` falls with load: a target for it adds workers when there is nothing to do.
    assert set(re.findall(r"livekit_\w+", query)) == {
        "livekit_egress_can_accept_request",
        "livekit_egress_is_terminating",
    }
    assert set(re.findall(r"\{(.*?)\}", query)) == {f'namespace="{NAMESPACE}"'}
    assert query.endswith(f" + {headroom}")
    assert query.count("(") == query.count(")")


def test_one_per_worker_is_the_target_of_the_external_metric(helm: Path) -> None:
    [scaler] = of_kind(template(helm, "egress", _values("hpa")), "HorizontalPodAutoscaler")
    [metric] = scaler["spec"]["metrics"]
    assert metric["external"] == {
        "metric": {"name": "livekit_egress_wanted_workers"},
        "target": {"type": "AverageValue", "averageValue": "1"},
    }


def test_keda_knows_every_field_and_asks_prometheus(helm: Path) -> None:
    [scaled] = of_kind(template(helm, "egress", _values("everything")), "ScaledObject")
    assert [error.message for error in keda.validator().iter_errors(scaled)] == []
    [trigger] = scaled["spec"]["triggers"]
    assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
    assert set(trigger["metadata"]) <= keda.prometheus_keys()
    assert trigger["metadata"]["threshold"] == "1"
    # Without an answer the number stays as it is: KEDA would take a missing value for 0.
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    assert scaled["spec"]["fallback"]["behavior"] == "currentReplicas"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("minReplicas",), 1, "'minReplicas' was unexpected"),
        (("fallback", "behaviour"), "static", "'behaviour' was unexpected"),
        (("maxReplicaCount",), "20", "'20' is not of type 'integer'"),
        (("fallback", "behavior"), "keep", "'keep' is not one of"),
    ],
)
def test_a_wrong_scaled_object_would_be_found(
    helm: Path, path: tuple[str, ...], value: Any, said: str
) -> None:
    [scaled] = of_kind(template(helm, "egress", _values("everything")), "ScaledObject")
    place = scaled["spec"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    [error] = keda.validator().iter_errors(scaled)
    assert said in error.message


def test_a_worker_reaches_what_it_needs_and_nothing_else(helm: Path) -> None:
    objects = template(helm, "egress", _values("everything"))
    # Signalling at the SFUs' addresses inside; media also where clients are told.
    assert reaches(objects, "10.0.0.1", 17880)
    assert not reaches(objects, "203.0.113.1", 17880)
    for address in ("10.0.0.1", "203.0.113.1"):
        assert reaches(objects, address, 17882, "UDP")
        assert reaches(objects, address, 17881)
    # Redis and a store in given networks.
    assert reaches(objects, "10.50.0.9", 26380)
    assert reaches(objects, "10.60.0.9", 9000)
    assert not reaches(objects, "10.60.0.9", 443)
    # Streams and stores at public addresses, not at a node's.
    assert reaches(objects, PUBLIC, 1935)
    assert not reaches(objects, PUBLIC, 80)
    assert not reaches(objects, "8.8.8.8", 443)
    assert [address for address in PRIVATE if reaches(objects, address, 443)] == []


def test_a_worker_of_a_closed_platform_reaches_nothing_outside(helm: Path) -> None:
    objects = template(helm, "egress", _values("recorder"))
    [policy] = of_kind(objects, "NetworkPolicy")
    for port in (443, 1935, 80, 6379):
        assert not reaches(objects, PUBLIC, port)
    pods = [
        (peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"], rule["ports"][0]["port"])
        for rule in policy["spec"]["egress"]
        for peer in rule["to"]
        if "podSelector" in peer
    ]
    assert pods == [("redis", 6379), ("object-store", 7070)]


def test_only_metrics_are_reached(rendered: list[Manifest], file: dict[str, Any]) -> None:
    [policy] = of_kind(rendered, "NetworkPolicy")
    [rule] = policy["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == [file["prometheus_port"]]
    assert {peer["ipBlock"]["cidr"] for peer in rule["from"] if "ipBlock" in peer} == {
        "192.0.2.1/32",
        "192.0.2.2/32",
    }


def test_redis_and_the_store_let_these_pods_in(
    helm: Path, program: Deployment, rendered: list[Manifest], file: dict[str, Any]
) -> None:
    [workload] = workloads(rendered)
    for chart, url in (
        ("redis", file["redis"]["address"]),
        ("object-store", file["storage"]["s3"]["endpoint"]),
    ):
        [policy] = [
            policy
            for policy in of_kind(template(helm, chart, stack_values(program, chart)), "NetworkPolicy")
            if policy["metadata"]["name"] == chart
        ]
        ports = {
            port["port"]
            for rule in policy["spec"]["ingress"]
            for peer in rule["from"]
            if "podSelector" in peer
            and peer["podSelector"]["matchLabels"].items() <= pod_labels(workload).items()
            for port in rule["ports"]
        }
        assert ports == {int(url.rpartition(":")[2])}, chart


def test_both_charts_that_reach_public_addresses_mean_the_same_by_it() -> None:
    def networks(chart: str) -> list[str]:
        text = (CHARTS / chart / "templates" / "_helpers.tpl").read_text()
        found = re.search(rf'define "{chart}\.notPublic" -}}}}\n(.*?)\n{{{{- end }}}}', text, re.DOTALL)
        assert found
        return [line.removeprefix("- ") for line in found[1].splitlines()]

    assert networks("egress") == networks("token-api")


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("default", {"kind": "none"}, "/kind"),
        ("default", {"image": ""}, "/image"),
        ("default", {"configSecret": {"name": ""}}, "/configSecret/name"),
        ("default", {"autoscaling": {"kind": "keda"}}, "/autoscaling/prometheusUrl"),
        ("default", {"terminationGraceSeconds": 18001}, "/terminationGraceSeconds"),
        ("default", {"resources": {"requests": {"cpu": "four"}}}, "/resources/requests/cpu"),
        ("default", {"networkPolicy": {"redis": {"ports": []}}}, "/networkPolicy"),
        ("recorder", {"networkPolicy": {"stores": [{"port": 443}]}}, "/networkPolicy/stores/0"),
    ],
)
def test_values_that_make_no_worker_are_refused(
    helm: Path, name: str, changes: dict[str, Any], said: str
) -> None:
    assert refusal(helm, "egress", _values(name)) is None
    stderr = refusal(helm, "egress", _values(name, **changes))
    assert stderr is not None
    assert said in stderr
