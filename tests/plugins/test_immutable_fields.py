"""Every kind that the charts use: a change that its validation forbids is a replacement, and nothing else is.

The wording of the API server's refusals is what the provider reads, so the API server itself is asked.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from local.plugins.kubernetes import paths, values
from local.plugins.kubernetes.cluster import Cluster, Refused
from local.plugins.kubernetes.immutable import Mutability
from local.plugins.kubernetes.objects import reference
from local.plugins.kubernetes.resources import Compared, Resources
from local.plugins.kubernetes.settings import Settings
from local.plugins.kubernetes.values import Json
from local.plugins.kubernetes.waiting import Waiter
from tests.running import ClusterAccess

POD: Json = {
    "metadata": {"labels": {"app": "a"}},
    "spec": {"containers": [{"name": "a", "image": "docker.io/library/busybox:1.35.0"}]},
}
SELECTED: Json = {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": POD}
CLAIM: Json = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
OBJECTS: dict[str, Json] = {
    "Deployment": {"apiVersion": "apps/v1", "spec": SELECTED},
    "StatefulSet": {"apiVersion": "apps/v1", "spec": {**SELECTED, "serviceName": "a"}},
    "DaemonSet": {
        "apiVersion": "apps/v1",
        "spec": {
            "selector": SELECTED["selector"],
            "template": {**POD, "spec": {**POD["spec"], "nodeSelector": {"no": "node"}}},
        },
    },
    "Job": {
        "apiVersion": "batch/v1",
        "spec": {"suspend": True, "template": {"spec": {**POD["spec"], "restartPolicy": "Never"}}},
    },
    "PersistentVolumeClaim": {"apiVersion": "v1", "spec": {**CLAIM, "storageClassName": "none"}},
    "Service": {"apiVersion": "v1", "spec": {"clusterIP": "None", "ports": [{"port": 80}]}},
    "Secret": {"apiVersion": "v1", "type": "Opaque", "data": {"a": "YQ=="}},
    "ConfigMap": {"apiVersion": "v1", "immutable": True, "data": {"a": "a"}},
    "RoleBinding": {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"},
    },
    "Role": {"apiVersion": "rbac.authorization.k8s.io/v1", "rules": []},
    "PodDisruptionBudget": {
        "apiVersion": "policy/v1",
        "spec": {"minAvailable": 1, "selector": SELECTED["selector"]},
    },
    "NetworkPolicy": {"apiVersion": "networking.k8s.io/v1", "spec": {"podSelector": {}}},
}
REPLACED = [
    ("Deployment", "spec.selector.matchLabels.app", "b"),
    ("StatefulSet", "spec.serviceName", "b"),
    ("StatefulSet", "spec.podManagementPolicy", "Parallel"),
    ("StatefulSet", "spec.volumeClaimTemplates", [{"metadata": {"name": "v"}, "spec": CLAIM}]),
    ("DaemonSet", "spec.selector.matchLabels.app", "b"),
    ("Job", "spec.template.metadata", {"labels": {"a": "b"}}),
    ("Job", "spec.completionMode", "Indexed"),
    ("PersistentVolumeClaim", "spec.storageClassName", "other"),
    ("PersistentVolumeClaim", "spec.accessModes[0]", "ReadWriteMany"),
    ("Service", "spec.clusterIP", "10.96.77.77"),
    ("Secret", "type", "kubernetes.io/dockercfg"),
    ("ConfigMap", "data.a", "b"),
    ("RoleBinding", "roleRef.name", "b"),
    ("Deployment", "metadata.name", "other"),
    ("Deployment", "metadata.namespace", "default"),
]
UPDATED = [
    ("Deployment", "spec.replicas", 2),
    ("Deployment", "spec.template.spec.containers[0].image", "docker.io/library/busybox:1"),
    ("StatefulSet", "spec.replicas", 2),
    ("StatefulSet", "spec.template.spec.terminationGracePeriodSeconds", 5),
    ("DaemonSet", "spec.template.spec.nodeSelector.no", "more"),
    ("Job", "spec.activeDeadlineSeconds", 5),
    ("Service", "spec.ports[0].port", 81),
    ("Secret", "data.a", "Yg=="),
    ("Role", "rules", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]),
    ("PodDisruptionBudget", "spec.minAvailable", 2),
    ("NetworkPolicy", "spec.policyTypes", ["Ingress", "Egress"]),
    ("ConfigMap", "metadata.labels", {"a": "b"}),
]
INVALID = [
    ("Deployment", "spec.replicas", -1),
    ("Service", "spec.ports[0].port", 0),
    ("Secret", "data.a", "no base64"),
    ("Deployment", "spec.template.spec.containers[0].ports", [{"containerPort": 70000}]),
]


@pytest.fixture(scope="module")
def resources(cluster: ClusterAccess) -> Iterator[Resources]:
    """The provider's operations, without an engine."""
    settings = Settings(
        kubeconfig=str(cluster.kubeconfig), mutability=Mutability(config_maps=True, secrets=True)
    )
    connection = Cluster(settings)
    yield Resources(connection, settings, Waiter(connection, threading.Event()))
    connection.close()


def compared(resources: Resources, namespace: str, kind: str, path: str, value: Any) -> Compared:
    """What the provider makes of a change of one field of an object that is there."""
    old = {"kind": kind, **copy.deepcopy(OBJECTS[kind])}
    old["metadata"] = {"name": "a", "namespace": namespace, "annotations": {"pulumi.com/skipAwait": "true"}}
    before = values.marked_object(old, {})
    if resources.cluster.get(reference(old)) is None:
        resources.create(before, timeout=1, preview=False, report=lambda _: None)
    found = resources.read("", reference(old).id, before, {})
    assert found
    new = copy.deepcopy(old)
    *way, last = paths.parse(path)
    inside: Any = new
    for step in way:
        inside = inside.setdefault(step, {}) if isinstance(inside, dict) else inside[step]
    inside[last] = value
    return resources.diff("the urn", found[0], before, values.marked_object(new, {}), [])


@pytest.mark.parametrize(("kind", "path", "value"), REPLACED)
def test_a_forbidden_change_is_a_replacement(
    resources: Resources, namespace: str, kind: str, path: str, value: Any
) -> None:
    found = compared(resources, namespace, kind, path, value)
    assert found.replaces
    assert found.delete_first is not path.startswith("metadata.name"), (
        "the name is free only after the old is gone"
    )


@pytest.mark.parametrize(("kind", "path", "value"), UPDATED)
def test_an_allowed_change_is_an_update(
    resources: Resources, namespace: str, kind: str, path: str, value: Any
) -> None:
    found = compared(resources, namespace, kind, path, value)
    assert found.differences
    assert not found.replaces


@pytest.mark.parametrize(("kind", "path", "value"), INVALID)
def test_a_wrong_value_is_an_error_and_no_replacement(
    resources: Resources, namespace: str, kind: str, path: str, value: Any
) -> None:
    with pytest.raises(Refused):
        compared(resources, namespace, kind, path, value)
