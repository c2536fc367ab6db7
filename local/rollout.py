"""Whether the platform's workloads have rolled out, asked of the cluster after `pulumi up`.

Release 4.25 of the Kubernetes provider reports the update of a Deployment or a StatefulSet as complete if it reads
the object before its controller has seen the change. On a busy machine that happens often.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from common.commands import run
from common.waiting import wait_until

# As long as Pulumi waits for one object. A node that drains calls has its own deadline within that.
_ROLLOUT_SECONDS = 600.0


def unfinished(workloads: Iterable[Mapping[str, Any]]) -> list[str]:
    """The Deployments and StatefulSets that have not rolled out, each with the reason. Pure."""
    return [
        f"{workload['kind']} {workload['metadata']['name']}: {reason}"
        for workload in workloads
        if (reason := _why_unfinished(workload)) is not None
    ]


def _why_unfinished(workload: Mapping[str, Any]) -> str | None:
    wanted = workload["spec"].get("replicas", 1)
    status = workload.get("status", {})
    if status.get("observedGeneration", 0) < workload["metadata"]["generation"]:
        return "its controller has not seen the change yet"
    if (updated := status.get("updatedReplicas", 0)) < wanted:
        return f"{updated} of {wanted} pods are updated"
    if (left := status.get("replicas", 0) - updated) > 0:
        return f"{left} old pods are left"
    if (ready := status.get("readyReplicas", 0)) < wanted:
        return f"{ready} of {wanted} pods are ready"
    return None


class NotRolledOut(Exception):
    """Some workloads have not rolled out; the message has the reasons."""


def wait(environment: Mapping[str, str], kubeconfig: Path, context: str | None, namespace: str) -> None:
    """Return once every workload in the namespace has rolled out.

    Args:
        environment: variables under which kubectl is found.

    Raises:
        NeverHappened: that takes over 10 minutes; the message has the reasons.
        CommandFailed: the cluster does not answer.
    """
    where = [f"--kubeconfig={kubeconfig}", *([f"--context={context}"] if context else []), "-n", namespace]
    command = ["env", "kubectl", *where, "get", "deployments,statefulsets", "-o", "json"]

    def rolled_out() -> bool:
        printed = run(command, env=environment, timeout=60).stdout
        if reasons := unfinished(json.loads(printed)["items"]):
            raise NotRolledOut("; ".join(reasons))
        return True

    wait_until(
        rolled_out, timeout=_ROLLOUT_SECONDS, describe="all pods to be updated", tolerate=(NotRolledOut,)
    )
