"""How many allocations a join takes: the quotas of coturn are made of this number."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from livekit_platform.turn_allocations import ALLOCATIONS_OF_A_JOIN
from loadtest.client.process import client_process
from loadtest.client.protocol import ClientConfig, Joined
from loadtest.net.bridge import ClientNetwork
from loadtest.net.namespace import client_namespace
from loadtest.targets.outputs import StackOutputs
from loadtest.targets.tokens import make_admission
from tests.deployment.kubectl import Kubectl
from tests.deployment.turn_servers import pods_of
from tests.e2e.call import MARKED_MEDIA, room_name
from tests.e2e.chromium import chromium
from tests.e2e.page import call_page
from tests.running import ClusterAccess

pytestmark = pytest.mark.long

_KEY = re.compile(r"turn/realm/[^/]+/user/(?P<user>[^/]+)/allocation/\d+/status")
# ICE gathers within a second or two, and begins again after a restart.
_WATCHED_SECONDS = 6.0

_Client = Callable[[StackOutputs, ClientNetwork, str, Path], AbstractContextManager[None]]


@contextmanager
def _browser(outputs: StackOutputs, network: ClientNetwork, room: str, logs: Path) -> Iterator[None]:
    admission = make_admission(outputs, url=outputs.signal_url, room=room, identity="browser")
    with (
        client_namespace(network) as namespace,
        chromium(logs / "home", trusting=outputs.ca_certificate, namespace=namespace) as browser,
        call_page(browser, f"https://{outputs.domain}", log=logs / "page.log") as page,
    ):
        page.join(admission, "relay")
        page.restart("signal-reconnect")
        yield


@contextmanager
def _sdk(outputs: StackOutputs, network: ClientNetwork, room: str, logs: Path) -> Iterator[None]:
    admission = make_admission(outputs, url=outputs.signal_url, room=room, identity="sdk")
    config = ClientConfig(
        url=admission.url, token=admission.token, transport="relay", publish=MARKED_MEDIA, subscribe=True
    )
    with (
        client_namespace(network) as namespace,
        client_process("sdk", config, namespace=namespace, log=logs / "sdk.log") as client,
    ):
        client.wait_for(Joined, timeout=40)
        yield


@pytest.mark.parametrize("client", [_browser, _sdk], ids=["Chromium", "SDK"])
def test_a_join_takes_no_more_allocations_of_a_server_than_the_quotas_are_made_of(
    outputs: StackOutputs,
    cluster: ClusterAccess,
    client_network: ClientNetwork,
    tmp_path: Path,
    client: _Client,
) -> None:
    kubectl = Kubectl(cluster)
    most: dict[tuple[str, str], int] = {}
    room = room_name()
    (tmp_path / "peer").mkdir()
    # Somebody who sends something.
    with (
        _sdk(outputs, client_network, room, tmp_path / "peer"),
        client(outputs, client_network, room, tmp_path),
    ):
        end = time.monotonic() + _WATCHED_SECONDS
        while time.monotonic() < end:
            for held, number in _allocations(kubectl, outputs.namespace).items():
                most[held] = max(most.get(held, 0), number)
    assert most, "nobody has an allocation"
    assert max(most.values()) <= ALLOCATIONS_OF_A_JOIN, most


def _allocations(kubectl: Kubectl, namespace: str) -> Counter[tuple[str, str]]:
    """How many allocations there are, by server and user. A user is one join."""
    found: Counter[tuple[str, str]] = Counter()
    for pod in pods_of(kubectl, namespace):
        name = pod["metadata"]["name"]
        port = next(
            word
            for one in pod["spec"]["initContainers"]
            if one["name"] == "reports"
            for word in one["command"]
            if word.isdigit()
        )
        keys = kubectl(
            *("-n", namespace, "exec", name, "-c", "reports", "--"),
            *("redis-cli", "-p", port, "--scan", "--pattern", "turn/*/status"),
        ).stdout
        found.update((name, match["user"]) for match in map(_KEY.fullmatch, keys.split()) if match)
    return found
