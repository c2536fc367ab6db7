"""The Redis master is killed under a call: nobody in it notices, and the next call can be made.

Where the deployed stack has no Sentinels, the same charts are deployed beside it, with Sentinels: three
Redis, and an SFU on every node, on ports of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.waiting import NeverHappened, wait_until
from livekit_platform.values import livekit as livekit_values
from loadtest.client.process import ClientDied
from loadtest.client.samples import now_ms
from loadtest.net.bridge import ClientNetwork
from loadtest.targets.outputs import StackOutputs
from tests.chaos.held_call import (
    FREEZE_MS,
    admissions,
    held_call,
    longest_standstill_ms,
    sfu_restarts,
)
from tests.deployment.kubectl import Kubectl
from tests.e2e.call import CallResult, Network, assert_media_arrived, hold_call
from tests.redis_trio import PASSWORD, RedisTrio, apply_chart, deploy, deployed, sentinel_config

# Silence, a vote and the promotion; where two Sentinels vote for themselves, another try half a minute later.
_FAILOVER_SECONDS = 50.0
# After it SFUs find the new master, and each other again.
_RECOVERY_SECONDS = 30.0
_PORTS = {"signal": 17880, "ice_tcp": 17881, "media_udp": 17882, "livekit_metrics": 16789}


@dataclass(frozen=True)
class Platform:
    """SFUs on Redis with Sentinels: the deployed ones, or the test's own."""

    redis: RedisTrio
    namespace: str
    signal_urls: tuple[str, ...]


@pytest.fixture(scope="module")
def on_sentinels(outputs: StackOutputs, kubectl: Kubectl, scratch: str) -> Platform:
    there = deployed(kubectl, outputs.namespace)
    if there is not None:
        return Platform(there, outputs.namespace, outputs.signal_urls)
    redis = deploy(kubectl, scratch)
    addresses = _deploy_sfus(outputs, kubectl, scratch)
    return Platform(redis, scratch, tuple(f"ws://{address}:{_PORTS['signal']}" for address in addresses))


def _deploy_sfus(outputs: StackOutputs, kubectl: Kubectl, namespace: str) -> list[IPv4Address]:
    """charts/livekit-server as the program deploys it; gives the nodes' addresses."""
    config = sentinel_config(kubectl, namespace, ports=_PORTS, livekit={"drain_seconds": 5})
    server: dict[str, Any] = livekit_values.server_config(config)
    # Neither TURN servers nor a token-api belong to these.
    server["rtc"].pop("turn_servers", None)
    del server["webhook"]
    complete = livekit_values.with_secrets(
        server,
        api_key=outputs.livekit_api_key,
        api_secret=outputs.livekit_api_secret.get_secret_value(),
        redis_password=PASSWORD,
        turn_secret="",
    )
    values = livekit_values.chart_values(config)
    values["priorityClassName"] = ""
    values["resources"]["requests"] = {"cpu": "50m", "memory": "64Mi"}
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": values["configSecret"]["name"], "namespace": namespace},
            "stringData": {values["configSecret"]["key"]: yaml.safe_dump(complete)},
        }
    )
    apply_chart(kubectl, "livekit-server", namespace, values)
    words = ["rollout", "status", "deployment/livekit-server", "--timeout=120s"]
    kubectl("-n", namespace, *words, timeout=130)
    return [node.address for node in config.sfu_nodes]


@pytest.mark.long
@pytest.mark.usefixtures("disruptive")
def test_a_call_outlives_the_redis_master_and_another_follows(
    outputs: StackOutputs,
    client_network: ClientNetwork,
    kubectl: Kubectl,
    on_sentinels: Platform,
    tmp_path: Path,
) -> None:
    redis, urls = on_sentinels.redis, on_sentinels.signal_urls
    master = redis.settled()
    before = sfu_restarts(kubectl, on_sentinels.namespace)
    with held_call(outputs, client_network, urls, tmp_path) as subscriber:
        subscriber.run_for(2)
        killed_ms = now_ms()
        redis.kill(master)
        redis.new_master(instead_of=master, timeout=_FAILOVER_SECONDS)
        # Long enough for whatever gives up late: a node counts as dead after 5 s.
        subscriber.run_for(10)
        over_ms = now_ms()
        subscriber.finish()

    still = longest_standstill_ms(subscriber.recording, killed_ms, over_ms)
    assert still < FREEZE_MS, f"the picture stood still for {still:.0f} ms after the master was killed"
    after = sfu_restarts(kubectl, on_sentinels.namespace)
    assert after == before, "an SFU was restarted for want of Redis"
    call = _next_call(outputs, client_network, urls, tmp_path)
    assert_media_arrived(call)
    assert redis.settled() != master


def _next_call(
    outputs: StackOutputs, network: ClientNetwork, urls: tuple[str, ...], logs: Path
) -> CallResult:
    """Made as users make it: they try again."""

    def attempt() -> CallResult:
        sends, watches = admissions(outputs, urls)
        return hold_call(network, publisher=sends, subscriber=watches, through=Network(), logs=logs)

    what = "a call on the new master"
    return wait_until(attempt, timeout=_RECOVERY_SECONDS, describe=what, tolerate=(ClientDied, NeverHappened))
