"""Why an object is not ready, in lines that somebody tired can act on. Pure: objects in, text out."""

from __future__ import annotations

from local.plugins.kubernetes.values import Json

_SHOWN_EVENTS = 6
_SHOWN_PODS = 5
# Waiting for these is how every pod begins.
_ORDINARY_WAITS = frozenset({"ContainerCreating", "PodInitializing"})


def conditions(obj: Json) -> list[str]:
    """The conditions of `obj` that hold it back."""
    lines = []
    for condition in obj.get("status", {}).get("conditions") or []:
        bad = "True" if condition.get("type") in ("Failed", "ReplicaFailure", "FailureTarget") else "False"
        if condition.get("status") == bad:
            why = ": ".join(part for part in (condition.get("reason"), condition.get("message")) if part)
            lines.append(
                f"condition {condition.get('type')} is {condition.get('status')}: {why or 'no reason given'}"
            )
    return lines


def pods(found: list[Json]) -> list[str]:
    """What each pod that is not ready waits for or died of, worst first."""
    lines = [line for pod in found if not _is_ready(pod) for line in _pod(pod)]
    hidden = len(lines) - _SHOWN_PODS
    return lines if hidden <= 0 else [*lines[:_SHOWN_PODS], f"... and {hidden} more like these"]


def events(found: list[Json]) -> list[str]:
    """The last warnings, or the last events where there are none; the newest at the end."""
    warnings = [event for event in found if event.get("type") == "Warning"]
    latest = sorted(warnings or found, key=_when)[-_SHOWN_EVENTS:]
    return [
        f"event {event.get('reason')} on {_involved(event)}{_repeated(event)}: "
        f"{event.get('message', '').strip()}"
        for event in latest
    ]


def deletion(obj: Json) -> list[str]:
    """What keeps an object that is to go."""
    metadata = obj.get("metadata", {})
    kept = list(metadata.get("finalizers") or []) + list(obj.get("spec", {}).get("finalizers") or [])
    lines = (
        [f"deletion began at {metadata['deletionTimestamp']}"] if metadata.get("deletionTimestamp") else []
    )
    if kept:
        lines.append(f"finalizers that nobody has cleared: {', '.join(kept)}")
    for condition in obj.get("status", {}).get("conditions") or []:
        # The namespace controller words what is in its way as conditions that are true.
        if condition.get("status") == "True" and condition.get("message"):
            lines.append(f"condition {condition.get('type')}: {condition['message']}")
    return lines


def _is_ready(pod: Json) -> bool:
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in _conditions(pod))


def _pod(pod: Json) -> list[str]:
    name = pod.get("metadata", {}).get("name", "?")
    status = pod.get("status", {})
    lines = []
    for container in (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or []):
        waiting = (container.get("state") or {}).get("waiting") or {}
        ended = (container.get("state") or {}).get("terminated") or (container.get("lastState") or {}).get(
            "terminated"
        )
        about = f"pod {name}, container {container.get('name')}"
        if waiting and waiting.get("reason") not in _ORDINARY_WAITS:
            lines.append(f"{about} waits: {waiting.get('reason')}: {waiting.get('message', 'no message')}")
        if ended and ended.get("exitCode"):
            said = f": {ended['message'].strip()}" if ended.get("message") else ""
            restarts = container.get("restartCount", 0)
            lines.append(
                f"{about} exited with {ended['exitCode']} ({ended.get('reason')}, {restarts} restarts){said}"
            )
        if (
            not waiting
            and not ended
            and not container.get("ready")
            and "running" in (container.get("state") or {})
        ):
            lines.append(f"{about} runs, but its readiness probe has not succeeded")
    if not lines:
        unscheduled = [
            c for c in _conditions(pod) if c.get("type") == "PodScheduled" and c.get("status") == "False"
        ]
        lines = [f"pod {name} has no node: {condition.get('message')}" for condition in unscheduled]
    return lines or [f"pod {name} is {status.get('phase', 'Pending')}"]


def _conditions(obj: Json) -> list[Json]:
    return list(obj.get("status", {}).get("conditions") or [])


def _when(event: Json) -> str:
    # ISO 8601 in UTC sorts as text; which of the fields is set depends on who wrote the event.
    return str(event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp") or "")


def _involved(event: Json) -> str:
    involved = event.get("involvedObject") or {}
    return f"{involved.get('kind', '?')} {involved.get('name', '?')}"


def _repeated(event: Json) -> str:
    count = event.get("count") or 1
    return f" ({count} times)" if count > 1 else ""
