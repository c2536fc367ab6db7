"""What `make status` says of a pod, from what Kubernetes says of it."""

from __future__ import annotations

from typing import Any

import pytest

from local.status import Part, pod_parts

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
    (part,) = pod_parts(pod, {})
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
    origins = [pod_parts(_pod(running, node=node), built_here)[0].origin for node in ("node1", "node2")]
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
    parts = pod_parts(_pod(status, containers=("web", "log")), {})
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
    assert [(part.name, part.healthy, part.detail) for part in pod_parts(pod, {})] == [
        ("livekit/pod-0/app", True, ""),
        ("livekit/pod-0/exporter", False, "CrashLoopBackOff"),
    ]


def test_a_line_can_be_given_as_json() -> None:
    running = {"phase": "Running", "containerStatuses": [_container(ready=True, running={})]}
    assert _only(_pod(running)).to_json()["name"] == "livekit/pod-0/app"
