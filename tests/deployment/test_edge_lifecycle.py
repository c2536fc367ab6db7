"""The edge over time: a new certificate, a new configuration, a wrong one, and how it stops.

The tests start a separate edge, so that the stack's edge keeps its certificate and its connections.
test_live_changes.py in tests/manifests/edge has more kinds of invalid input, with processes on this machine.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from common.waiting import wait_until
from tests.certificates import Certificate, certificate
from tests.deployment.edge_instance import DOMAIN, Instance, start
from tests.deployment.kubectl import Kubectl
from tests.running import RunningStack
from tests.websocket import echoes

pytestmark = pytest.mark.own_namespace

# Enough connections that each of HAProxy's threads has some.
_CONNECTIONS = 8


@pytest.fixture(scope="module")
def _instance(stack: RunningStack, platform: str, kubectl: Kubectl, scratch: str) -> Instance:
    selector = "app.kubernetes.io/name=edge"
    pod = kubectl.get("pods", "-n", platform, "-l", selector)[0]
    # The stack's own image: it is on the node already, wherever it came from.
    [image] = {container["image"] for container in pod["spec"]["containers"]}
    return start(kubectl, scratch, pod["spec"]["nodeName"], pod["status"]["hostIP"], image)


@pytest.fixture
def edge(_instance: Instance) -> Iterator[Instance]:
    """Undoes a test's changes, even if it fails, so that the next test starts with a valid configuration."""
    yield _instance
    _instance.restore()


def _restarts(edge: Instance) -> dict[str, int]:
    return {state["name"]: state["restartCount"] for state in edge.pod()["status"]["containerStatuses"]}


def test_a_new_certificate_is_served_and_no_connection_is_lost(edge: Instance) -> None:
    """No worker comes to its end for it, so there is no deadline either."""
    pod, worker = edge.pod()["metadata"]["name"], edge.worker()
    new = certificate(DOMAIN)
    with edge.client.websocket() as connection:
        before = edge.client.served()
        assert before != new.der
        edge.use(new)
        wait_until(lambda: edge.client.served() == new.der, timeout=150, describe="the new certificate")
        wait_until(lambda: edge.events(pod, "watch"), timeout=30, describe="the watcher to report it")
        assert echoes(connection)
        assert connection.getpeercert(binary_form=True) == before
    assert (edge.worker(), edge.old_workers()) == (worker, 0)
    assert edge.pod()["metadata"]["name"] == pod
    assert _restarts(edge) == {"haproxy": 0, "watch": 0}
    assert [event["event"] for event in edge.events(pod, "watch")] == ["renewed"]


def test_a_key_that_is_not_the_certificate_s_is_refused(edge: Instance) -> None:
    pod, worker = edge.pod()["metadata"]["name"], edge.worker()
    said = len(edge.events(pod, "watch"))
    new, other = certificate(DOMAIN), certificate(DOMAIN)
    # If HAProxy ever gets such a pair, it closes one connection of one thread.
    with ExitStack() as stack:
        connections = [stack.enter_context(edge.client.websocket()) for _ in range(_CONNECTIONS)]
        before = edge.client.served()
        edge.use(Certificate(new.pem, other.key))
        wait_until(
            lambda: edge.events(pod, "watch")[said:],
            timeout=150,
            describe="the watcher to refuse it",
        )
        assert edge.client.served() == before
        assert all(map(echoes, connections))
        [refused] = edge.events(pod, "watch")[said:]
        assert refused["event"] == "refused"
        assert "tls.key does not belong to the first certificate" in refused["because"]
        # A valid certificate is loaded again.
        edge.use(new)
        wait_until(
            lambda: edge.client.served() == new.der, timeout=150, describe="the right pair to be served"
        )
        assert all(map(echoes, connections))
    assert edge.worker() == worker
    log = edge.kubectl("-n", edge.namespace, "logs", pod, "-c", "watch").stdout
    assert "PRIVATE KEY" not in log


def test_a_new_configuration_takes_effect_without_another_pod(edge: Instance) -> None:
    """The old worker keeps its connections. test_live_changes.py tests for how long."""
    pod = edge.pod()["metadata"]["name"]
    with edge.client.websocket() as connection:
        assert edge.client.status("localhost") == 421
        edge.apply(plainLocalhost=True)
        wait_until(
            lambda: edge.client.status("localhost") == 200, timeout=150, describe="localhost to be served"
        )
        assert edge.old_workers() == 1
        assert echoes(connection)
    assert edge.pod()["metadata"]["name"] == pod
    assert _restarts(edge) == {"haproxy": 0, "watch": 0}


def test_a_configuration_that_haproxy_refuses_changes_nothing(edge: Instance) -> None:
    pod = edge.pod()["metadata"]["name"]

    def last() -> str:
        return str(edge.events(pod, "watch")[-1]["event"])

    with edge.client.websocket() as connection:
        edge.write_configuration("this is no configuration\n")
        wait_until(lambda: last() == "refused", timeout=150, describe="the watcher to refuse it")
        assert "unknown keyword 'this'" in edge.events(pod, "watch")[-1]["because"]
        assert echoes(connection)
        assert edge.client.served()
        # A valid configuration is loaded again.
        edge.apply(plainLocalhost=True)
        wait_until(
            lambda: edge.client.status("localhost") == 200, timeout=150, describe="the right one to be loaded"
        )
        assert echoes(connection)
    assert _restarts(edge) == {"haproxy": 0, "watch": 0}


def test_a_service_that_moves_is_followed(edge: Instance) -> None:
    """HAProxy looks its address up once; a Service that was made anew has another."""
    pod = edge.pod()["metadata"]["name"]
    edge.apply(plainLocalhost=True)
    wait_until(lambda: edge.client.status("localhost") == 200, timeout=150, describe="localhost to be served")
    before = edge.service_address()
    edge.move_service()
    assert edge.service_address() != before
    wait_until(
        lambda: edge.client.status("localhost") == 200, timeout=60, describe="the Service to be found again"
    )
    assert edge.events(pod, "watch")[-1]["event"] == "reloaded"
    assert _restarts(edge) == {"haproxy": 0, "watch": 0}


def _stopping(edge: Instance, pod: str) -> dict[str, object]:
    """The event by which it says that it stops."""
    edge.kubectl("-n", edge.namespace, "delete", "pod", pod, "--wait=false")

    def said() -> dict[str, object] | None:
        events = [event for event in edge.events(pod, "haproxy") if event["event"] == "stopping"]
        return events[0] if events else None

    event = wait_until(said, timeout=20, describe="it to say that it stops")
    assert event is not None
    return event


def _gone(edge: Instance, pod: str) -> bool:
    pods = edge.kubectl.get("pods", "-n", edge.namespace)
    return pod not in {found["metadata"]["name"] for found in pods}


def test_a_stopping_edge_waits_for_its_connections_and_says_how_long(edge: Instance) -> None:
    pod = edge.pod()["metadata"]["name"]
    with edge.client.websocket() as connection:
        event = _stopping(edge, pod)
        deadline = datetime.fromisoformat(str(event["deadline"]))
        left = (deadline - datetime.now(UTC)).total_seconds()
        assert edge.drain_seconds - 10 < left <= edge.drain_seconds + 1
        assert isinstance(event["connections"], int)
        wait_until(lambda: not _listens(edge), timeout=10, describe="new connections to be refused")
        assert echoes(connection)
    # Nothing holds it any more: it does not wait for the deadline. The time is the kubelet's.
    wait_until(lambda: _gone(edge, pod), timeout=edge.drain_seconds, describe="the pod to end")
    edge.wait_ready()


def test_a_stopping_edge_cuts_its_connections_at_the_deadline(edge: Instance) -> None:
    pod = edge.pod()["metadata"]["name"]
    with edge.client.websocket() as connection:
        # Also those that a reload has left.
        edge.apply(plainLocalhost=True)
        wait_until(lambda: edge.client.status("localhost") == 200, timeout=150, describe="it to be reloaded")
        began = time.monotonic()
        _stopping(edge, pod)
        while echoes(connection):
            assert time.monotonic() - began < 2 * edge.drain_seconds + 20, "the deadline means nothing"
            time.sleep(0.5)
        assert time.monotonic() - began > edge.drain_seconds - 5
    wait_until(lambda: _gone(edge, pod), timeout=30, describe="the pod to end")
    edge.wait_ready()


def _listens(edge: Instance) -> bool:
    try:
        edge.client.connect().close()
    except OSError:
        return False
    return True
