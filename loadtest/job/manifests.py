"""The Kubernetes objects of a run inside a cluster. Pure functions.

Everything carries the run's label, and is owned by the Job, so that it goes with it; the Job itself goes
by its deadline and TTL where nobody is left to delete it.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final

from loadtest.job.messages import Orders

NAMESPACE: Final = "livekit-load"
RUN_LABEL: Final = "livekit-platform/load-run"
ORDERS_ANNOTATION: Final = "livekit-platform/orders"
INDEX_ANNOTATION: Final = "batch.kubernetes.io/job-completion-index"

# Where a pod finds what it is given.
ASSIGNMENT_FILE: Final = "/etc/loadtest/assignment/assignment.json"
ORDERS_FILE: Final = "/etc/loadtest/orders/orders.json"
_CA_FILE: Final = "/etc/loadtest/assignment/ca.pem"

_OURS: Final = {
    "app.kubernetes.io/name": "loadtest",
    "app.kubernetes.io/managed-by": "livekit-platform-loadtest",
}
OURS_SELECTOR: Final = ",".join(f"{key}={value}" for key, value in _OURS.items())
_NOBODY: Final = 65532
# Resident in a run of 720p with three layers: the engine 86 MiB, a publisher 187 MiB, a viewer 81 MiB.
_ENGINE_MIB, _CLIENT_MIB = 160, 240
_CLIENT_MILLICORES = 100
_KEPT_SECONDS = 300
_STOPPING_SECONDS = 30


@dataclass(frozen=True)
class PodPorts:
    """A pod of the stack, as clients reach it: what its containers say.

    Attributes:
        addresses: where it answers.
        ports: protocol (TCP, UDP) and number.
    """

    addresses: tuple[IPv4Address, ...]
    ports: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Reach:
    """What the pods may reach.

    Attributes:
        servers: SFUs and TURN servers, on their nodes' network.
        edge: addresses of the edge; where there are none, DNS leads to it, and to anywhere.
        edge_namespace: of the edge's pods: on the own node its address is led to the pod before
            policies look.
    """

    servers: tuple[PodPorts, ...]
    edge: tuple[IPv4Address, ...]
    edge_namespace: str


@dataclass(frozen=True)
class Plan:
    """The run as the cluster is told it.

    Attributes:
        names: what the pods resolve, beside what DNS knows.
        clients_per_pod: of the fullest one; memory and processors are asked for by it.
        lasts_s: after so many seconds the cluster ends the pods, whatever they do.
    """

    run_id: str
    namespace: str
    pods: int
    image: str
    node_selector: Mapping[str, str]
    names: Mapping[str, IPv4Address]
    trusts_own_ca: bool
    clients_per_pod: int
    lasts_s: float
    reach: Reach

    @property
    def name(self) -> str:
        return f"load-{self.run_id}"


def labels(run_id: str) -> dict[str, str]:
    return {**_OURS, RUN_LABEL: run_id}


def namespace(name: str) -> dict[str, Any]:
    """It admits only pods that keep the strictest of Kubernetes' own standards."""
    strict = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {**_OURS, **strict}},
    }


def secret(plan: Plan, owner: Mapping[str, Any], *, assignment: str, ca_certificate: str) -> dict[str, Any]:
    """What the pods do, with the stack's keys: a file in each pod, no argument and no variable."""
    files = {"assignment.json": assignment, "ca.pem": ca_certificate}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(plan, owner),
        "immutable": True,
        "data": {name: base64.b64encode(content.encode()).decode() for name, content in files.items()},
    }


def network_policy(plan: Plan, owner: Mapping[str, Any]) -> dict[str, Any]:
    """The run's pods reach what clients reach, and nothing reaches them but answers."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(plan, owner),
        "spec": {
            "podSelector": {"matchLabels": labels(plan.run_id)},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [*map(_to_server, plan.reach.servers), *_to_edge(plan.reach)],
        },
    }


def job(plan: Plan) -> dict[str, Any]:
    """The pods. Suspended: nothing runs before the Secret and the policy are there."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(plan, None),
        "spec": {
            "suspend": True,
            "completionMode": "Indexed",
            "completions": plan.pods,
            "parallelism": plan.pods,
            # Per index: by `backoffLimit: 0` one dead pod would take all the others with it.
            "backoffLimitPerIndex": 0,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": int(plan.lasts_s),
            "ttlSecondsAfterFinished": _KEPT_SECONDS,
            "template": {"metadata": {"labels": labels(plan.run_id)}, "spec": _pod(plan)},
        },
    }


def owner_of(made: Mapping[str, Any]) -> dict[str, Any]:
    """The reference by which an object goes with this Job."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": made["metadata"]["name"],
        "uid": made["metadata"]["uid"],
    }


def orders_patch(orders: Orders) -> dict[str, Any]:
    """What a pod is told: kubelets write a changed annotation into the pod's file at once."""
    return {"metadata": {"annotations": {ORDERS_ANNOTATION: orders.model_dump_json()}}}


def _pod(plan: Plan) -> dict[str, Any]:
    memory = f"{_ENGINE_MIB + _CLIENT_MIB * plan.clients_per_pod}Mi"
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _STOPPING_SECONDS,
        "nodeSelector": dict(plan.node_selector),
        "hostAliases": [{"ip": str(ip), "hostnames": [name]} for name, ip in sorted(plan.names.items())],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels(plan.run_id)},
            }
        ],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _NOBODY,
            "runAsGroup": _NOBODY,
            "fsGroup": _NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "load",
                "image": plan.image,
                "imagePullPolicy": "IfNotPresent",
                "env": [
                    {"name": "HOME", "value": "/tmp"},  # noqa: S108 - the container's own
                    *([{"name": "SSL_CERT_FILE", "value": _CA_FILE}] if plan.trusts_own_ca else []),
                ],
                # No limit of processor time: a throttled generator would measure its own throttling.
                "resources": {
                    "requests": {
                        "cpu": f"{_CLIENT_MILLICORES * (1 + plan.clients_per_pod)}m",
                        "memory": memory,
                    },
                    "limits": {"memory": memory},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": [
                    {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108
                    {"name": "assignment", "mountPath": "/etc/loadtest/assignment", "readOnly": True},
                    {"name": "orders", "mountPath": "/etc/loadtest/orders", "readOnly": True},
                ],
            }
        ],
        "volumes": [
            {"name": "scratch", "emptyDir": {}},
            {"name": "assignment", "secret": {"secretName": plan.name, "defaultMode": 0o440}},
            {"name": "orders", "downwardAPI": {"items": [_orders_item()]}},
        ],
    }


def _orders_item() -> dict[str, Any]:
    return {
        "path": ORDERS_FILE.rpartition("/")[2],
        "fieldRef": {"fieldPath": f"metadata.annotations['{ORDERS_ANNOTATION}']"},
    }


def _metadata(plan: Plan, owner: Mapping[str, Any] | None) -> dict[str, Any]:
    owners = {} if owner is None else {"ownerReferences": [dict(owner)]}
    return {"name": plan.name, "namespace": plan.namespace, "labels": labels(plan.run_id), **owners}


def _to_server(server: PodPorts) -> dict[str, Any]:
    return {
        "to": [_block(address) for address in server.addresses],
        "ports": [{"protocol": protocol, "port": port} for protocol, port in server.ports],
    }


def _to_edge(reach: Reach) -> list[dict[str, Any]]:
    if not reach.edge:
        dns = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
        return [{"ports": dns}, {"ports": [{"protocol": "TCP", "port": 443}]}]
    pods = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": reach.edge_namespace}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "edge"}},
    }
    https = [{"protocol": "TCP", "port": 443}]
    # The pod's own port is another; what may enter there is for the edge's policy to say.
    return [{"to": [_block(address) for address in reach.edge], "ports": https}, {"to": [pods]}]


def _block(address: IPv4Address) -> dict[str, Any]:
    return {"ipBlock": {"cidr": f"{address}/32"}}
