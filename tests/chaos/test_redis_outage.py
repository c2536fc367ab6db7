"""Redis is away: SFUs are taken out of service, none is restarted, and afterwards calls can be made again.

Calls that are held meanwhile are not looked at: LiveKit's signalling passes Redis, also on one node, and
clients give up after ten tries to get it back, some half minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.waiting import NeverHappened, wait_until
from loadtest.client.process import ClientDied
from loadtest.net.bridge import ClientNetwork
from loadtest.targets.outputs import StackOutputs
from tests.chaos.held_call import admissions
from tests.chaos.sfu_routing import sfu_pods, sfu_restarts
from tests.deployment.kubectl import Kubectl
from tests.e2e.call import CallResult, Network, assert_media_arrived, hold_call
from tests.support.speed import scaled

# A liveness probe that asked LiveKit's `/` would have restarted it after 30 s.
_WATCHED_SECONDS = 40.0
_RECOVERY_SECONDS = 60.0
_REDIS = "statefulset/redis"


@contextmanager
def _away(kubectl: Kubectl, namespace: str) -> Iterator[None]:
    """No Redis for as long as the block runs."""
    replicas = kubectl("-n", namespace, "get", _REDIS, "-o", "jsonpath={.spec.replicas}").stdout
    kubectl("-n", namespace, "scale", _REDIS, "--replicas=0")
    try:
        wait_until(
            lambda: not kubectl.get("pods", "-n", namespace, "-l", "app.kubernetes.io/name=redis"),
            timeout=scaled(60),
            describe="Redis to be gone",
        )
        yield
    finally:
        kubectl("-n", namespace, "scale", _REDIS, f"--replicas={replicas}")
        kubectl("-n", namespace, "rollout", "status", _REDIS, "--timeout=120s", timeout=130)


@pytest.mark.long
@pytest.mark.usefixtures("disruptive")
def test_no_sfu_is_restarted_for_want_of_redis(
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

    def next_call() -> CallResult:
        sends, watches = admissions(outputs, [outputs.signal_url])
        return hold_call(
            client_network, publisher=sends, subscriber=watches, through=Network(), logs=tmp_path
        )

    call = wait_until(
        next_call,
        timeout=scaled(_RECOVERY_SECONDS),
        describe="a call after Redis is back",
        tolerate=(ClientDied, NeverHappened),
    )
    assert_media_arrived(call)
