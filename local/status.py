"""What runs, at which version, from where, on which node, and whether it is healthy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from common.commands import CommandFailed, run
from local.cluster.cluster import Cluster
from local.cluster.doors import Door, recorded_doors
from local.cluster.load import manifest_labels
from local.cluster.node import Node
from local.images.catalog import BUILT_HERE_LABEL
from local.toolchain import kubernetes_provider
from local.toolchain.kubernetes_provider import Provider


@dataclass(frozen=True)
class Part:
    """One line of the table."""

    kind: str  # "plugin", "node", "door" or "container"
    name: str
    node: str
    version: str
    origin: str  # of a plugin: `Origin`; of an image: "built here" or "official"; empty for the rest
    healthy: bool
    detail: str  # why it is not healthy; empty otherwise

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def provider_part(provider: Provider | None) -> Part:
    """The official Kubernetes provider. `make up` gets a missing one."""
    if provider is None:
        return Part("plugin", kubernetes_provider.NAME, "", "", "", False, "missing: `make up` gets it")
    return Part(
        "plugin", kubernetes_provider.NAME, "", f"v{provider.version}", provider.origin.value, True, ""
    )


def of_cluster(cluster: Cluster) -> list[Part]:
    """Nodes first, then the doors for browsers, then every container of every pod."""
    down = [
        Part(
            "node", node.name, node.name, "", "", False, "its processes are not there: `make up` starts them"
        )
        for node in cluster.nodes
        if node.pid() is None
    ]
    if down:
        return down
    try:
        nodes = json.loads(cluster.kubectl("get", "nodes", "-o", "json", timeout=15))["items"]
        pods = json.loads(cluster.kubectl("get", "pods", "-A", "-o", "json", timeout=15))["items"]
    except CommandFailed as error:
        return [
            Part("node", cluster.control_plane.name, cluster.control_plane.name, "", "", False, str(error))
        ]
    built_here = {node.name: images_built_here(node) for node in cluster.nodes}
    return [
        *map(_node_part, nodes),
        *map(door_part, recorded_doors(cluster.instance)),
        *(part for pod in pods for part in pod_parts(pod, built_here)),
    ]


def of_stack(outputs: Mapping[str, Any]) -> list[Part]:
    """Every container of the platform's namespace, on a cluster that local/ did not make."""
    command = ["kubectl", f"--kubeconfig={outputs['kubeconfig_path']}", "-n", outputs["namespace"]]
    try:
        printed = run([*command, "get", "pods", "-o", "json"], timeout=15).stdout
    except CommandFailed as error:
        return [Part("node", "cluster", "", "", "", False, str(error))]
    return [part for pod in json.loads(printed)["items"] for part in pod_parts(pod, {})]


def images_built_here(node: Node) -> set[str]:
    """References on the node whose configuration carries our label."""
    return {ref for ref, labels in manifest_labels(node).items() if labels.get(BUILT_HERE_LABEL) == "true"}


def _node_part(node: Mapping[str, Any]) -> Part:
    name = node["metadata"]["name"]
    ready = next((c for c in node["status"]["conditions"] if c["type"] == "Ready"), None)
    healthy = ready is not None and ready["status"] == "True"
    detail = "" if healthy else (ready or {}).get("message", "it has not reported")
    return Part("node", name, name, node["status"]["nodeInfo"]["kubeletVersion"], "", healthy, detail)


def door_part(door: Door) -> Part:
    """A door that no longer runs is opened again by `make up`."""
    healthy = door.process.runs
    detail = "" if healthy else "its process is not there: `make up` starts it"
    return Part("door", door.name, "", "", "", healthy, detail)


def pod_parts(pod: Mapping[str, Any], built_here: Mapping[str, set[str]]) -> list[Part]:
    """A part per container; one that has ended well (a Job's) is healthy. Pure."""
    metadata, status = pod["metadata"], pod["status"]
    node = pod["spec"].get("nodeName", "")
    known = {
        entry["name"]: entry
        for kind in ("initContainerStatuses", "containerStatuses")
        for entry in status.get(kind, [])
    }
    # Those that go on beside the others; what only comes before them has ended.
    sidecars = [one for one in pod["spec"].get("initContainers", []) if one.get("restartPolicy") == "Always"]
    parts = []
    for container in [*pod["spec"]["containers"], *sidecars]:
        image = container["image"]
        entry = known.get(container["name"])
        done = status.get("phase") == "Succeeded"
        healthy = done or bool(entry and entry["ready"])
        parts.append(
            Part(
                kind="container",
                name=f"{metadata['namespace']}/{metadata['name']}/{container['name']}",
                node=node,
                version=image.rpartition(":")[2],
                origin="built here" if image in built_here.get(node, set()) else "official",
                healthy=healthy,
                detail="" if healthy else _why_unhealthy(pod, entry),
            )
        )
    return parts


def _why_unhealthy(pod: Mapping[str, Any], entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        conditions = pod["status"].get("conditions", [])
        return next((c["message"] for c in conditions if c.get("message")), "not scheduled yet")
    state = entry["state"]
    waiting = state.get("waiting") or state.get("terminated") or {}
    reason = ": ".join(filter(None, [waiting.get("reason"), waiting.get("message")]))
    return reason or "running, and its readiness probe fails"
