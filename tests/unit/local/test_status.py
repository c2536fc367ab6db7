"""What `make status` says of a pod, from what Kubernetes says of it."""

from __future__ import annotations

from typing import Any

import pytest

from common.processes import Process
from local.cluster.doors import Door
from local.status import CrashLoop, Observation, Part, crash_loops, parts, pod_parts

_IMAGE = "docker.io/livekit/livekit-server:v1.13.5"


def _pod(
    status: dict[str, Any], *, node: str | None = "node1", containers: tuple[str, ...] = ("app",)
) -> Any:
    return {
        "metadata": {"namespace": "livekit", "name": "pod-0"},
        "spec": {
            "containers": [{"name": name, "image": _IMAGE} for name in containers],
            **({"nodeName": node} if node else {}),
        },
        "status": status,
    }


def _container(name: str = "app", *, ready: bool, **state: Any) -> dict[str, Any]:
    return {"name": name, "ready": ready, "state": state}


def _only(pod: Any) -> Part:
    (part,) = pod_parts(pod, Observation())
    return part


def test_a_ready_container_is_healthy() -> None:
    running = {"phase": "Running", "containerStatuses": [_container(ready=True, running={})]}
    assert _only(_pod(running)) == Part(
        kind="container",
        name="livekit/pod-0/app",
        node="node1",
        version="v1.13.5",
        origin="official",
        healthy=True,
        detail="",
    )


def test_where_an_image_comes_from_is_a_matter_of_the_pods_own_node() -> None:
    running = {"phase": "Running", "containerStatuses": [_container(ready=True, running={})]}
    built_here = {"node1": {_IMAGE}, "node2": {"docker.io/library/redis:7"}}
    seen = Observation(built_here=built_here)
    origins = [pod_parts(_pod(running, node=node), seen)[0].origin for node in ("node1", "node2")]
    assert origins == ["built here", "official"]


@pytest.mark.parametrize(
    ("state", "detail"),
    [
        (
            {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "x"'}},
            'ImagePullBackOff: Back-off pulling image "x"',
        ),
        ({"waiting": {"reason": "PodInitializing"}}, "PodInitializing"),
        ({"terminated": {"reason": "OOMKilled", "exitCode": 137}}, "OOMKilled"),
        ({"terminated": {"reason": "Error", "message": "no config"}}, "Error: no config"),
        ({"running": {"startedAt": "..."}}, "running, and its readiness probe fails"),
    ],
)
def test_one_that_is_not_says_why(state: dict[str, Any], detail: str) -> None:
    part = _only(_pod({"phase": "Running", "containerStatuses": [_container(ready=False, **state)]}))
    assert (part.healthy, part.detail) == (False, detail)


@pytest.mark.parametrize(
    ("conditions", "detail"),
    [
        (
            [
                {"type": "PodReadyToStartContainers", "status": "False"},
                {"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"},
            ],
            "0/2 nodes are available",
        ),
        ([], "not scheduled yet"),
    ],
)
def test_a_pod_that_has_no_node_says_what_the_scheduler_says(
    conditions: list[dict[str, str]], detail: str
) -> None:
    part = _only(_pod({"phase": "Pending", "conditions": conditions}, node=None))
    assert (part.node, part.healthy, part.detail) == ("", False, detail)


def test_a_job_that_has_succeeded_is_healthy_though_nothing_is_ready() -> None:
    terminated = _container(ready=False, terminated={"reason": "Completed", "exitCode": 0})
    assert _only(_pod({"phase": "Succeeded", "containerStatuses": [terminated]})).healthy
    failed = {**terminated, "state": {"terminated": {"reason": "Error", "exitCode": 1}}}
    assert not _only(_pod({"phase": "Failed", "containerStatuses": [failed]})).healthy


def test_every_container_is_a_line_of_its_own() -> None:
    status = {
        "phase": "Running",
        # Kubernetes sorts them by name, the specification does not.
        "containerStatuses": [
            _container("log", ready=False, waiting={"reason": "CrashLoopBackOff"}),
            _container("web", ready=True, running={}),
        ],
    }
    parts = pod_parts(_pod(status, containers=("web", "log")), Observation())
    assert [(part.name, part.healthy, part.detail) for part in parts] == [
        ("livekit/pod-0/web", True, ""),
        ("livekit/pod-0/log", False, "CrashLoopBackOff"),
    ]


def test_a_sidecar_is_a_line_too_and_what_only_comes_first_is_none() -> None:
    status = {
        "phase": "Running",
        "containerStatuses": [_container(ready=True, running={})],
        "initContainerStatuses": [
            _container("prepare", ready=True, terminated={"reason": "Completed"}),
            _container("exporter", ready=False, waiting={"reason": "CrashLoopBackOff"}),
        ],
    }
    pod = _pod(status)
    pod["spec"]["initContainers"] = [
        {"name": "prepare", "image": _IMAGE},
        {"name": "exporter", "image": _IMAGE, "restartPolicy": "Always"},
    ]
    assert [(part.name, part.healthy, part.detail) for part in pod_parts(pod, Observation())] == [
        ("livekit/pod-0/app", True, ""),
        ("livekit/pod-0/exporter", False, "CrashLoopBackOff"),
    ]


def test_a_line_can_be_given_as_json() -> None:
    running = {"phase": "Running", "containerStatuses": [_container(ready=True, running={})]}
    assert _only(_pod(running)).to_json()["name"] == "livekit/pod-0/app"


def test_why_it_ended_last_is_said_of_one_that_waits_to_be_started_again() -> None:
    crashed = _container(ready=False, waiting={"reason": "CrashLoopBackOff", "message": "back-off 40s"})
    crashed["lastState"] = {"terminated": {"reason": "Completed", "exitCode": 0}}
    part = _only(_pod({"phase": "Running", "containerStatuses": [crashed]}))
    assert part.detail == "CrashLoopBackOff: back-off 40s; it ended last with exit code 0 (Completed)"


def _ready_pod(node: str = "node1", container_id: str = "containerd://aaa") -> Any:
    ready = {**_container(ready=True, running={}), "containerID": container_id}
    return _pod({"phase": "Running", "containerStatuses": [ready]}, node=node)


@pytest.mark.parametrize(
    ("running", "healthy"),
    [
        ({"node1": {"aaa", "bbb"}}, True),
        ({"node1": {"bbb"}}, False),
        ({"node1": set()}, False),
        ({"node2": set()}, True),  # its node cannot be asked
        (None, True),
    ],
)
def test_a_container_that_the_node_does_not_run_is_not_healthy_whatever_the_api_server_has(
    running: dict[str, set[str]] | None, healthy: bool
) -> None:
    (part,) = parts(Observation(pods=(_ready_pod(),), running=running))
    assert part.healthy is healthy
    assert part.detail == ("" if healthy else "it ended with its node and has not started again")


def _node(status: str, message: str = "") -> Any:
    condition = {"type": "Ready", "status": status, "message": message}
    return {
        "metadata": {"name": "node1"},
        "status": {"conditions": [condition], "nodeInfo": {"kubeletVersion": "v1.35.4"}},
    }


@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_a_node_that_is_not_ready_says_why(status: str) -> None:
    (part,) = parts(Observation(nodes=(_node(status, "Kubelet stopped posting node status."),)))
    assert (part.kind, part.name, part.healthy) == ("node", "node1", False)
    assert part.detail == "NotReady: Kubelet stopped posting node status."
    (ready,) = parts(Observation(nodes=(_node("True"),)))
    assert ready.healthy


def _workload(kind: str, spec: dict[str, Any], status: dict[str, Any] | None = None) -> Any:
    complete = {"observedGeneration": 2, "updatedReplicas": 2, "updatedNumberScheduled": 3}
    return {
        "kind": kind,
        "metadata": {"namespace": "livekit", "name": "sfu", "generation": 2},
        "spec": {
            "selector": {"matchLabels": {"app": "sfu"}},
            "template": {"spec": {"containers": [{"name": "sfu"}]}},
            **spec,
        },
        "status": {**complete, **(status or {})},
    }


@pytest.mark.parametrize(
    ("workload", "wanted"),
    [
        (_workload("Deployment", {"replicas": 2}), 2),
        (_workload("StatefulSet", {}), 1),
        (_workload("DaemonSet", {}, {"desiredNumberScheduled": 3}), 3),
        (_workload("Deployment", {"replicas": 0}), 0),
    ],
)
def test_a_workload_without_all_its_pods_is_not_healthy(workload: Any, wanted: int) -> None:
    """Between a pod's deletion and its replacement's creation, no existing pod is unhealthy."""

    def lines(*pods: Any) -> list[str]:
        seen = Observation(workloads=(workload,), pods=pods)
        return [part.detail for part in parts(seen) if part.kind == "workload"]

    pod = _ready_pod()
    pod["metadata"]["labels"] = {"app": "sfu", "more": "labels"}
    ending = {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}
    other = {**pod, "metadata": {**pod["metadata"], "namespace": "elsewhere"}}
    assert lines(*[pod] * wanted) == []
    if wanted:
        missing = f"{wanted - 1} of {wanted} pods of this {workload['kind']} are there"
        assert lines(ending, other, *[pod] * (wanted - 1)) == [missing]


@pytest.mark.parametrize(
    ("workload", "detail"),
    [
        # All pods are ready, but they are the old pods from before the change.
        (
            _workload("Deployment", {"replicas": 2}, {"observedGeneration": 1}),
            "the controller of this Deployment has not seen its last change yet",
        ),
        (
            _workload("StatefulSet", {"replicas": 2}, {"updatedReplicas": 1}),
            "1 of 2 pods of this StatefulSet are updated",
        ),
        (
            _workload("DaemonSet", {}, {"desiredNumberScheduled": 2, "updatedNumberScheduled": 0}),
            "0 of 2 pods of this DaemonSet are updated",
        ),
    ],
)
def test_a_workload_is_not_healthy_until_its_rollout_ends(workload: Any, detail: str) -> None:
    pod = _ready_pod()
    pod["metadata"]["labels"] = {"app": "sfu"}
    found = parts(Observation(workloads=(workload,), pods=(pod, pod)))
    assert [part.detail for part in found if part.kind == "workload"] == [detail]


@pytest.mark.parametrize(("kind", "shown"), [("none", True), ("recorder", False), ("livekit", False)])
def test_a_stack_that_records_nothing_says_so(kind: str, shown: bool) -> None:
    variables = [{"name": "OTHER", "valueFrom": {}}, {"name": "TOKEN_API_EGRESS_KIND", "value": kind}]
    template = {"spec": {"containers": [{"name": "token-api", "env": variables}]}}
    workload = _workload("Deployment", {"replicas": 0, "template": template})
    found = [(part.name, part.healthy) for part in parts(Observation(workloads=(workload,)))]
    assert found == ([("egress.kind none: nothing records", True)] if shown else [])


def test_a_pod_that_was_deleted_no_longer_counts() -> None:
    pod = _pod({"phase": "Running", "containerStatuses": [_container(ready=False, running={})]})
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert _only(pod).healthy


@pytest.mark.parametrize(("status", "healthy"), [("True", True), ("False", False)])
def test_a_failed_attempt_of_a_job_counts_until_another_one_succeeds(status: str, healthy: bool) -> None:
    failed = _container(ready=False, terminated={"reason": "Error", "exitCode": 1})
    pod = _pod({"phase": "Failed", "containerStatuses": [failed]})
    pod["metadata"]["ownerReferences"] = [{"kind": "Job", "uid": "j1", "controller": True}]
    job = {"metadata": {"uid": "j1"}, "status": {"conditions": [{"type": "Complete", "status": status}]}}
    assert pod_parts(pod, Observation(jobs=(job,)))[0].healthy is healthy


def test_what_prevents_further_questions_is_all_there_is_to_say() -> None:
    down = Part("node", "node1", "node1", "", "", False, "its processes are not there")
    assert parts(Observation(broken=(down,), doors=(_DOOR,), pods=(_ready_pod(),))) == [down]


_DOOR = Door("https", 443, "10.213.0.11:443", Process(2**22 + 1, 1))


@pytest.mark.parametrize(
    ("kind", "found"),
    [("ReplicaSet", True), ("StatefulSet", True), ("DaemonSet", True), ("Node", False), ("Job", False)],
)
def test_only_a_pod_that_would_be_replaced_is_a_loop_to_repair(kind: str, found: bool) -> None:
    waiting = _container(ready=False, waiting={"reason": "CrashLoopBackOff"})
    pod = _pod({"phase": "Running", "containerStatuses": [waiting]})
    assert crash_loops(Observation(pods=(pod,))) == []
    pod["metadata"]["ownerReferences"] = [{"kind": kind, "uid": "u1", "controller": True}]
    loop = CrashLoop("livekit", "pod-0", "u1")
    assert crash_loops(Observation(pods=(pod,))) == ([loop] if found else [])
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert crash_loops(Observation(pods=(pod,))) == []


@pytest.mark.parametrize(
    ("phase", "state", "found"),
    [
        ("Running", {"waiting": {"reason": "ContainerCreating"}}, False),
        ("Running", {"running": {}}, False),
        ("Failed", {"terminated": {"reason": "ContainerStatusUnknown", "exitCode": 137}}, True),
    ],
)
def test_a_pod_that_is_about_to_start_is_left_alone(phase: str, state: dict[str, Any], found: bool) -> None:
    pod = _pod({"phase": phase, "containerStatuses": [_container(ready=False, **state)]})
    pod["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "uid": "u1", "controller": True}]
    assert bool(crash_loops(Observation(pods=(pod,)))) is found
