"""When a workload has rolled out: not before its controller has seen the change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.waiting import NeverHappened
from local import rollout
from local.rollout import unfinished, wait


def _workload(**status: int) -> dict[str, Any]:
    complete = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}
    return {
        "kind": "Deployment",
        "metadata": {"name": "edge", "generation": 2},
        "spec": {"replicas": 2},
        "status": {**complete, **status},
    }


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        # All pods are ready, but they are those of before the change.
        ({"observedGeneration": 1}, "its controller has not seen the change yet"),
        ({"updatedReplicas": 1}, "1 of 2 pods are updated"),
        ({"replicas": 3}, "1 old pods are left"),
        ({"readyReplicas": 1}, "1 of 2 pods are ready"),
    ],
)
def test_the_reason_is_given(status: dict[str, int], reason: str) -> None:
    assert unfinished([_workload(), _workload(**status)]) == [f"Deployment edge: {reason}"]


def test_what_has_rolled_out_or_has_no_pods_is_finished() -> None:
    none = {"kind": "Deployment", "metadata": {"name": "coturn", "generation": 1}, "spec": {"replicas": 0}}
    assert unfinished([_workload(), {**none, "status": {"observedGeneration": 1}}]) == []
    assert unfinished([{**none, "status": {}}]) == [
        "Deployment coturn: its controller has not seen the change yet"
    ]


def _kubectl(directory: Path, items: list[Any]) -> dict[str, str]:
    program = directory / "kubectl"
    program.write_text(f"#!/bin/sh\necho \"$@\" >'{directory}/words'\ncat '{directory}/items'\n")
    program.chmod(0o755)
    (directory / "items").write_text(json.dumps({"items": items}))
    return {"PATH": f"{directory}:/usr/bin:/bin"}


def test_the_cluster_that_the_stack_is_on_is_asked(tmp_path: Path) -> None:
    wait(_kubectl(tmp_path, [_workload()]), Path("/a/kubeconfig"), "a-context", "calls")
    words = (tmp_path / "words").read_text().split()
    assert words[:4] == ["--kubeconfig=/a/kubeconfig", "--context=a-context", "-n", "calls"]


def test_a_rollout_that_does_not_end_is_an_error_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollout, "_ROLLOUT_SECONDS", 0.0)
    environment = _kubectl(tmp_path, [_workload(readyReplicas=0)])
    with pytest.raises(NeverHappened, match="Deployment edge: 0 of 2 pods are ready"):
        wait(environment, Path("/a/kubeconfig"), None, "calls")
