"""Redis is away for half a minute: no SFU is restarted, calls go on, and afterwards all is as before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.waiting import wait_until
from loadtest.client.process import ClientDied
from loadtest.net.bridge import ClientNetwork
from loadtest.outputs import StackOutputs
from tests.chaos.held_call import (
    FREEZE_MS,
    admissions,
    held_call,
    longest_standstill_ms,
    now_ms,
    sfu_restarts,
)
from tests.deployment.kubectl import Kubectl
from tests.e2e.call import CallResult, Network, assert_media_arrived, hold_call

# LiveKit says that it is unhealthy after 4 s, and a liveness probe that asked would kill after 30.
_AWAY_SECONDS = 35.0
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
            timeout=60,
            describe="Redis to be gone",
        )
        yield
    finally:
        kubectl("-n", namespace, "scale", _REDIS, f"--replicas={replicas}")
        kubectl("-n", namespace, "rollout", "status", _REDIS, "--timeout=120s", timeout=130)


@pytest.mark.long
@pytest.mark.usefixtures("disruptive")
def test_calls_go_on_without_redis_and_no_sfu_is_restarted(
    outputs: StackOutputs, client_network: ClientNetwork, kubectl: Kubectl, tmp_path: Path
) -> None:
    before = sfu_restarts(kubectl, outputs.namespace)
    # Both ends enter at one node: what the nodes tell each other goes by Redis.
    with held_call(outputs, client_network, outputs.signal_urls[:1], tmp_path) as watching:
        with _away(kubectl, outputs.namespace):
            since_ms = now_ms()
            watching.run_for(_AWAY_SECONDS)
            until_ms = now_ms()
        finished = watching.finish()
    still = longest_standstill_ms(finished, since_ms, until_ms)
    assert still < FREEZE_MS, f"the picture stood still for {still:.0f} ms while Redis was away"
    assert sfu_restarts(kubectl, outputs.namespace) == before, "an SFU was restarted for want of Redis"

    def next_call() -> CallResult:
        sends, watches = admissions(outputs, outputs.signal_urls)
        return hold_call(
            client_network, publisher=sends, subscriber=watches, through=Network(), logs=tmp_path
        )

    call = wait_until(
        next_call,
        timeout=_RECOVERY_SECONDS,
        describe="a call after Redis is back",
        tolerate=(ClientDied,),
    )
    assert_media_arrived(call)
