"""Redis is away: SFUs become unready, none is restarted, and calls can be made again afterwards.

Calls during the outage are not tested. LiveKit sends its signalling through Redis, also on one node, and
clients give up after ten attempts to reconnect, which take about 30 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.waiting import NeverHappened, wait_until
from loadtest.net.bridge import ClientNetwork
from loadtest.targets.outputs import StackOutputs
from tests.chaos.held_call import call_after_an_outage
from tests.chaos.sfu_routing import sfu_pods, sfu_restarts
from tests.deployment.kubectl import Kubectl
from tests.e2e.call import assert_media_arrived
from tests.support.speed import scaled

# A liveness probe that asked LiveKit's `/` would have restarted it after 30 s.
_WATCHED_SECONDS = 40.0
_RECOVERY_SECONDS = 60.0
_REDIS = "statefulset/redis"


@contextmanager
def _away(kubectl: Kubectl, namespace: str) -> Iterator[None]:
    """Stop Redis during the block."""
    replicas = kubectl("-n", namespace, "get", _REDIS, "-o", "jsonpath={.spec.replicas}").stdout
    kubectl("-n", namespace, "scale", _REDIS, "--replicas=0")
    try:
        wait_until(
            lambda: not kubectl.get("pods", "-n", namespace, "-l", "app.kubernetes.io/name=redis"),
            timeout=scaled(60),
            describe="the end of Redis' pods",
        )
        yield
    finally:
        kubectl("-n", namespace, "scale", _REDIS, f"--replicas={replicas}")
        kubectl("-n", namespace, "rollout", "status", _REDIS, "--timeout=120s", timeout=130)


@pytest.mark.long
@pytest.mark.usefixtures("disruptive")
def test_no_sfu_is_restarted_because_redis_is_away(
    outputs: StackOutputs, client_network: ClientNetwork, kubectl: Kubectl, tmp_path: Path
) -> None:
    namespace = outputs.namespace
    before = sfu_restarts(kubectl, namespace)
    with _away(kubectl, namespace):
        wait_until(
            lambda: not any(pod.ready for pod in sfu_pods(kubectl, namespace).values()),
            timeout=scaled(60),
            describe="the SFUs to notice that Redis is away",
        )
        with pytest.raises(NeverHappened):
            wait_until(
                lambda: sfu_restarts(kubectl, namespace) != before,
                timeout=_WATCHED_SECONDS,
                describe="an SFU to be restarted",
                interval=2,
            )
    wait_until(
        lambda: all(pod.ready for pod in sfu_pods(kubectl, namespace).values()),
        timeout=scaled(60),
        describe="the SFUs to be ready again",
    )
    assert sfu_restarts(kubectl, namespace) == before
    call = call_after_an_outage(outputs, client_network, tmp_path, within_seconds=_RECOVERY_SECONDS)
    assert_media_arrived(call)
