"""What every workload relies on: DNS, pods that reach each other across nodes, volumes, enforced policies."""

from __future__ import annotations

from typing import Any

import pytest

from common.commands import CommandFailed
from common.waiting import wait_until
from tests.deployment.kubectl import SLEEP, Kubectl

pytestmark = pytest.mark.own_namespace

_SERVE = "mkdir /www && echo served > /www/index.html && exec httpd -f -p 8080 -h /www"


@pytest.fixture(scope="module")
def client(kubectl: Kubectl, scratch: str, node_names: list[str]) -> str:
    """Start a client pod on the last node and a server on the first; returns the client's name."""
    kubectl.create_pod(scratch, "server", node=node_names[0], script=_SERVE)
    kubectl.create_pod(scratch, "client", node=node_names[-1])
    kubectl.wait_for_pods(scratch, "server", "client")
    return "client"


@pytest.fixture(scope="module")
def server(kubectl: Kubectl, scratch: str, client: str) -> str:
    """The address of the pod that answers on port 8080."""
    return kubectl.pod_ip(scratch, "server")


def test_nodes_are_ready_and_take_pods(kubectl: Kubectl) -> None:
    for node in kubectl.get("nodes"):
        conditions = {c["type"]: c["status"] for c in node["status"]["conditions"]}
        assert conditions["Ready"] == "True", node["metadata"]["name"]
        assert not node["spec"].get("taints"), node["metadata"]["name"]


def test_pods_on_different_nodes_reach_each_other(
    kubectl: Kubectl, scratch: str, server: str, client: str
) -> None:
    fetch = rf"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 3 {server} 8080"
    wait_until(
        lambda: kubectl.in_pod(scratch, client, fetch, check=False).stdout.endswith("served\n"),
        timeout=20,
        describe=f"an answer from {server}:8080 on the other node",
    )


def test_dns_names_of_services_resolve(kubectl: Kubectl, scratch: str, client: str) -> None:
    name = "kubernetes.default.svc.cluster.local"
    service = kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}").stdout
    assert service in kubectl.in_pod(scratch, client, f"nslookup {name}").stdout


def test_a_network_policy_denies_and_its_removal_allows(
    kubectl: Kubectl, scratch: str, server: str, client: str
) -> None:
    assert kubectl.connects(scratch, client, server, 8080), "the way must be open before it is closed"
    kubectl.apply(
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": "closed", "namespace": scratch},
            "spec": {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"]},
        }
    )
    try:
        wait_until(
            lambda: not kubectl.connects(scratch, client, server, 8080),
            timeout=30,
            describe="the policy to be enforced",
        )
    finally:
        kubectl("-n", scratch, "delete", "networkpolicy", "closed")
    wait_until(
        lambda: kubectl.connects(scratch, client, server, 8080),
        timeout=30,
        describe="the way to be open again",
    )


def test_a_volume_outlives_its_pod(kubectl: Kubectl, scratch: str) -> None:
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "kept", "namespace": scratch},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}},
        }
    )
    mounted: dict[str, Any] = {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "kept"}}],
        "container": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
    }
    kubectl.start_pod(scratch, "writer", script=f"echo kept > /data/file; {SLEEP}", **mounted)
    kubectl("-n", scratch, "delete", "pod", "writer")
    kubectl.start_pod(scratch, "reader", **mounted)
    assert kubectl.in_pod(scratch, "reader", "cat /data/file").stdout == "kept\n"


def test_a_misspelt_field_is_refused(kubectl: Kubectl, scratch: str) -> None:
    pod = (
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: bad, namespace: {scratch}}},"
        " spec: {container: [{name: main, image: x}]}}"
    )
    with pytest.raises(CommandFailed, match="container"):
        kubectl("apply", "--validate=strict", "--dry-run=server", "-f", "-", input=pod)
