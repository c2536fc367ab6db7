"""One client cannot take the relays of all others: coturn's pods and the edge keep limits by address."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from common.waiting import wait_until
from livekit_platform.config.turn import Turn as TurnConfig
from loadtest.net.bridge import ClientNetwork
from loadtest.net.namespace import ClientNamespace, client_namespace
from loadtest.targets.outputs import endpoint_of
from tests.deployment.kubectl import Kubectl
from tests.deployment.turn_client import Server
from tests.deployment.turn_hoarder import ALLOCATED, Wish
from tests.deployment.turn_servers import Turn, find
from tests.running import CHECKOUT, RunningStack
from tests.support.speed import scaled

_LIMIT = TurnConfig().allocations_per_address
_TRIES = _LIMIT + 40
_SECONDS = 60.0


@pytest.fixture(scope="module")
def turn(stack: RunningStack, kubectl: Kubectl) -> Turn:
    return find(stack, kubectl)


@pytest.fixture(scope="module")
def network(stack: RunningStack) -> ClientNetwork:
    network = stack.outputs.network_of_clients
    assert network is not None, "clients need a bridge of a cluster that local/ made"
    return network


@contextmanager
def _hoarding(client: ClientNamespace, wish: Wish) -> Iterator[dict[str, dict[str, int]]]:
    """How often each server gave which answer. The client holds its allocations until the block ends."""
    command = client.command([sys.executable, "-m", "tests.deployment.turn_hoarder"])
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(wish.to_json() + "\n")
        process.stdin.flush()
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(timeout=scaled(_SECONDS))


def test_a_client_holds_so_many_allocations_and_others_get_theirs(
    stack: RunningStack, turn: Turn, network: ClientNetwork
) -> None:
    [url] = [url for url in stack.outputs.turn_urls if url.startswith("turns:")]
    port = endpoint_of(url, stack.outputs.address_of).port
    edges = [Server(str(address), port, "tls", turn.name) for address in stack.outputs.edge_addresses]
    pod = turn.pods[0]
    before = pod.allocations()
    ways = (pod.udp, pod.tcp, *edges)
    # Flows of UDP count for minutes after their client has gone, so each run takes another address.
    free = [*network.addresses.subnets(new_prefix=29)]
    end = network.model_copy(update={"addresses": secrets.choice(free[len(free) // 2 :])})
    with (
        client_namespace(end) as greedy,
        _hoarding(greedy, Wish(ways, _TRIES, turn.secret)) as answers,
        client_namespace(network) as other,
    ):
        got = {server: answered.get(ALLOCATED, 0) for server, answered in answers.items()}
        assert all(_LIMIT / 2 <= number <= _LIMIT for number in got.values()), answers
        held = pod.allocations() - before
        assert held >= got[str(pod.udp)] + got[str(pod.tcp)]
        assert held <= pod.scrape()["turn_allocations_limit"] / 4
        with _hoarding(other, Wish(ways, 3, turn.secret)) as theirs:
            assert theirs == {str(way): {ALLOCATED: 3} for way in ways}
    wait_until(
        lambda: pod.allocations() <= before,
        timeout=scaled(_SECONDS),
        describe="all to be given up",
        interval=0.5,
    )
