"""kubectl as the tests use it: typed where it is asked often, raw where it is asked once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import yaml

from common.commands import Completed, run
from tests.running import ClusterAccess

BUSYBOX = "docker.io/library/busybox:1.35.0"


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

    @contextmanager
    def namespace(self, name: str) -> Iterator[str]:
        """A namespace for as long as the block runs, as strict as pods of the platform's are."""
        self("create", "namespace", name)
        try:
            yield name
        finally:
            self("delete", "namespace", name, "--wait=true", timeout=180)

    def start_pod(
        self, namespace: str, name: str, *, node: str | None = None, script: str, **spec: Any
    ) -> None:
        """A busybox pod that runs `script`, waited for until it is ready.

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
        self("-n", namespace, "wait", "--for=condition=Ready", f"pod/{name}", "--timeout=90s", timeout=100)

    def in_pod(self, namespace: str, name: str, script: str, *, check: bool = True) -> Completed:
        """Run `script` in a running pod's shell."""
        return self("-n", namespace, "exec", name, "--", "sh", "-c", script, check=check)

    def pod_ip(self, namespace: str, name: str) -> str:
        return self("-n", namespace, "get", "pod", name, "-o", "jsonpath={.status.podIP}").stdout

    def connects(self, namespace: str, pod: str, address: str, port: int) -> bool:
        """Whether a TCP connection from the pod is made within 3 s."""
        return self.in_pod(namespace, pod, f"nc -w 3 {address} {port} </dev/null", check=False).ok
