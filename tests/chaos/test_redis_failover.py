"""The Redis master is killed under a call: nobody in it notices, and the next call can be made.

Where the deployed stack has no Sentinels, the same charts are deployed beside it, with Sentinels: three
Redis, and an SFU on every node, on ports of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path
from time import monotonic_ns
from typing import Any

import pytest
import yaml

from common.waiting import wait_until
from livekit_platform.values import livekit as livekit_values
from loadtest.client.process import ClientDied, client_process
from loadtest.client.protocol import ClientConfig, FirstVideo, Joined, Publish, Subscribe
from loadtest.net.bridge import ClientNetwork
from loadtest.net.namespace import client_namespace
from loadtest.outputs import StackOutputs
from loadtest.tokens import Admission, make_admission
from tests.deployment.kubectl import Kubectl
from tests.e2e.call import CallResult, Network, assert_media_arrived, hold_call, room_name
from tests.redis_trio import PASSWORD, RedisTrio, apply_chart, deploy, deployed, sentinel_config

_FPS = 15
_JOIN_SECONDS = 40.0
# Silence, a vote and the promotion; twice that, for two cores that do other things too.
_FAILOVER_SECONDS = 25.0
# After it SFUs find the new master, and each other again.
_RECOVERY_SECONDS = 30.0
# What a viewer takes for a standstill.
_FREEZE_MS = 1000.0
_PORTS = {"signal": 17880, "ice_tcp": 17881, "media_udp": 17882, "livekit_metrics": 16789}
_SFU = "app.kubernetes.io/name=livekit-server"


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


def _admissions(outputs: StackOutputs, urls: tuple[str, ...]) -> tuple[Admission, Admission]:
    """A publisher and a subscriber of one room, who enter at different nodes."""
    room = room_name()
    return (
        make_admission(outputs, url=urls[0], room=room, identity="publisher"),
        make_admission(outputs, url=urls[-1], room=room, identity="subscriber"),
    )


def _config(admission: Admission, **role: Any) -> ClientConfig:
    return ClientConfig(url=admission.url, token=admission.token, join_timeout=_JOIN_SECONDS, **role)


def _restarts(kubectl: Kubectl, namespace: str) -> dict[str, int]:
    pods = kubectl.get("pods", "-n", namespace, "-l", _SFU)
    return {
        pod["metadata"]["uid"]: sum(status["restartCount"] for status in pod["status"]["containerStatuses"])
        for pod in pods
    }


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
    before = _restarts(kubectl, on_sentinels.namespace)
    sends, watches = _admissions(outputs, urls)
    with (
        client_namespace(client_network) as publisher_at,
        client_namespace(client_network) as subscriber_at,
        client_process(
            "publisher",
            _config(sends, publish=Publish(fps=_FPS)),
            namespace=publisher_at,
            log=tmp_path / "publisher.log",
        ) as publisher,
        client_process(
            "subscriber",
            _config(watches, subscribe=Subscribe(fps=_FPS)),
            namespace=subscriber_at,
            log=tmp_path / "subscriber.log",
        ) as subscriber,
    ):
        publisher.wait_for(Joined, timeout=_JOIN_SECONDS)
        subscriber.wait_for(FirstVideo, timeout=_JOIN_SECONDS)
        subscriber.run_for(2)
        killed_ms = monotonic_ns() / 1e6
        redis.kill(master)
        redis.new_master(instead_of=master, timeout=_FAILOVER_SECONDS)
        # Long enough for whatever gives up late: a node counts as dead after 5 s.
        subscriber.run_for(10)
        over_ms = monotonic_ns() / 1e6
        finished = subscriber.finish()
        publisher.finish()

    [video] = finished.video
    during = [f.received_ms for f in video.frames if killed_ms <= f.received_ms <= over_ms]
    gaps = [later - earlier for earlier, later in pairwise([killed_ms, *during, over_ms])]
    assert max(gaps) < _FREEZE_MS, (
        f"the picture stood still for {max(gaps):.0f} ms after the master was killed"
    )
    assert _restarts(kubectl, on_sentinels.namespace) == before, "an SFU was restarted for want of Redis"
    call = _next_call(outputs, client_network, urls, tmp_path)
    assert_media_arrived(call)
    assert redis.settled() != master


def _next_call(
    outputs: StackOutputs, network: ClientNetwork, urls: tuple[str, ...], logs: Path
) -> CallResult:
    """Made as users make it: they try again."""

    def attempt() -> CallResult:
        sends, watches = _admissions(outputs, urls)
        return hold_call(network, publisher=sends, subscriber=watches, through=Network(), logs=logs)

    what = "a call on the new master"
    return wait_until(attempt, timeout=_RECOVERY_SECONDS, describe=what, tolerate=(ClientDied,))
