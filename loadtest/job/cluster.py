"""The cluster, as a run needs it: thin calls of the Kubernetes API, typed where they come back."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from kubernetes import client, config
from urllib3.exceptions import HTTPError

from common.waiting import wait_until
from loadtest.job import manifests
from loadtest.job.manifests import OURS_SELECTOR, RUN_LABEL, Plan, PodPorts
from loadtest.job.messages import Orders

# Of a connection, and of silence in a log: then it is asked for again, from its start.
_SECONDS = (10, 20)
_GONE_SECONDS = 120.0
_LEASE_SECONDS = 60

NOT_REACHED = (HTTPError, client.ApiException)


@dataclass(frozen=True)
class PodState:
    """A pod of a run.

    Attributes:
        phase: Kubernetes' own word: Pending, Running, Succeeded, Failed.
        trouble: why it does not run or has failed, as far as its status tells; else empty.
    """

    name: str
    index: int
    phase: str
    node: str
    trouble: str

    @property
    def is_over(self) -> bool:
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True)
class Run:
    """A run that the cluster knows of, by the lease that its coordinator renews.

    Attributes:
        abandoned: the lease has run out: its coordinator is gone.
    """

    run_id: str
    namespace: str
    abandoned: bool


class LoadCluster:
    """The API of one cluster. Every call may raise what `NOT_REACHED` lists."""

    def __init__(self, kubeconfig: Path, *, connections: int) -> None:
        configuration = client.Configuration()
        load: Any = config.load_kube_config  # not typed
        load(config_file=str(kubeconfig), client_configuration=configuration)
        configuration.connection_pool_maxsize = connections
        api = client.ApiClient(configuration)
        # Any: by the package's own types every field may be None, and a body must be of its classes.
        self._core: Any = client.CoreV1Api(api)
        self._batch: Any = client.BatchV1Api(api)
        self._networking: Any = client.NetworkingV1Api(api)
        self._leases: Any = client.CoordinationV1Api(api)

    def ports_of(self, namespace: str, name: str) -> PodPorts:
        """Where the stack's pods of one chart answer on their nodes' network."""
        pods = self._core.list_namespaced_pod(
            namespace, label_selector=f"app.kubernetes.io/name={name}", _request_timeout=_SECONDS
        ).items
        ports = {
            (port.protocol, port.host_port)
            for pod in pods
            for container in pod.spec.containers
            for port in container.ports or ()
            if port.host_port and port.name != "metrics"
        }
        hosts = {pod.status.host_ip for pod in pods if pod.status.host_ip}
        return PodPorts(tuple(sorted(IPv4Address(host) for host in hosts)), tuple(sorted(ports)))

    def runs(self) -> list[Run]:
        """All runs that the cluster knows of, in whatever namespace."""
        leases = self._leases.list_lease_for_all_namespaces(
            label_selector=OURS_SELECTOR, _request_timeout=_SECONDS
        ).items
        return [
            Run(lease.metadata.labels[RUN_LABEL], lease.metadata.namespace, _has_run_out(lease.spec))
            for lease in leases
        ]

    def make_namespace(self, name: str) -> None:
        """Where it is not there yet; one that goes away is waited for."""

        def made() -> bool:
            try:
                self._core.create_namespace(manifests.namespace(name), _request_timeout=_SECONDS)
            except client.ApiException as error:
                if error.status != 409:
                    raise
                there = self._core.read_namespace(name, _request_timeout=_SECONDS)
                return bool(there.status.phase == "Active")
            return True

        wait_until(
            made,
            timeout=_GONE_SECONDS,
            describe=f"namespace {name} to be there",
            tolerate=(client.ApiException,),
        )

    def announce(self, plan: Plan) -> None:
        """Take the run's lease, by which later ones know that its coordinator lives."""
        body = {
            "metadata": {"name": plan.name, "labels": manifests.labels(plan.run_id)},
            "spec": {"holderIdentity": plan.name, "leaseDurationSeconds": _LEASE_SECONDS, **_renewed()},
        }
        self._leases.create_namespaced_lease(plan.namespace, body, _request_timeout=_SECONDS)

    def renew(self, plan: Plan) -> None:
        """Say that the coordinator lives; at least every half minute."""
        self._leases.patch_namespaced_lease(
            plan.name, plan.namespace, {"spec": _renewed()}, _request_timeout=_SECONDS
        )

    def start(self, plan: Plan, *, assignment: str, ca_certificate: str) -> None:
        """The Job with all that belongs to it; its pods begin to start."""
        made = self._batch.create_namespaced_job(
            plan.namespace, manifests.job(plan), _request_timeout=_SECONDS
        ).to_dict()
        owner = manifests.owner_of(made)
        self._core.create_namespaced_secret(
            plan.namespace,
            manifests.secret(plan, owner, assignment=assignment, ca_certificate=ca_certificate),
            _request_timeout=_SECONDS,
        )
        self._networking.create_namespaced_network_policy(
            plan.namespace, manifests.network_policy(plan, owner), _request_timeout=_SECONDS
        )
        self._batch.patch_namespaced_job(
            plan.name, plan.namespace, {"spec": {"suspend": False}}, _request_timeout=_SECONDS
        )

    def pods(self, plan: Plan) -> list[PodState]:
        """The run's pods, as far as they are there."""
        pods = self._core.list_namespaced_pod(
            plan.namespace, label_selector=_of(plan.run_id), _request_timeout=_SECONDS
        ).items
        return [_state(pod) for pod in pods]

    def tell(self, plan: Plan, pod: str, orders: Orders) -> None:
        """Within a second it is in the pod's file."""
        self._core.patch_namespaced_pod(
            pod, plan.namespace, manifests.orders_patch(orders), _request_timeout=_SECONDS
        )

    def log(self, plan: Plan, pod: str, *, follow: bool) -> Iterator[str]:
        """The lines of a pod's log from its start; `follow`: and those to come, until it ends."""
        response = self._core.read_namespaced_pod_log(
            pod, plan.namespace, follow=follow, _preload_content=False, _request_timeout=_SECONDS
        )
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        rest = ""
        try:
            for chunk in response.stream(amt=None, decode_content=False):
                *lines, rest = (rest + decoder.decode(chunk)).split("\n")
                yield from lines
        finally:
            response.close()
        if rest:
            yield rest

    def events(self, plan: Plan) -> str:
        """What the cluster says of the run's Job and pods, but for what is usual."""
        events = self._core.list_namespaced_event(
            plan.namespace, field_selector="type=Warning", _request_timeout=_SECONDS
        ).items
        mine = [event for event in events if event.involved_object.name.startswith(plan.name)]
        return "; ".join(dict.fromkeys(f"{event.reason}: {event.message}" for event in mine))

    def remove(self, run_id: str, namespace: str) -> None:
        """Take a run away, and its namespace if that was ours and is empty now. Again is no error."""
        name, mine = f"load-{run_id}", _of(run_id)
        with _may_be_gone():
            self._batch.delete_namespaced_job(
                name, namespace, propagation_policy="Foreground", _request_timeout=_SECONDS
            )
        self._wait_until_none(
            lambda: self._core.list_namespaced_pod(namespace, label_selector=mine, _request_timeout=_SECONDS),
            f"pods of {name} to go",
        )
        for delete in (
            self._core.delete_namespaced_secret,
            self._networking.delete_namespaced_network_policy,
            self._leases.delete_namespaced_lease,
        ):
            with _may_be_gone():
                delete(name, namespace, _request_timeout=_SECONDS)
        self._remove_namespace(namespace)

    def _remove_namespace(self, name: str) -> None:
        ours = f"{OURS_SELECTOR},kubernetes.io/metadata.name={name}"
        if any(run.namespace == name for run in self.runs()):
            return
        if not self._core.list_namespace(label_selector=ours, _request_timeout=_SECONDS).items:
            return
        with _may_be_gone():
            self._core.delete_namespace(name, _request_timeout=_SECONDS)
        self._wait_until_none(
            lambda: self._core.list_namespace(label_selector=ours, _request_timeout=_SECONDS),
            f"namespace {name} to go",
        )

    def _wait_until_none(self, listed: Callable[[], Any], describe: str) -> None:
        wait_until(lambda: not listed().items, timeout=_GONE_SECONDS, describe=describe, tolerate=NOT_REACHED)


@contextmanager
def _may_be_gone() -> Iterator[None]:
    try:
        yield
    except client.ApiException as error:
        if error.status != 404:
            raise


def _of(run_id: str) -> str:
    return f"{OURS_SELECTOR},{RUN_LABEL}={run_id}"


def _renewed() -> dict[str, str]:
    return {"renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")}


def _has_run_out(lease: Any) -> bool:
    """By this machine's clock, which should be within a lease's time of the other coordinators'."""
    if lease.renew_time is None:
        return True
    age = datetime.now(UTC) - lease.renew_time
    return bool(age.total_seconds() > lease.lease_duration_seconds)


def _state(pod: Any) -> PodState:
    return PodState(
        name=pod.metadata.name,
        index=int(pod.metadata.annotations[manifests.INDEX_ANNOTATION]),
        phase=pod.status.phase,
        node=pod.spec.node_name or "",
        trouble=_trouble(pod),
    )


def _trouble(pod: Any) -> str:
    said = [pod.status.reason, pod.status.message]
    for status in pod.status.container_statuses or ():
        waiting, terminated = status.state.waiting, status.state.terminated
        if waiting is not None and waiting.reason not in ("ContainerCreating", "PodInitializing"):
            said += [waiting.reason, waiting.message]
        if terminated is not None and terminated.exit_code != 0:
            said.append(f"{terminated.reason}, exit code {terminated.exit_code}")
    for condition in pod.status.conditions or ():
        if condition.type in ("PodScheduled", "DisruptionTarget") and (
            condition.status == "False" or condition.type == "DisruptionTarget"
        ):
            said += [condition.reason, condition.message]
    return ": ".join(dict.fromkeys(part for part in said if part))
