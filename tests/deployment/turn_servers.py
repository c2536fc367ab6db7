"""The TURN servers of the running stack, by what their pods and Secrets say."""

from __future__ import annotations

import base64
import os
import re
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from loadtest.targets.outputs import host_of
from tests.deployment.kubectl import Kubectl
from tests.deployment.turn_client import Server
from tests.prometheus import samples
from tests.running import RunningStack

_SELECTOR = "app.kubernetes.io/name=coturn"


@dataclass(frozen=True)
class Pod:
    """One TURN server: its pod, and the node's address at which clients reach it.

    Attributes:
        relays_at: the pod's own address, which its relays have.
        turn: the node's port, by UDP and by TCP. coturn takes TLS at its port for TCP, too.
        scrape: reads its metrics, as `tests.prometheus.samples`.
    """

    name: str
    address: str
    relays_at: str
    turn: int
    drain_seconds: int
    scrape: Callable[[], dict[str, float]]

    def allocations(self) -> float:
        """How many it has, by all transports."""
        return sum(value for name, value in self.scrape().items() if name.startswith("turn_allocations{"))

    @property
    def udp(self) -> Server:
        return Server(self.address, self.turn, "udp")

    @property
    def tcp(self) -> Server:
        return Server(self.address, self.turn, "tcp")

    def tls(self, name: str) -> Server:
        """By TLS, with a certificate for `name`."""
        return Server(self.address, self.turn, "tls", name)


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


def run_echo(kubectl: Kubectl, namespace: str, name: str, address: str, port: int) -> None:
    """A pod on the network of the node at `address` that sends back each datagram that comes to `port`."""
    script = f"exec turnutils_peer -L {address} -p {port}"
    kubectl.start_pod(
        namespace,
        name,
        node=kubectl.node_at(address),
        hostNetwork=True,
        container={"image": image_of(kubectl), "command": ["bash", "-c", script]},
    )


def image_of(kubectl: Kubectl) -> str:
    """The image that coturn runs in."""
    [pod, *_] = kubectl.get("pods", "--all-namespaces", "-l", _SELECTOR)
    image: str = pod["spec"]["containers"][0]["image"]
    return image


@contextmanager
def relays_reach(kubectl: Kubectl, namespace: str, addresses: Iterable[str], port: int) -> Iterator[None]:
    """Let relays send to something that answers, beside the SFUs' media: policies add up.

    Args:
        addresses: of nodes.
        port: of UDP.
    """
    to = [{"ipBlock": {"cidr": f"{address}/32"}} for address in addresses]
    name = f"test-relays-{os.getpid()}-{port}"
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "podSelector": {"matchLabels": {"app.kubernetes.io/name": "coturn"}},
            "policyTypes": ["Egress"],
            "egress": [{"to": to, "ports": [{"protocol": "UDP", "port": port}]}],
        },
    }
    kubectl.apply(policy)
    try:
        yield
    finally:
        kubectl("-n", namespace, "delete", "networkpolicy", name)


@contextmanager
def relays_reach_each_other(kubectl: Kubectl, namespace: str, turn: Turn) -> Iterator[None]:
    """Let the relays of each server send to other servers' own port, where coturn answers STUN."""
    addresses = [pod.address for pod in turn.pods]
    with relays_reach(kubectl, namespace, addresses, turn.pods[0].turn):
        yield


def _pod(kubectl: Kubectl, found: dict[str, Any]) -> Pod:
    (container,) = found["spec"]["containers"]
    ports = {
        port["name"]: port["containerPort"]
        for one in [container, *found["spec"].get("initContainers", [])]
        for port in one.get("ports", [])
    }
    env = {variable["name"]: variable.get("value", "") for variable in container["env"]}
    name, namespace = found["metadata"]["name"], found["metadata"]["namespace"]
    metrics = f"/api/v1/namespaces/{namespace}/pods/{name}:{ports['turn-metrics']}/proxy/metrics"
    return Pod(
        name=name,
        address=found["status"]["hostIP"],
        relays_at=found["status"]["podIP"],
        turn=ports["turn-udp"],
        drain_seconds=int(env["DRAIN_SECONDS"]),
        scrape=lambda: samples(kubectl("get", "--raw", metrics).stdout),
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
        pods=tuple(_pod(kubectl, pod) for pod in found),
        sfus=tuple(host_of(url) for url in stack.outputs.signal_urls),
        secret=secret,
        tls_secret=volumes["tls"]["secret"]["secretName"],
        name=f"turn.{stack.outputs.domain}",
        # The machine's own authorities where the stack has none of its own.
        trust=ssl.create_default_context(cadata=stack.outputs.ca_certificate or None),
    )
