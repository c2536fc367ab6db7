"""All parts of a stack: version, origin, node, and whether each part is healthy.

`observe_cluster` and `observe_stack` query the cluster; all other functions are pure. `make status` and the
end of `make up` use the same function `parts`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from common.commands import CommandFailed
from local.cluster.cluster import SYSTEM_NAMESPACES, Cluster
from local.cluster.doors import Door, recorded_doors
from local.cluster.load import manifest_labels, running_containers
from local.cluster.node import Node
from local.images.catalog import BUILT_HERE_LABEL
from local.toolchain import kubernetes_provider
from local.toolchain.kubernetes_provider import Provider

_WORKLOADS = "deployments.apps,statefulsets.apps,daemonsets.apps"
_CRASH_LOOP = "CrashLoopBackOff"
_SECONDS = 15.0

_Object = Mapping[str, Any]


class Kubectl(Protocol):
    """`kubectl` on one cluster."""

    def __call__(self, *words: str, timeout: float) -> str:
        """Run it and return its output.

        Raises:
            CommandFailed: it failed, or did not end within `timeout` seconds.
        """


@dataclass(frozen=True)
class Part:
    """One line of the table."""

    kind: str  # "plugin", "node", "door", "recording", "workload" or "container"
    name: str
    node: str
    version: str
    origin: str  # of a plugin: `Origin`; of an image: "built here" or "official"; empty for the rest
    healthy: bool
    detail: str  # why it is not healthy; empty otherwise

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def provider_part(provider: Provider | None) -> Part:
    """The official Kubernetes provider. If it is missing, `make up` downloads or builds it."""
    if provider is None:
        return Part("plugin", kubernetes_provider.NAME, "", "", "", False, "missing: `make up` gets it")
    return Part(
        "plugin", kubernetes_provider.NAME, "", f"v{provider.version}", provider.origin.value, True, ""
    )


@dataclass(frozen=True)
class Observation:
    """The state of a stack at one moment.

    Attributes:
        broken: the reason why the cluster could not be queried; all other attributes are then empty.
        running: ids of the containers that run on each node, by containerd; None if containerd cannot be
            queried. The API server's information may be older: pods of a dead node stay ready there until
            the node's kubelet reports again.
    """

    broken: tuple[Part, ...] = ()
    nodes: tuple[_Object, ...] = ()
    doors: tuple[Door, ...] = ()
    workloads: tuple[_Object, ...] = ()
    jobs: tuple[_Object, ...] = ()
    pods: tuple[_Object, ...] = ()
    running: Mapping[str, Collection[str]] | None = None
    built_here: Mapping[str, Collection[str]] = field(default_factory=dict)


def observe_cluster(cluster: Cluster, namespaces: Collection[str], *, origins: bool = True) -> Observation:
    """A local cluster: its nodes, the doors for browsers, and the pods of Kubernetes itself and of the stack.

    Pods of other namespaces, such as a test's, do not count.

    Args:
        namespaces: the stack's namespaces.
        origins: also find out whether images were built here, which takes seconds.
    """
    down = tuple(
        _broken(node.name, "its processes are not there: `make up` starts them")
        for node in cluster.nodes
        if node.pid() is None
    )
    if down:
        return Observation(broken=down)
    try:
        asked = ["get", f"nodes,pods,jobs.batch,{_WORKLOADS}", "-A", "-o", "json"]
        items = json.loads(cluster.kubectl(*asked, timeout=_SECONDS))["items"]
        running = {node.name: running_containers(node) for node in cluster.nodes}
    except CommandFailed as error:
        return Observation(broken=(_broken(cluster.control_plane.name, str(error)),))
    known = {*SYSTEM_NAMESPACES, *namespaces}
    return _observation(
        [item for item in items if item["metadata"].get("namespace", "") in {"", *known}],
        doors=tuple(recorded_doors(cluster.instance)),
        running=running,
        built_here={node.name: images_built_here(node) for node in cluster.nodes} if origins else {},
    )


def observe_stack(kubectl: Kubectl, namespaces: Collection[str]) -> Observation:
    """The stack's namespaces on a cluster that local/ did not make."""
    items: list[_Object] = []
    try:
        for namespace in namespaces:
            asked = ["-n", namespace, "get", f"pods,jobs.batch,{_WORKLOADS}", "-o", "json"]
            items += json.loads(kubectl(*asked, timeout=_SECONDS))["items"]
    except CommandFailed as error:
        return Observation(broken=(_broken("cluster", str(error), node=""),))
    return _observation(items)


def images_built_here(node: Node) -> set[str]:
    """References on the node whose configuration carries our label."""
    return {ref for ref, labels in manifest_labels(node).items() if labels.get(BUILT_HERE_LABEL) == "true"}


def _observation(items: list[_Object], **others: Any) -> Observation:
    def of(*kinds: str) -> tuple[_Object, ...]:
        return tuple(item for item in items if item["kind"] in kinds)

    return Observation(
        nodes=of("Node"),
        pods=of("Pod"),
        jobs=of("Job"),
        workloads=of("Deployment", "StatefulSet", "DaemonSet"),
        **others,
    )


def _broken(name: str, detail: str, *, node: str | None = None) -> Part:
    return Part("node", name, name if node is None else node, "", "", False, detail)


def parts(seen: Observation) -> list[Part]:
    """Nodes, then the doors for browsers, workloads with missing pods, and every container of every pod."""
    if seen.broken:
        return list(seen.broken)
    return [
        *map(_node_part, seen.nodes),
        *map(door_part, seen.doors),
        *(part for workload in seen.workloads for part in _recording_parts(workload)),
        *(part for workload in seen.workloads for part in _workload_parts(workload, seen.pods)),
        *(part for pod in seen.pods for part in pod_parts(pod, seen)),
    ]


def _node_part(node: _Object) -> Part:
    name = node["metadata"]["name"]
    ready = next((c for c in node["status"]["conditions"] if c["type"] == "Ready"), None)
    healthy = ready is not None and ready["status"] == "True"
    detail = "" if healthy else f"NotReady: {(ready or {}).get('message', 'it has not reported')}"
    return Part("node", name, name, node["status"]["nodeInfo"]["kubeletVersion"], "", healthy, detail)


def door_part(door: Door) -> Part:
    """A door that no longer runs is opened again by `make up`."""
    healthy = door.process.runs
    detail = "" if healthy else "its process is not there: `make up` starts it"
    return Part("door", door.name, "", "", "", healthy, detail)


def _recording_parts(workload: _Object) -> Iterator[Part]:
    """One part if the stack records nothing: token-api answers `recording-unavailable` then, and not why."""
    for container in workload["spec"]["template"]["spec"]["containers"]:
        variables = {each["name"]: each.get("value", "") for each in container.get("env", [])}
        if variables.get("TOKEN_API_EGRESS_KIND") == "none":
            yield Part("recording", "egress.kind none: nothing records", "", "", "", True, "")


def _workload_parts(workload: _Object, pods: tuple[_Object, ...]) -> Iterator[Part]:
    """One part if pods are missing or the rollout has not ended; existing pods have their own parts."""
    wanted = _wanted_pods(workload)
    labels = workload["spec"]["selector"].get("matchLabels", {})
    there = [
        pod
        for pod in pods
        if pod["metadata"]["namespace"] == workload["metadata"]["namespace"]
        and labels.items() <= pod["metadata"].get("labels", {}).items()
        and not _is_ending(pod)
    ]
    if len(there) < wanted:
        detail = f"{len(there)} of {wanted} pods of this {workload['kind']} are there"
    else:
        detail = _why_not_rolled_out(workload, wanted)
    if detail:
        name = f"{workload['metadata']['namespace']}/{workload['metadata']['name']}"
        yield Part("workload", name, "", "", "", False, detail)


def _why_not_rolled_out(workload: _Object, wanted: int) -> str:
    """Why a rollout has not ended; empty if all pods of the workload have the newest template.

    Release 4.25 of the Kubernetes provider reports an update as complete if it reads the object before its
    controller has seen the change. So a rollout may still be running when `pulumi up` ends.
    """
    status = workload.get("status", {})
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return f"the controller of this {workload['kind']} has not seen its last change yet"
    field = "updatedNumberScheduled" if workload["kind"] == "DaemonSet" else "updatedReplicas"
    updated = int(status.get(field, 0))
    if updated < wanted:
        return f"{updated} of {wanted} pods of this {workload['kind']} are updated"
    return ""


def _wanted_pods(workload: _Object) -> int:
    if workload["kind"] == "DaemonSet":
        return int(workload.get("status", {}).get("desiredNumberScheduled", 0))
    return int(workload["spec"].get("replicas", 1))


def _is_ending(pod: _Object) -> bool:
    """Whether the pod was deleted: another pod has replaced it, or none is wanted."""
    return "deletionTimestamp" in pod["metadata"]


def pod_parts(pod: _Object, seen: Observation) -> list[Part]:
    """One part per container. A container that ended successfully, as in a Job, is healthy."""
    metadata, status = pod["metadata"], pod["status"]
    node = pod["spec"].get("nodeName", "")
    known = _container_states(pod)
    # Sidecars keep running beside the other containers; all other init containers have ended.
    sidecars = [one for one in pod["spec"].get("initContainers", []) if one.get("restartPolicy") == "Always"]
    made = []
    for container in [*pod["spec"]["containers"], *sidecars]:
        image = container["image"]
        entry = known.get(container["name"])
        if _is_ending(pod) or _of_a_completed_job(pod, seen.jobs) or status.get("phase") == "Succeeded":
            detail = ""
        elif entry is None or not entry["ready"]:
            detail = _why_unhealthy(pod, entry)
        else:
            detail = "" if _runs(entry, node, seen) else "it ended with its node and has not started again"
        made.append(
            Part(
                kind="container",
                name=f"{metadata['namespace']}/{metadata['name']}/{container['name']}",
                node=node,
                version=image.rpartition(":")[2],
                origin="built here" if image in seen.built_here.get(node, ()) else "official",
                healthy=not detail,
                detail=detail,
            )
        )
    return made


def _container_states(pod: _Object) -> dict[str, _Object]:
    return {
        entry["name"]: entry
        for kind in ("initContainerStatuses", "containerStatuses")
        for entry in pod["status"].get(kind, [])
    }


def _of_a_completed_job(pod: _Object, jobs: tuple[_Object, ...]) -> bool:
    """Whether another pod of the same Job has succeeded. Then a failed attempt no longer matters."""
    owners = {owner["uid"] for owner in pod["metadata"].get("ownerReferences", [])}
    return any(
        job["metadata"]["uid"] in owners
        and any(
            one["type"] == "Complete" and one["status"] == "True"
            for one in job.get("status", {}).get("conditions", [])
        )
        for job in jobs
    )


def _runs(entry: _Object, node: str, seen: Observation) -> bool:
    """Whether the node also has the container; true if the node cannot be queried."""
    if seen.running is None or node not in seen.running:
        return True
    return entry.get("containerID", "").rpartition("://")[2] in seen.running[node]


def _why_unhealthy(pod: _Object, entry: _Object | None) -> str:
    if entry is None:
        conditions = pod["status"].get("conditions", [])
        return next((c["message"] for c in conditions if c.get("message")), "not scheduled yet")
    state = entry["state"]
    waiting = state.get("waiting") or state.get("terminated") or {}
    reason = ": ".join(filter(None, [waiting.get("reason"), waiting.get("message")]))
    ended = (entry.get("lastState") or {}).get("terminated")
    last = f"; it ended last with {_ending(ended)}" if ended and not state.get("terminated") else ""
    return (reason or "running, and its readiness probe fails") + last


def _ending(terminated: _Object) -> str:
    """
    >>> _ending({"exitCode": 137, "reason": "OOMKilled"})
    'exit code 137 (OOMKilled)'
    """
    reason = f" ({terminated['reason']})" if terminated.get("reason") else ""
    return f"exit code {terminated.get('exitCode')}{reason}"


@dataclass(frozen=True)
class CrashLoop:
    """A crashing pod. Kubernetes waits longer before each restart of its containers, up to five minutes.

    Attributes:
        owner: the id of the controller that would replace the pod.
    """

    namespace: str
    pod: str
    owner: str


def crash_loops(seen: Observation) -> list[CrashLoop]:
    """Pods that crash or have failed for good, and that a controller replaces when they are deleted."""
    return [
        CrashLoop(pod["metadata"]["namespace"], pod["metadata"]["name"], owner)
        for pod in seen.pods
        if (owner := _replacing_owner(pod)) and not _is_ending(pod) and (_in_crash_loop(pod) or _failed(pod))
    ]


def _replacing_owner(pod: _Object) -> str | None:
    """The id of the controller that would replace the pod; None if there is none.

    Also None for a pod of a Job, because a Job counts a deleted pod as a failure.
    """
    for owner in pod["metadata"].get("ownerReferences", []):
        if owner.get("controller") and owner["kind"] in {"ReplicaSet", "StatefulSet", "DaemonSet"}:
            return str(owner["uid"])
    return None


def _in_crash_loop(pod: _Object) -> bool:
    return any(
        (entry["state"].get("waiting") or {}).get("reason") == _CRASH_LOOP
        for entry in _container_states(pod).values()
    )


def _failed(pod: _Object) -> bool:
    """Whether the pod failed and never starts again, for example because its node went down."""
    return bool(pod["status"].get("phase") == "Failed")
