"""`make up` repairs changes made without Pulumi: it updates edited objects and recreates deleted ones.

One `up` repairs all cases while a call goes on.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from loadtest.client.samples import now_ms
from loadtest.net.bridge import ClientNetwork
from loadtest.targets.outputs import StackOutputs
from tests.chaos.held_call import FREEZE_MS, held_call, longest_standstill_ms
from tests.deployment.kubectl import Kubectl
from tests.running import resources_changed, run_local
from tests.support.speed import scaled

_UP_SECONDS = 300.0
_KINDS = (
    "deployments,statefulsets,services,configmaps,secrets,networkpolicies,serviceaccounts,jobs,"
    "poddisruptionbudgets"
)
_EDITED = (
    "Deployment/coturn",  # scaled
    "ConfigMap/livekit-server",
    "Secret/livekit-server-config",
    "Deployment/livekit-server",  # a field of it taken over by another manager
)
_DELETED = ("Service/livekit-server-nodes", "NetworkPolicy/object-store")
# Fields that the API server or a controller writes, not Pulumi.
_VOLATILE = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid")
_ASSIGNED = ("clusterIP", "clusterIPs")


@dataclass(frozen=True)
class Repair:
    """The objects before the drift and after the repair, and what the engine and the call reported."""

    before: dict[str, Any]
    drifted: dict[str, Any]
    after: dict[str, Any]
    pods_before: set[str]
    pods_after: set[str]
    said: str
    standstill_ms: float


def _objects(kubectl: Kubectl, namespace: str) -> dict[str, Any]:
    found = kubectl.get(_KINDS, "-n", namespace)
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}


def _pods(kubectl: Kubectl, namespace: str) -> set[str]:
    """All pods except the pods of the Deployment that is scaled."""
    return {
        pod["metadata"]["uid"]
        for pod in kubectl.get("pods", "-n", namespace, "-l", "app.kubernetes.io/name!=coturn")
    }


def _content(obj: dict[str, Any]) -> dict[str, Any]:
    """The part of an object that Pulumi manages."""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _VOLATILE}
    spec = obj.get("spec")
    if isinstance(spec, dict):
        spec = {key: value for key, value in spec.items() if key not in _ASSIGNED}
    rest = {key: value for key, value in obj.items() if key not in ("metadata", "spec", "status")}
    return {**rest, "metadata": metadata, "spec": spec}


def _drift(kubectl: Kubectl, namespace: str, objects: dict[str, Any]) -> None:
    """Change and delete some of the `objects` in the cluster."""

    def on(*words: str, input: str | None = None) -> None:
        kubectl("-n", namespace, *words, input=input)

    on("scale", "deployment/coturn", "--replicas=1")
    for edited in ("ConfigMap/livekit-server", "Secret/livekit-server-config"):
        on("patch", edited.lower(), "--type=merge", "-p", json.dumps({"data": _commented(objects[edited])}))
    on(
        *("apply", "--server-side", "--force-conflicts", "--field-manager=somebody", "-f", "-"),
        input=(
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: livekit-server}, "
            "spec: {revisionHistoryLimit: 7}}"
        ),
    )
    for deleted in _DELETED:
        on("delete", deleted)


def _commented(obj: dict[str, Any]) -> dict[str, str]:
    """The data of a ConfigMap or a Secret with a comment at the end of its first file."""
    [(key, text), *_] = obj["data"].items()
    comment = "\n# edited by hand\n"
    if obj["kind"] == "ConfigMap":
        return {key: text + comment}
    return {key: base64.b64encode(base64.b64decode(text) + comment.encode()).decode()}


@pytest.fixture(scope="module")
def repair(
    outputs: StackOutputs,
    client_network: ClientNetwork,
    kubectl: Kubectl,
    disruptive_session: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Repair:
    namespace = outputs.namespace
    before, pods = _objects(kubectl, namespace), _pods(kubectl, namespace)
    logs = tmp_path_factory.mktemp("drift")
    try:
        with held_call(outputs, client_network, outputs.signal_urls, logs) as watching:
            started_ms = now_ms()
            _drift(kubectl, namespace, before)
            drifted = _objects(kubectl, namespace)
            said = _up()
            watching.run_for(1)
            ended_ms = now_ms()
            watching.finish()
    except BaseException:
        _up()  # the other tests need a whole stack
        raise
    return Repair(
        before,
        drifted,
        _objects(kubectl, namespace),
        pods,
        _pods(kubectl, namespace),
        said,
        longest_standstill_ms(watching.subscriber.recording, started_ms, ended_ms),
    )


def _up() -> str:
    """Run `make up`; returns the engine's report."""
    return run_local("up", timeout=_UP_SECONDS).stderr


@pytest.mark.parametrize("name", _EDITED)
def test_what_was_edited_is_repaired_in_place(repair: Repair, name: str) -> None:
    before, drifted, after = (_content(one[name]) for one in (repair.before, repair.drifted, repair.after))
    assert drifted != before, "this case changed nothing"
    assert after == before
    assert repair.after[name]["metadata"]["uid"] == repair.before[name]["metadata"]["uid"]


def test_the_field_of_another_manager_is_pulumis_again(repair: Repair) -> None:
    managers = {
        entry["manager"]: entry["fieldsV1"]
        for entry in repair.after["Deployment/livekit-server"]["metadata"].get("managedFields", [])
    }
    assert "f:revisionHistoryLimit" not in managers.get("somebody", {}).get("f:spec", {})
    assert repair.after["Deployment/livekit-server"]["spec"]["revisionHistoryLimit"] == 3


@pytest.mark.parametrize("name", _DELETED)
def test_what_was_deleted_is_created_again(repair: Repair, name: str) -> None:
    assert name not in repair.drifted, "this case changed nothing"
    assert _content(repair.after[name]) == _content(repair.before[name])
    assert repair.after[name]["metadata"]["uid"] != repair.before[name]["metadata"]["uid"]


def test_nothing_else_changes(repair: Repair) -> None:
    touched = {*_EDITED, *_DELETED}
    assert repair.before.keys() == repair.after.keys()
    for name in repair.before.keys() - touched:
        assert _content(repair.after[name]) == _content(repair.before[name]), name
        assert repair.after[name]["metadata"]["uid"] == repair.before[name]["metadata"]["uid"], name
    assert repair.pods_after == repair.pods_before
    report = resources_changed(repair.said)
    counts = {
        word: int(count) for count, word in re.findall(r"(\d+) (created|updated|replaced|deleted)", report)
    }
    assert counts == {"created": len(_DELETED), "updated": len(_EDITED)}, report


def test_up_ends_when_all_workloads_have_rolled_out(repair: Repair) -> None:
    """The provider may report an update as complete too early; `make up` waits for its rollout."""
    for name, after in repair.after.items():
        if name.startswith(("Deployment/", "StatefulSet/")):
            assert after["status"]["observedGeneration"] == after["metadata"]["generation"], name
            assert after["status"].get("readyReplicas", 0) == after["spec"]["replicas"], name


def test_the_call_goes_on(repair: Repair) -> None:
    assert repair.standstill_ms < scaled(FREEZE_MS), (
        f"the video stood still for {repair.standstill_ms:.0f} ms"
    )
