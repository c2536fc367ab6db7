"""Readiness and its explanation, decided from objects as API servers of version 1.35 wrote them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from local.plugins.kubernetes import explain
from local.plugins.kubernetes.readiness import State, Surroundings, is_awaited, judge, timeout_seconds
from local.plugins.kubernetes.values import Json

DEPLOYMENT: Json = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "generation": 2},
    "spec": {"replicas": 2},
    "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2},
}
STATEFUL_SET: Json = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "db", "generation": 1},
    "spec": {"replicas": 2, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}},
    "status": {
        "observedGeneration": 1,
        "readyReplicas": 2,
        "updatedReplicas": 2,
        "currentRevision": "db-1",
        "updateRevision": "db-1",
    },
}
DAEMON_SET: Json = {
    "apiVersion": "apps/v1",
    "kind": "DaemonSet",
    "metadata": {"name": "agent", "generation": 1},
    "spec": {"updateStrategy": {"type": "RollingUpdate"}},
    "status": {
        "observedGeneration": 1,
        "desiredNumberScheduled": 2,
        "updatedNumberScheduled": 2,
        "numberAvailable": 2,
    },
}
POD: Json = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "pod"},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
}
JOB: Json = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "job"},
    "spec": {"completions": 1},
    "status": {"conditions": [{"type": "Complete", "status": "True"}]},
}
CLAIM: Json = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "data"},
    "status": {"phase": "Bound"},
}
SERVICE: Json = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"type": "ClusterIP", "selector": {"app": "web"}},
    "status": {"loadBalancer": {}},
}
NAMESPACE: Json = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "n"},
    "status": {"phase": "Active"},
}
NO_SLICE_READY = Surroundings(pods=[POD], slices=[{"endpoints": [{"conditions": {"ready": False}}]}])
ONE_SLICE_READY = Surroundings(pods=[POD], slices=[{"endpoints": [{"conditions": {"ready": True}}]}])


def changed(obj: Json, **at: Any) -> Json:
    """A copy of `obj` with values put at `section__field`."""
    copied = copy.deepcopy(obj)
    for path, value in at.items():
        section, _, name = path.partition("__")
        copied[section][name] = value
    return copied


@pytest.mark.parametrize(
    "obj",
    [DEPLOYMENT, STATEFUL_SET, DAEMON_SET, POD, JOB, CLAIM, SERVICE, NAMESPACE],
    ids=lambda o: str(o["kind"]),
)
def test_these_are_ready(obj: Json) -> None:
    assert judge(obj, Surroundings()).state is State.READY


@pytest.mark.parametrize(
    ("obj", "around", "reason"),
    [
        (changed(DEPLOYMENT, metadata__generation=3), Surroundings(), "not looked at it"),
        (changed(DEPLOYMENT, status__updatedReplicas=1), Surroundings(), "1 of 2 replicas updated"),
        (changed(DEPLOYMENT, status__replicas=3), Surroundings(), "1 old replicas still to end"),
        (changed(DEPLOYMENT, status__availableReplicas=1), Surroundings(), "1 of 2 replicas available"),
        (changed(STATEFUL_SET, status__readyReplicas=1), Surroundings(), "1 of 2 replicas ready"),
        (
            changed(STATEFUL_SET, status__updateRevision="db-2", status__updatedReplicas=1),
            Surroundings(),
            "1 of 2 replicas updated",
        ),
        (changed(DAEMON_SET, status__updatedNumberScheduled=1), Surroundings(), "1 of 2 nodes updated"),
        (changed(DAEMON_SET, status__numberAvailable=0), Surroundings(), "available on 0 of 2 nodes"),
        (changed(POD, status__conditions=[]), Surroundings(), "running and not ready"),
        (changed(JOB, status__conditions=[]), Surroundings(), "0 of 1 completions"),
        (changed(CLAIM, status__phase="Pending"), Surroundings(), "no volume is bound"),
        (changed(SERVICE, spec__type="LoadBalancer"), Surroundings(), "no load balancer"),
        (SERVICE, NO_SLICE_READY, "none of its 1 pods is ready"),
        (changed(NAMESPACE, status__phase="Terminating"), Surroundings(), "terminating"),
    ],
)
def test_these_are_waited_for(obj: Json, around: Surroundings, reason: str) -> None:
    verdict = judge(obj, around)
    assert verdict.state is State.WAITING
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("obj", "reason"),
    [
        (
            changed(
                DEPLOYMENT,
                status__conditions=[
                    {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "message": "has timed out"}
                ],
            ),
            "has timed out",
        ),
        (changed(POD, status__phase="Failed", status__message="evicted"), "evicted"),
        (
            changed(
                JOB,
                status__conditions=[{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}],
            ),
            "BackoffLimitExceeded",
        ),
        (changed(CLAIM, status__phase="Lost"), "gone"),
    ],
)
def test_these_have_failed(obj: Json, reason: str) -> None:
    verdict = judge(obj, Surroundings())
    assert verdict.state is State.FAILED
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("obj", "around"),
    [
        (
            changed(DEPLOYMENT, spec__replicas=0, status__replicas=0, status__updatedReplicas=0),
            Surroundings(),
        ),
        (changed(CLAIM, status__phase="Pending"), Surroundings(binding_mode="WaitForFirstConsumer")),
        (SERVICE, Surroundings()),
        (SERVICE, ONE_SLICE_READY),
        (changed(SERVICE, spec__selector=None), NO_SLICE_READY),
        ({"apiVersion": "example.org/v1", "kind": "Deployment", "metadata": {}}, Surroundings()),
    ],
)
def test_these_hold_up_nothing(obj: Json, around: Surroundings) -> None:
    assert judge(obj, around).state is State.READY


def test_annotations_and_options_say_whether_and_how_long() -> None:
    def annotated(**annotations: str) -> Json:
        return {"metadata": {"annotations": {f"pulumi.com/{key}": text for key, text in annotations.items()}}}

    assert not is_awaited(annotated(skipAwait="true"))
    assert is_awaited(annotated(skipAwait="false"))
    assert timeout_seconds(annotated(timeoutSeconds="30"), 0) == 30
    assert timeout_seconds(annotated(timeoutSeconds="30"), 5) == 5
    assert timeout_seconds(annotated(), 0) == 600


def test_a_pod_that_is_not_ready_is_explained_by_its_containers() -> None:
    pod = {
        "metadata": {"name": "web-1"},
        "status": {
            "phase": "Running",
            "containerStatuses": [
                {
                    "name": "a",
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                    "lastState": {"terminated": {"exitCode": 3, "reason": "Error", "message": "no database"}},
                    "restartCount": 4,
                },
                {"name": "b", "ready": False, "state": {"running": {}}},
                {"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}},
            ],
        },
    }
    assert explain.pods([pod, POD]) == [
        "pod web-1, container a waits: CrashLoopBackOff: back-off 10s",
        "pod web-1, container a exited with 3 (Error, 4 restarts): no database",
        "pod web-1, container b runs, but its readiness probe has not succeeded",
    ]


def test_a_pod_without_a_node_says_why() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}
    pod = {"metadata": {"name": "web-1"}, "status": {"phase": "Pending", "conditions": [condition]}}
    assert explain.pods([pod]) == ["pod web-1 has no node: 0/2 nodes are available"]


def test_the_last_warnings_are_shown_newest_last() -> None:
    def event(minute: int, kind: str = "Warning") -> Json:
        return {
            "type": kind,
            "reason": f"R{minute}",
            "message": "m",
            "lastTimestamp": f"2026-01-01T00:{minute:02}:00Z",
            "involvedObject": {"kind": "Pod", "name": "p"},
            "count": 2,
        }

    lines = explain.events([event(9), *(event(minute) for minute in range(8)), event(59, "Normal")])
    assert lines[-1] == "event R9 on Pod p (2 times): m"
    assert len(lines) == 6
    assert not any("R59" in line for line in lines)


def test_what_keeps_a_deleted_object_is_named() -> None:
    obj = {
        "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.org/keep"]},
        "status": {
            "conditions": [
                {"type": "NamespaceContentRemaining", "status": "True", "message": "pods. has 1 instances"}
            ]
        },
    }
    assert explain.deletion(obj) == [
        "deletion began at 2026-01-01T00:00:00Z",
        "finalizers that nobody has cleared: example.org/keep",
        "condition NamespaceContentRemaining: pods. has 1 instances",
    ]
