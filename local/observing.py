"""Observes an instance's health: on its own cluster, or on a given cluster with `kubectl` only."""

from __future__ import annotations

from common.commands import run
from local.cluster.cluster import Cluster
from local.given import GivenCluster, given_cluster
from local.health import wait_until_healthy
from local.paths import Instance
from local.stack import Stack
from local.status import Observation, observe_cluster, observe_stack
from local.toolchain import tools


def observe(instance: Instance, *, origins: bool) -> Observation | None:
    """The observation that `make status` judges; None if nothing was brought up.

    Args:
        origins: as `observe_cluster`.

    Raises:
        NotReady: as `given_cluster`.
        UnreadableRecord: as `Cluster.recorded`.
    """
    stack = Stack(instance)
    cluster = Cluster.recorded(instance)
    if cluster is not None:
        return observe_cluster(cluster, stack.namespaces, origins=origins)
    given = given_cluster()
    if given is None or not stack.exists:
        return None
    return observe_stack(_Kubectl(instance, given), stack.namespaces)


def wait(instance: Instance) -> None:
    """Wait until `observe` shows only healthy parts.

    Raises:
        NotHealthy: as `wait_until_healthy`.
    """
    cluster, given = Cluster.recorded(instance), given_cluster()
    kubectl = cluster.kubectl if cluster else _Kubectl(instance, given) if given else None
    if kubectl is None:
        raise RuntimeError("no cluster is recorded or given")
    wait_until_healthy(lambda: observe(instance, origins=False) or Observation(), kubectl)


class _Kubectl:
    """The `kubectl` that `make up` linked, connected to a given cluster."""

    def __init__(self, instance: Instance, given: GivenCluster) -> None:
        self._command = [str(tools.directory(instance) / "kubectl"), *given.flags]

    def __call__(self, *words: str, timeout: float) -> str:
        return run([*self._command, *words], timeout=timeout).stdout
