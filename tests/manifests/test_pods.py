"""What every pod of every chart keeps to, with every set of values."""

from __future__ import annotations

import re
from typing import Any

from tests.manifests.rendering import Case, Manifest, containers, jobs, of_kind, pod_specs, serving, workloads

# Those that carry media; all others keep to Pod Security's `restricted`.
ON_THE_NODES_NETWORK = {"livekit-server"}
# Containers that set rules in the network of their pod, and end before the others begin: (chart, container).
SETS_RULES = {("coturn", "limits")}
# Containers whose programs write into their image: (chart, container).
WRITES_INTO_ITS_IMAGE = {("egress", "egress")}
_PINNED = re.compile(r"^[^/]+\.[^/]+/.+(:(?!latest$)[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})$")


def test_every_container_has_all_three_probes(manifests: list[Manifest]) -> None:
    for container in (
        container for spec in pod_specs(serving(manifests)) for container in spec["containers"]
    ):
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            [handler] = set(container[probe]) & {"exec", "httpGet", "tcpSocket", "grpc"}
            assert container[probe]["periodSeconds"] >= 1
            assert container[probe][handler]


def test_a_sidecar_decides_nothing_for_clients(case: Case, manifests: list[Manifest]) -> None:
    """One that is not ready would take its pod out of the Services, and calls with it."""
    for container in (one for spec in pod_specs(manifests) for one in spec.get("initContainers", [])):
        if (case.chart, container["name"]) not in SETS_RULES:
            assert container["restartPolicy"] == "Always", "what runs before the others holds them up"
        assert "readinessProbe" not in container


def test_a_redis_outage_restarts_no_sfu(case: Case, manifests: list[Manifest]) -> None:
    """LiveKit's `/` fails without Redis: it may decide readiness, never liveness."""
    if case.chart != "livekit-server":
        return
    [container] = containers(manifests)
    assert set(container["livenessProbe"]) & {"exec", "httpGet", "tcpSocket"} == {"tcpSocket"}
    assert set(container["startupProbe"]) & {"exec", "httpGet", "tcpSocket"} == {"tcpSocket"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/", "port": "signal"}


def test_every_container_asks_for_what_it_needs_and_is_held_to_its_memory(manifests: list[Manifest]) -> None:
    for container in containers(manifests):
        assert set(container["resources"]["requests"]) >= {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


def test_no_container_has_more_rights_than_it_uses(case: Case, manifests: list[Manifest]) -> None:
    for spec in pod_specs(manifests):
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] > 0
        assert pod["runAsGroup"] > 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not {"hostPID", "hostIPC", "shareProcessNamespace"} & set(spec)
    for container in containers(manifests):
        rights: dict[str, Any] = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        if (case.chart, container["name"]) in SETS_RULES:
            # Only root gets a capability.
            rights |= {"runAsNonRoot": False, "runAsUser": 0}
            rights["capabilities"] = {"drop": ["ALL"], "add": ["NET_ADMIN"]}
        if (case.chart, container["name"]) in WRITES_INTO_ITS_IMAGE:
            rights["readOnlyRootFilesystem"] = False
        assert container["securityContext"] == rights


def test_only_what_carries_media_uses_the_nodes_network(case: Case, manifests: list[Manifest]) -> None:
    for spec in pod_specs(manifests):
        assert spec.get("hostNetwork", False) == (case.chart in ON_THE_NODES_NETWORK)
        for volume in spec.get("volumes", []):
            assert "hostPath" not in volume


def test_a_pod_on_the_nodes_network_is_alone_there_and_resolves_services(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        spec = workload["spec"]["template"]["spec"]
        if not spec.get("hostNetwork"):
            continue
        assert spec["dnsPolicy"] == "ClusterFirstWithHostNet"
        # A surplus pod would find no free ports, and the rollout would never end.
        assert workload["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
        [apart] = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert apart["topologyKey"] == "kubernetes.io/hostname"
        assert apart["labelSelector"] == workload["spec"]["selector"]


def test_a_pod_with_ports_of_its_node_is_alone_there(manifests: list[Manifest]) -> None:
    """A node has each port once, also where they lead into the pod network."""
    for workload in workloads(manifests):
        spec = workload["spec"]["template"]["spec"]
        ports = [port for container in spec["containers"] for port in container.get("ports", [])]
        if not any("hostPort" in port for port in ports):
            continue
        assert workload["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
        [apart] = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert apart["topologyKey"] == "kubernetes.io/hostname"
        assert apart["labelSelector"] == workload["spec"]["selector"]


def test_a_stopping_pod_is_waited_for_but_not_for_ever(manifests: list[Manifest]) -> None:
    for spec in pod_specs(manifests):
        assert 5 <= spec["terminationGracePeriodSeconds"] <= 18000


def test_no_service_s_variables_reach_a_container(manifests: list[Manifest]) -> None:
    """LIVEKIT_SERVER_PORT=tcp://... would be read as a setting."""
    for spec in pod_specs(manifests):
        assert spec["enableServiceLinks"] is False


def test_images_are_complete_pinned_and_not_pulled_where_they_are(manifests: list[Manifest]) -> None:
    for container in containers(manifests):
        assert _PINNED.match(container["image"]), container["image"]
        assert container["imagePullPolicy"] == "IfNotPresent"


def test_a_job_ends_says_why_and_runs_again_only_when_its_inputs_change(manifests: list[Manifest]) -> None:
    for job in jobs(manifests):
        spec = job["spec"]
        # Within the ten minutes that Pulumi waits.
        assert spec["activeDeadlineSeconds"] < 600
        assert spec["backoffLimit"] <= 2
        # A Job that cleared itself away would be made again by every `up`.
        assert "ttlSecondsAfterFinished" not in spec
        # Jobs cannot be changed, and one that has failed would stay so.
        assert re.fullmatch(r"[a-z0-9-]+-[0-9a-f]{10}", job["metadata"]["name"])
        assert job["metadata"]["annotations"]["pulumi.com/replaceUnready"] == "true"
        pod = spec["template"]["spec"]
        assert pod["restartPolicy"] == "Never"
        for container in pod["containers"]:
            assert container["terminationMessagePath"] == "/dev/termination-log"
            assert not any(name.endswith("Probe") for name in container)


def test_what_runs_more_than_once_survives_a_drained_node(manifests: list[Manifest]) -> None:
    for workload in workloads(manifests):
        if workload["spec"].get("replicas", 1) < 2:
            continue
        [budget] = of_kind(manifests, "PodDisruptionBudget")
        assert budget["spec"]["selector"] == workload["spec"]["selector"]
        assert budget["spec"]["maxUnavailable"] == 1


_AT_START = "read when the container starts; the pod is replaced when it changes"
_COPIED = "copied, and the copy is validated before the process gets it"
_EACH_CONNECTION = "read for each new connection to the database; open connections stay, new ones fail"
_AT_STOP = "run once, before the container is stopped"
_SCRIPT = "the shell has the file open, which stays as it was"
# Kubernetes replaces these files while the container runs: (chart, container, volume) -> what it does then.
# Before you add an entry, try what an invalid file does to the real program (ADR 26).
CHANGE_WHILE_THEY_RUN = {
    ("coturn", "coturn", "config"): _AT_START,
    ("coturn", "coturn", "scripts"): _SCRIPT,
    ("coturn", "coturn", "tls"): _COPIED,
    ("coturn", "limits", "scripts"): _AT_START,
    ("coturn", "reports", "scripts"): _AT_START,
    ("edge", "haproxy", "config"): _COPIED,
    ("edge", "haproxy", "scripts"): _SCRIPT,
    ("edge", "haproxy", "tls"): _COPIED,
    ("edge", "watch", "config"): _COPIED,
    ("edge", "watch", "scripts"): _SCRIPT,
    ("edge", "watch", "tls"): _COPIED,
    ("egress", "egress", "config"): _AT_START,
    ("egress", "egress", "scripts"): _AT_STOP,
    ("egress", "recorder", "config"): _AT_START,
    ("livekit-server", "livekit-server", "config"): _AT_START,
    ("livekit-server", "livekit-server", "scripts"): _SCRIPT,
    ("redis", "redis", "acl"): _AT_START,
    ("redis", "redis", "config"): f"{_AT_START}; but the readiness probe, which decides nothing for clients",
    ("redis", "sentinel", "acl"): _AT_START,
    ("redis", "sentinel", "config"): _AT_START,
    ("token-api", "token-api", "database"): _EACH_CONNECTION,
}


def test_who_sees_files_change_is_known(case: Case, manifests: list[Manifest]) -> None:
    found = {
        (case.chart, container["name"], mount["name"])
        for spec in pod_specs(serving(manifests))
        for volume in spec.get("volumes", [])
        if "secret" in volume or "configMap" in volume
        for container in [*spec["containers"], *spec.get("initContainers", [])]
        for mount in container.get("volumeMounts", [])
        if mount["name"] == volume["name"] and "subPath" not in mount
    }
    assert found <= CHANGE_WHILE_THEY_RUN.keys()
