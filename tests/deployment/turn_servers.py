"""The TURN servers of the running stack, by what their pods and Secrets say."""

from __future__ import annotations

import base64
import re
import ssl
from dataclasses import dataclass
from typing import Any

import httpx

from loadtest.targets.outputs import host_of
from tests.deployment.kubectl import Kubectl
from tests.deployment.turn_client import Server
from tests.prometheus import samples
from tests.running import RunningStack

_SELECTOR = "app.kubernetes.io/name=coturn"


@dataclass(frozen=True)
class Pod:
    """One TURN server: its pod, and the node's address at which it listens."""

    name: str
    address: str
    turn: int
    tls: int
    metrics: int
    drain_seconds: int

    @property
    def udp(self) -> Server:
        return Server(self.address, self.turn, "udp")

    def scrape(self) -> dict[str, float]:
        """Its metrics, as `tests.prometheus.samples`.

        Raises:
            httpx.HTTPError: nobody serves them.
        """
        # Whatever proxy the machine has, its own nodes are not behind it.
        answer = httpx.get(f"http://{self.address}:{self.metrics}/metrics", timeout=10, trust_env=False)
        return samples(answer.raise_for_status().text)


@dataclass(frozen=True)
class Turn:
    """The TURN servers of the stack, the SFUs that they may relay to, and the Secrets that they use."""

    pods: tuple[Pod, ...]
    sfus: tuple[str, ...]
    secret: str
    tls_secret: str
    name: str
    trust: ssl.SSLContext


def secret_of(kubectl: Kubectl, namespace: str, name: str) -> dict[str, str]:
    """What is in a Secret, as text."""
    (found,) = kubectl.get("secrets", "-n", namespace, f"--field-selector=metadata.name={name}")
    return {key: base64.b64decode(text).decode() for key, text in found["data"].items()}


def pods_of(kubectl: Kubectl, namespace: str) -> list[dict[str, Any]]:
    """coturn's pods, as Kubernetes shows them."""
    return kubectl.get("pods", "-n", namespace, "-l", _SELECTOR)


def _pod(found: dict[str, Any]) -> Pod:
    (container,) = found["spec"]["containers"]
    ports = {
        port["name"]: port["containerPort"]
        for one in [container, *found["spec"].get("initContainers", [])]
        for port in one.get("ports", [])
    }
    env = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    return Pod(
        name=found["metadata"]["name"],
        address=found["status"]["hostIP"],
        turn=ports["turn-udp"],
        tls=ports["turn-tls"],
        metrics=ports["turn-metrics"],
        drain_seconds=int(env["DRAIN_SECONDS"]),
    )


def find(stack: RunningStack, kubectl: Kubectl) -> Turn:
    """All that a test needs to know of them."""
    namespace = stack.outputs.namespace
    found = pods_of(kubectl, namespace)
    assert found, "the stack runs no coturn"
    volumes = {volume["name"]: volume for volume in found[0]["spec"]["volumes"]}
    (conf,) = secret_of(kubectl, namespace, volumes["config"]["secret"]["secretName"]).values()
    (secret,) = re.findall(r"^static-auth-secret=(.+)$", conf, re.MULTILINE)
    return Turn(
        pods=tuple(_pod(pod) for pod in found),
        sfus=tuple(host_of(url) for url in stack.outputs.signal_urls),
        secret=secret,
        tls_secret=volumes["tls"]["secret"]["secretName"],
        name=f"turn.{stack.outputs.domain}",
        # The machine's own authorities where the stack has none of its own.
        trust=ssl.create_default_context(cadata=stack.outputs.ca_certificate or None),
    )
