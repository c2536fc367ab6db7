"""The stack as another kind, by the command that a user has for it, and back again.

Redis with Sentinels, and LiveKit's own TURN server behind the edge: the local stack has neither by default.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from common.commands import run
from loadtest.net.bridge import ClientNetwork
from loadtest.net.firewall import OnlyTo
from loadtest.targets.outputs import StackOutputs, endpoint_of
from tests import running
from tests.chaos.held_call import admissions
from tests.deployment.kubectl import Kubectl
from tests.e2e.call import Network, assert_media_arrived, hold_call
from tests.redis_trio import deployed
from tests.running import CHECKOUT, local

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("disruptive")]

# Longer than Pulumi waits for an object (10 min): a killed `up` would leave its engine behind.
_UP_SECONDS = 900.0
_OVERLAY = {
    "livekit-platform:redis": {"kind": "sentinel"},
    "livekit-platform:turn": {"kind": "embedded"},
}


@pytest.fixture(scope="module")
def other_kind(stack: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackOutputs]:
    """The deployed stack with `_OVERLAY`, for as long as this module runs."""
    file = tmp_path_factory.mktemp("overlay") / "overlay.yaml"
    file.write_text(yaml.safe_dump({"config": _OVERLAY}))
    try:
        command = ["env", f"LKP_OVERLAY={file}", sys.executable, "-m", "local", "up"]
        run(command, cwd=CHECKOUT, timeout=_UP_SECONDS)
        yield running.read_outputs()
    finally:
        local("up", timeout=_UP_SECONDS)


def test_three_redis_elect_one_master_and_livekit_finds_it(
    other_kind: StackOutputs, kubectl: Kubectl, client_network: ClientNetwork, tmp_path: Path
) -> None:
    redis = deployed(kubectl, other_kind.namespace)
    assert redis is not None
    assert redis.settled() in redis.roles()
    sends, watches = admissions(other_kind, other_kind.signal_urls)
    call = hold_call(client_network, publisher=sends, subscriber=watches, through=Network(), logs=tmp_path)
    assert_media_arrived(call)


def test_the_embedded_turn_server_relays(
    other_kind: StackOutputs, kubectl: Kubectl, client_network: ClientNetwork, tmp_path: Path
) -> None:
    assert kubectl.get("pods", "-n", other_kind.namespace, "-l", "app.kubernetes.io/name=coturn") == []
    turn = tuple(endpoint_of(url) for url in other_kind.turn_urls if url.startswith("turn:"))
    signalling = endpoint_of(other_kind.signal_url, other_kind.address_of)
    sends, watches = admissions(other_kind, (other_kind.signal_url,))
    call = hold_call(
        client_network,
        publisher=sends,
        subscriber=watches,
        through=Network(firewall=OnlyTo((signalling, *turn)), transport="relay"),
        logs=tmp_path,
    )
    for path in (*call.publisher.paths, *call.subscriber.paths):
        assert path.local.type == "relay", f"{path}"
    assert_media_arrived(call)
