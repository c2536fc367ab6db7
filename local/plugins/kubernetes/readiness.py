"""When an object is ready, decided from the object itself and what stands around it.

The rules are those by which `kubectl rollout status` and `kubectl wait` judge; a kind without a rule is ready
once the API server has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from local.plugins.kubernetes.objects import annotation
from local.plugins.kubernetes.values import Json

SKIP = "pulumi.com/skipAwait"
TIMEOUT = "pulumi.com/timeoutSeconds"
# Pulumi's own default.
_DEFAULT_SECONDS = 600.0


class State(Enum):
    """How far an object is."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True)
class Verdict:
    """How far, and what is missing in words."""

    state: State
    reason: str = ""


@dataclass(frozen=True)
class Surroundings:
    """Objects that a verdict depends on and that are not part of the object itself.

    Attributes:
        pods: those that a Service selects.
        slices: the EndpointSlices of a Service.
        binding_mode: of a claim's storage class, empty where unknown.
    """

    pods: list[Json] = field(default_factory=list)
    slices: list[Json] = field(default_factory=list)
    binding_mode: str = ""


READY = Verdict(State.READY)


def judge(obj: Json, around: Surroundings) -> Verdict:
    """How far `obj` is on its way to be of use."""
    group = obj.get("apiVersion", "").rpartition("/")[0]
    rule = _RULES.get((group, obj.get("kind", "")))
    return rule(obj, around) if rule else READY


def is_awaited(obj: Json) -> bool:
    """Whether to wait for `obj` at all."""
    return annotation(obj, SKIP) != "true"


def timeout_seconds(obj: Json, requested: float) -> float:
    """How long to wait: `customTimeouts` first, then the object's annotation, then ten minutes."""
    if requested:
        return requested
    annotated = annotation(obj, TIMEOUT)
    return float(annotated) if annotated.isdigit() and int(annotated) else _DEFAULT_SECONDS


def _waiting(reason: str) -> Verdict:
    return Verdict(State.WAITING, reason)


def _condition(obj: Json, kind: str) -> Json:
    for condition in obj.get("status", {}).get("conditions") or []:
        if condition.get("type") == kind:
            return dict(condition)
    return {}


def _is_observed(obj: Json) -> bool:
    generation = obj.get("metadata", {}).get("generation", 0)
    return int(obj.get("status", {}).get("observedGeneration", 0)) >= int(generation)


_NOT_OBSERVED = _waiting("the controller has not looked at it yet")


def _deployment(obj: Json, _: Surroundings) -> Verdict:  # noqa: PLR0911 - one per thing to wait for
    if not _is_observed(obj):
        return _NOT_OBSERVED
    progressing = _condition(obj, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Verdict(State.FAILED, progressing.get("message", "the rollout ran past its deadline"))
    if obj["spec"].get("paused"):
        return READY
    status, wanted = obj.get("status", {}), int(obj["spec"].get("replicas", 1))
    updated, total = int(status.get("updatedReplicas", 0)), int(status.get("replicas", 0))
    available = int(status.get("availableReplicas", 0))
    if updated < wanted:
        return _waiting(f"{updated} of {wanted} replicas updated")
    if total > updated:
        return _waiting(f"{total - updated} old replicas still to end")
    if available < updated:
        return _waiting(f"{available} of {updated} replicas available")
    return READY


def _stateful_set(obj: Json, _: Surroundings) -> Verdict:
    if not _is_observed(obj):
        return _NOT_OBSERVED
    spec, status = obj["spec"], obj.get("status", {})
    wanted, ready = int(spec.get("replicas", 1)), int(status.get("readyReplicas", 0))
    if ready < wanted:
        return _waiting(f"{ready} of {wanted} replicas ready")
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return READY
    partition = int((strategy.get("rollingUpdate") or {}).get("partition", 0))
    updated, to_update = int(status.get("updatedReplicas", 0)), max(wanted - partition, 0)
    if status.get("currentRevision") != status.get("updateRevision") and updated < to_update:
        return _waiting(f"{updated} of {to_update} replicas updated")
    return READY


def _daemon_set(obj: Json, _: Surroundings) -> Verdict:
    if not _is_observed(obj):
        return _NOT_OBSERVED
    status = obj.get("status", {})
    wanted = int(status.get("desiredNumberScheduled", 0))
    if (obj["spec"].get("updateStrategy") or {}).get("type") != "OnDelete":
        updated = int(status.get("updatedNumberScheduled", 0))
        if updated < wanted:
            return _waiting(f"{updated} of {wanted} nodes updated")
    available = int(status.get("numberAvailable", 0))
    return READY if available >= wanted else _waiting(f"available on {available} of {wanted} nodes")


def _pod(obj: Json, _: Surroundings) -> Verdict:
    status = obj.get("status", {})
    phase = status.get("phase", "Pending")
    if phase == "Failed":
        return Verdict(State.FAILED, status.get("message") or status.get("reason") or "the pod failed")
    if phase == "Succeeded" or _condition(obj, "Ready").get("status") == "True":
        return READY
    return _waiting(f"the pod is {phase.lower()} and not ready")


def _job(obj: Json, _: Surroundings) -> Verdict:
    failed = _condition(obj, "Failed")
    if failed.get("status") == "True":
        return Verdict(State.FAILED, f"the job failed: {failed.get('message') or failed.get('reason')}")
    if _condition(obj, "Complete").get("status") == "True":
        return READY
    status, wanted = obj.get("status", {}), obj["spec"].get("completions", 1)
    return _waiting(
        f"{status.get('succeeded', 0)} of {wanted} completions, {status.get('failed', 0)} pods failed"
    )


def _claim(obj: Json, around: Surroundings) -> Verdict:
    phase = obj.get("status", {}).get("phase", "Pending")
    if phase == "Lost":
        return Verdict(State.FAILED, "the volume that it was bound to is gone")
    # Such a claim is bound when a pod uses it, which may well wait for this claim in turn.
    if phase == "Bound" or around.binding_mode == "WaitForFirstConsumer":
        return READY
    return _waiting("no volume is bound to it")


def _service(obj: Json, around: Surroundings) -> Verdict:
    spec = obj.get("spec", {})
    if spec.get("type") == "LoadBalancer" and not obj.get("status", {}).get("loadBalancer", {}).get(
        "ingress"
    ):
        return _waiting("no load balancer has given it an address")
    # Pods may come after their Service: only where some are there must one of them be reachable.
    if not spec.get("selector") or not around.pods or spec.get("publishNotReadyAddresses"):
        return READY
    for one in around.slices:
        for endpoint in one.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready", True):
                return READY
    return _waiting(f"none of its {len(around.pods)} pods is ready")


def _namespace(obj: Json, _: Surroundings) -> Verdict:
    phase = obj.get("status", {}).get("phase", "")
    return READY if phase == "Active" else _waiting(f"the namespace is {phase.lower() or 'not active yet'}")


def _definition(obj: Json, _: Surroundings) -> Verdict:
    names = _condition(obj, "NamesAccepted")
    if names.get("status") == "False":
        return Verdict(State.FAILED, names.get("message", "its names are taken"))
    established = _condition(obj, "Established").get("status") == "True"
    return READY if established else _waiting("not established yet")


_RULES: dict[tuple[str, str], Callable[[Json, Surroundings], Verdict]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "Service"): _service,
    ("", "Namespace"): _namespace,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
}
