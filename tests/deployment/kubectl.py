"""kubectl as the tests use it: typed where it is asked often, raw where it is asked once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from common.commands import Completed, run
from common.waiting import wait_until
from tests.deployment import owners
from tests.running import ClusterAccess

BUSYBOX = "docker.io/library/busybox:1.35.0"
# Until it is told to stop, which process 1 does not hear without a trap.
SLEEP = "trap exit TERM; while true; do sleep 1; done"
_DELETION_SECONDS = 180.0


@dataclass(frozen=True)
class Kubectl:
    """`kubectl` on the cluster under test."""

    cluster: ClusterAccess

    def __call__(
        self, *words: str, timeout: float = 60.0, input: str | None = None, check: bool = True
    ) -> Completed:
        command = [str(self.cluster.tools / "kubectl"), f"--kubeconfig={self.cluster.kubeconfig}", *words]
        return run(command, timeout=timeout, input=input, check=check)

    def get(self, *words: str) -> list[dict[str, Any]]:
        """The items of `kubectl get`."""
        return list(json.loads(self("get", *words, "-o", "json").stdout)["items"])

    def apply(self, *documents: dict[str, Any]) -> None:
        self("apply", "-f", "-", input=yaml.safe_dump_all(documents))

    def nodes(self) -> list[dict[str, str]]:
        """The cluster's nodes with their addresses inside it, as the configuration's `nodes` name them."""
        return [
            {"name": node["metadata"]["name"], "address": address["address"]}
            for node in self.get("nodes")
            for address in node["status"]["addresses"]
            if address["type"] == "InternalIP"
        ]

    def node_at(self, address: str) -> str:
        """The name of the node that has this address."""
        [name] = [node["name"] for node in self.nodes() if node["address"] == address]
        return name

    @contextmanager
    def namespace(self, name: str, *, wait: bool = True) -> Iterator[str]:
        """A namespace for as long as the block runs. It goes with a later one, if this process is killed.

        Args:
            wait: wait until the namespace is gone; otherwise only until its pods use no port of a node.
        """
        self.reap()
        metadata = {"name": name, "labels": owners.own_labels()}
        # Not applied: one of that name is somebody else's.
        self(
            *("create", "-f", "-"),
            input=yaml.safe_dump({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}),
        )
        try:
            yield name
        finally:
            self._delete([name], wait=wait)

    def reap(self) -> None:
        """Remove the namespaces of test sessions that were killed, and wait until they are gone."""
        found = [item["metadata"] for item in self.get("namespaces", "-l", owners.selector())]
        dead = [metadata["name"] for metadata in found if owners.is_left_over(metadata["labels"])]
        if dead:
            # Another session may be at it, too.
            self._delete(dead, "--ignore-not-found")

    def _delete(self, namespaces: list[str], *flags: str, wait: bool = True) -> None:
        words = [*namespaces, *flags, f"--wait={str(wait).lower()}"]
        self("delete", "namespace", *words, timeout=_DELETION_SECONDS)
        if not wait:
            wait_until(
                lambda: not any(map(self._holds_ports, namespaces)),
                timeout=_DELETION_SECONDS,
                describe=f"the ports of the nodes that {', '.join(namespaces)} holds",
            )

    def _holds_ports(self, namespace: str) -> bool:
        """Whether a pod of the namespace listens on a port of its node."""
        return any(
            pod["spec"].get("hostNetwork")
            or any("hostPort" in port for one in pod["spec"]["containers"] for port in one.get("ports", []))
            for pod in self.get("pods", "-n", namespace)
        )

    def start_pod(
        self, namespace: str, name: str, *, node: str | None = None, script: str = SLEEP, **spec: Any
    ) -> None:
        """Create a pod as `create_pod` does, and wait until it is ready."""
        self.create_pod(namespace, name, node=node, script=script, **spec)
        self.wait_for_pods(namespace, name)

    def wait_for_pods(self, namespace: str, *names: str, seconds: float = 90.0) -> None:
        """Wait until these pods are ready. Pods that are created before this call start in parallel."""
        pods = [f"pod/{name}" for name in names]
        words = ("wait", "--for=condition=Ready", *pods, f"--timeout={seconds:.0f}s")
        self("-n", namespace, *words, timeout=seconds + 10)

    def touch_pods(self, namespace: str, *pods: str) -> None:
        """Change an annotation of these pods, so that kubelets and controllers process them now.

        A kubelet then updates the mounted ConfigMaps and Secrets at once; otherwise within about two minutes.

        Args:
            pods: their names, or a label selector such as `"-l", "app=redis"`.
        """
        annotation = f"tests/touched={time.time_ns()}"
        self("-n", namespace, "annotate", "--overwrite", "pods", *pods, annotation)

    def failed_creations(self, namespace: str) -> list[str]:
        """The objects that could not make a pod, and why. Events are kept for an hour."""
        events = self.get("events", "-n", namespace, "--field-selector", "reason=FailedCreate")
        return [f"{event['involvedObject']['name']}: {event['message']}" for event in events]

    def create_pod(
        self, namespace: str, name: str, *, node: str | None = None, script: str = SLEEP, **spec: Any
    ) -> None:
        """A busybox pod that runs `script`, or nothing.

        Args:
            node: the node to run it on; the scheduler's choice without it.
            spec: further fields of the pod's spec.
        """
        container = {
            "name": "main",
            "image": BUSYBOX,
            "command": ["sh", "-c", script],
            **spec.pop("container", {}),
        }
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [container],
                    **({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}),
                    **spec,
                },
            }
        )

    def in_pod(self, namespace: str, name: str, script: str, *, check: bool = True) -> Completed:
        """Run `script` in a running pod's shell."""
        return self("-n", namespace, "exec", name, "--", "sh", "-c", script, check=check)

    def pod_ip(self, namespace: str, name: str) -> str:
        return self("-n", namespace, "get", "pod", name, "-o", "jsonpath={.status.podIP}").stdout

    def connects(self, namespace: str, pod: str, address: str, port: int) -> bool:
        """Whether a TCP connection from the pod is made within 3 s."""
        return self.in_pod(namespace, pod, f"nc -w 3 {address} {port} </dev/null", check=False).ok
