"""NetworkPolicies, tried by connecting: closed by default, and open only for whom it is said."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import testinfra.host

from common.waiting import wait_until
from tests.deployment.kubectl import Kubectl
from tests.running import RunningStack

# What a pod of any namespace may reach: what clients reach, and metrics. Prometheus may run in any namespace.
_OPEN = {
    ("edge", "https"),
    ("edge", "http"),
    ("coturn", "turn-tcp"),
    ("coturn", "turn-metrics"),
    ("egress", "metrics"),
}
# In an image that has nothing else to connect with.
_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)"


@dataclass(frozen=True)
class _Listener:
    part: str
    name: str
    node: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.part} {self.address}:{self.port} ({self.name})"


@pytest.fixture(scope="module")
def listeners(kubectl: Kubectl, platform: str) -> list[_Listener]:
    """Every declared TCP port of every pod in the pod network: policies do not see the nodes' network."""
    return [
        _Listener(
            part=pod["metadata"]["labels"]["app.kubernetes.io/name"],
            name=port["name"],
            node=pod["spec"]["nodeName"],
            address=pod["status"]["podIP"],
            port=port["containerPort"],
        )
        for pod in kubectl.get("pods", "-n", platform, "--field-selector=status.phase=Running")
        if not pod["spec"].get("hostNetwork")
        # Sidecars are init containers that go on running.
        for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
        for port in container.get("ports", [])
        if port["protocol"] == "TCP"
    ]


@pytest.fixture(scope="module")
def stateful(kubectl: Kubectl, platform: str) -> set[str]:
    """The parts that keep state here, and not at somebody else's."""
    return {item["metadata"]["name"] for item in kubectl.get("statefulsets", "-n", platform)}


def test_every_declared_listener_answers_its_own_node(
    listeners: list[_Listener], nodes: list[testinfra.host.Host]
) -> None:
    """Without it, one that nobody listens at would count as closed below."""
    for node in nodes:
        own = [one for one in listeners if one.node == node.backend.get_hostname()]
        tries = [f"timeout 3 bash -c 'exec 3<>/dev/tcp/{one.address}/{one.port}'" for one in own]
        # One call: entering a node takes longer than connecting.
        done = node.run("; ".join(f"{attempt}; echo $?" for attempt in tries))
        silent = [str(one) for one, code in zip(own, done.stdout.split(), strict=True) if code != "0"]
        assert silent == [], done.stderr


def test_a_pod_of_another_namespace_reaches_what_clients_and_prometheus_reach_and_nothing_else(
    kubectl: Kubectl, scratch: str, listeners: list[_Listener], stateful: set[str]
) -> None:
    kubectl.start_pod(scratch, "stranger")
    allowed = [one for one in listeners if (one.part, one.name) in _OPEN]
    closed = [one for one in listeners if one not in allowed]
    assert allowed, "the probe must be able to connect at all"
    assert {one.part for one in closed} >= {"token-api", *stateful}
    for one in allowed:
        wait_until(
            lambda one=one: kubectl.connects(scratch, "stranger", one.address, one.port),  # type: ignore[misc]
            timeout=20,
            describe=f"a connection to {one}",
        )
    with ThreadPoolExecutor(len(closed)) as pool:
        answers = pool.map(lambda one: kubectl.connects(scratch, "stranger", one.address, one.port), closed)
    reached = [str(one) for one, answer in zip(closed, answers, strict=True) if answer]
    assert reached == [], "another namespace reached these"


def test_token_api_reaches_livekit_and_recordings_and_neither_other_state_nor_the_cluster_s_api(
    stack: RunningStack, kubectl: Kubectl, platform: str, listeners: list[_Listener], stateful: set[str]
) -> None:
    [pod, *_] = [
        pod["metadata"]["name"]
        for pod in kubectl.get("pods", "-n", platform, "-l", "app.kubernetes.io/name=token-api")
    ]

    def connects(address: str, port: int) -> bool:
        command = ["python3", "-c", _CONNECT, address, str(port)]
        return kubectl("-n", platform, "exec", pod, "--", *command, check=False).ok

    signal = urlsplit(stack.outputs.signal_urls[0])
    assert signal.hostname is not None
    assert signal.port is not None
    assert connects(signal.hostname, signal.port), "the probe must be able to connect at all"
    # With an embedded database it keeps state itself.
    others = stateful - {"token-api"}
    state = [one for one in listeners if one.part in others]
    assert {one.part for one in state} == others
    for one in state:
        # It deletes recordings' files.
        wanted = (one.part, one.name) == ("object-store", "s3")
        assert connects(one.address, one.port) == wanted, f"token-api and {one}"
    [kubernetes] = [
        service["spec"]["clusterIP"]
        for service in kubectl.get("services", "-n", "default", "--field-selector=metadata.name=kubernetes")
    ]
    assert not connects(kubernetes, 443), "token-api reached the Kubernetes API"
