"""The edge asks the cluster's DNS where servers are: one that stops gets nobody new, and keeps who is there.

On an edge of its own, with servers that go on answering everything while they stop, as coturn and LiveKit do.
"""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from common.waiting import wait_until
from tests.deployment.edge_instance import ECHO, Instance, start
from tests.deployment.kubectl import Kubectl
from tests.running import RunningStack
from tests.websocket import echoes

pytestmark = pytest.mark.own_namespace

SERVERS = ("server-a", "server-b")
# Until Kubernetes kills what does not end by itself: its first process hears no SIGTERM.
_STOPS_SECONDS = 40


@pytest.fixture(scope="module")
def edge(stack: RunningStack, platform: str, kubectl: Kubectl, scratch: str) -> Instance:
    pod = kubectl.get("pods", "-n", platform, "-l", "app.kubernetes.io/name=edge")[0]
    [image] = {container["image"] for container in pod["spec"]["containers"]}
    instance = start(kubectl, scratch, pod["spec"]["nodeName"], pod["status"]["hostIP"], image)
    for name in SERVERS:
        kubectl.create_pod(scratch, name, script=ECHO, terminationGracePeriodSeconds=_STOPS_SECONDS)
        kubectl("-n", scratch, "label", "pod", name, "role=server")
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "servers", "namespace": scratch},
            "spec": {"clusterIP": "None", "selector": {"role": "server"}, "ports": [{"port": 8080}]},
        }
    )
    kubectl.wait_for_pods(scratch, *SERVERS)
    addresses = [kubectl.pod_ip(scratch, name) for name in SERVERS]
    sfu = {"host": f"servers.{scratch}.svc", "addresses": addresses, "port": 8080}
    api = {"host": f"echo.{scratch}.svc", "podLabels": {"app": "echo"}}
    instance.apply(upstreams={"sfu": sfu, "api": api})
    wait_until(
        lambda: _answering(instance, 4) == set(SERVERS), timeout=150, describe="both servers to be found"
    )
    return instance


def _answering(edge: Instance, tries: int) -> set[str]:
    return {edge.answers("sfu") for _ in range(tries)}


def test_a_server_that_stops_gets_nobody_new_and_keeps_who_is_there(edge: Instance) -> None:
    stopping, other = SERVERS
    with ExitStack() as stack:
        held = [stack.enter_context(edge.client.websocket("sfu")) for _ in range(4)]
        edge.kubectl("-n", edge.namespace, "delete", "pod", stopping, "--wait=false")
        wait_until(lambda: _answering(edge, 10) == {other}, timeout=10, describe="it to be left alone")
        assert _answering(edge, 40) == {other}
        # It is there all the while, and would have answered.
        there = edge.kubectl.in_pod(edge.namespace, stopping, "wget -q -O - http://127.0.0.1:8080/").stdout
        assert there == stopping
        assert all(map(echoes, held))
