"""Waiting for objects to be ready, or gone, and collecting what to say where they do not become so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from common.waiting import NeverHappened, wait_until
from local.plugins.errors import PluginError
from local.plugins.kubernetes import explain
from local.plugins.kubernetes.cluster import Cluster, Refused, UnknownKind
from local.plugins.kubernetes.objects import Reference, reference
from local.plugins.kubernetes.readiness import State, Surroundings, Verdict, judge
from local.plugins.kubernetes.values import Json

# Also how soon a cancelled run ends.
_POLL_SECONDS = 0.5


class Cancelled(PluginError):
    """The run was cancelled while an object was awaited."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the run was cancelled while {what} was awaited")


@dataclass
class NotReady(PluginError):
    """An object that is there, and not ready: as it was last, and why, the gist first."""

    live: Json
    reasons: list[str]

    def __str__(self) -> str:
        return "\n".join(self.reasons)


@dataclass(frozen=True)
class Waiter:
    """Waits on one cluster, until something ends the run."""

    cluster: Cluster
    cancelled: threading.Event

    def until_ready(self, applied: Json, timeout: float, report: Callable[[str], None]) -> Json:
        """Wait for `applied` to be ready, and give back the object as it then is.

        Args:
            applied: as the API server answered: with the generation to wait for.
            timeout: seconds.
            report: is told what is waited for, whenever that changes.

        Raises:
            NotReady: failed, out of time, cancelled or deleted by somebody.
        """
        target = reference(applied)
        last = applied
        verdict = Verdict(State.WAITING)

        def settled() -> bool:
            nonlocal last, verdict
            self._check_cancelled(target)
            live = self.cluster.get(target)
            if live is None:
                verdict = Verdict(State.FAILED, "somebody deleted it")
                return True
            last = live
            before, verdict = verdict, self.judge(live)
            if verdict.state is State.WAITING and verdict.reason != before.reason:
                report(verdict.reason)
            return verdict.state is not State.WAITING

        try:
            wait_until(settled, timeout=timeout, describe=f"{target} to be ready", interval=_POLL_SECONDS)
        except NeverHappened:
            raise NotReady(
                last, [f"{target} is not ready after {timeout:g} s: {verdict.reason}", *self.reasons(last)]
            ) from None
        except Cancelled as error:
            raise NotReady(last, [f"{error}: {verdict.reason or 'not ready yet'}"]) from None
        if verdict.state is State.FAILED:
            raise NotReady(last, [f"{target} failed: {verdict.reason}", *self.reasons(last)])
        return last

    def until_gone(self, target: Reference, uid: str, timeout: float, report: Callable[[str], None]) -> None:
        """Wait until the object with that `uid` is no more; a newer one of that name is none of our business.

        Raises:
            NotReady: still there after `timeout` seconds, with what holds it.
            Cancelled: the run was.
        """
        last: Json = {}

        def gone() -> bool:
            nonlocal last
            self._check_cancelled(target)
            live = self.cluster.get(target)
            if live is None or live["metadata"]["uid"] != uid:
                return True
            if not last:
                report("waits for its end")
            last = live
            return False

        try:
            wait_until(gone, timeout=timeout, describe=f"{target} to be gone", interval=_POLL_SECONDS)
        except NeverHappened:
            reasons = [
                f"{target} is still there after {timeout:g} s",
                *explain.deletion(last),
                *self.reasons(last),
            ]
            raise NotReady(last, reasons) from None

    def judge(self, live: Json) -> Verdict:
        """How far an object is at this moment."""
        return judge(live, self._surroundings(live))

    def reasons(self, obj: Json) -> list[str]:
        """All that the cluster says about why `obj` is not ready."""
        try:
            found = self._pods(obj)
            return [
                *explain.conditions(obj),
                *explain.pods(found),
                *explain.events(self._events([obj, *found])),
            ]
        except (Refused, UnknownKind) as error:
            return [f"no more can be said: {error}"]

    def _check_cancelled(self, target: Reference) -> None:
        if self.cancelled.is_set():
            raise Cancelled(str(target))

    def _surroundings(self, obj: Json) -> Surroundings:
        kind, namespace = obj.get("kind"), obj["metadata"].get("namespace", "")
        if kind == "Service" and obj.get("spec", {}).get("selector"):
            owner = f"kubernetes.io/service-name={obj['metadata']['name']}"
            return Surroundings(
                pods=self._pods(obj),
                slices=self.cluster.select("discovery.k8s.io/v1", "EndpointSlice", namespace, labels=owner),
            )
        if kind == "PersistentVolumeClaim" and obj.get("spec", {}).get("storageClassName"):
            name = obj["spec"]["storageClassName"]
            storage = self.cluster.get(Reference("storage.k8s.io/v1", "StorageClass", name))
            return Surroundings(binding_mode=(storage or {}).get("volumeBindingMode", ""))
        return Surroundings()

    def _pods(self, obj: Json) -> list[Json]:
        """The pods that `obj` is, or that it chooses by labels."""
        if obj.get("kind") == "Pod":
            return [obj]
        selector = obj.get("spec", {}).get("selector")
        labels = (selector or {}).get("matchLabels", {}) if obj.get("kind") != "Service" else selector
        if not isinstance(labels, dict) or not labels:
            return []
        chosen = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        found = self.cluster.select("v1", "Pod", obj["metadata"].get("namespace", ""), labels=chosen)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def _events(self, involved: list[Json]) -> list[Json]:
        namespace = involved[0]["metadata"].get("namespace", "")
        if not namespace:
            return []
        uids = {one["metadata"].get("uid") for one in involved}
        names = tuple(one["metadata"].get("name", "") for one in involved)
        # A ReplicaSet in between is neither: it carries the Deployment's name as the beginning of its own.
        return [
            event
            for event in self.cluster.select("v1", "Event", namespace)
            if event["involvedObject"].get("uid") in uids
            or (
                event["involvedObject"].get("kind") == "ReplicaSet"
                and str(event["involvedObject"].get("name", "")).startswith(f"{names[0]}-")
            )
        ]
