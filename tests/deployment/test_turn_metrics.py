"""What the running TURN servers say of themselves, while something is relayed."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from common.waiting import wait_until
from tests.deployment.kubectl import Kubectl
from tests.deployment.turn_client import Allocation, Server, allocate, credentials
from tests.deployment.turn_servers import Pod, Turn, find
from tests.running import RunningStack

# coturn ends an allocation that is given up within a second or two.
_SECONDS = 20.0
# Enough for an account before the end: one comes for every 4096 packets, and a question takes four.
_QUESTIONS = 1200


@pytest.fixture
def turn(stack: RunningStack, kubectl: Kubectl) -> Turn:
    return find(stack, kubectl)


def _ways(turn: Turn, pod: Pod) -> dict[str, Server]:
    return {
        "udp": pod.udp,
        "tcp": Server(pod.address, pod.turn, "tcp"),
        "tls": Server(pod.address, pod.tls, "tls", turn.name),
    }


def _wait(pod: Pod, wanted: dict[str, float]) -> None:
    wait_until(
        lambda: wanted.items() <= pod.scrape().items(),
        timeout=_SECONDS,
        describe=f"{wanted} of {pod.address}",
        interval=0.2,
    )


def _quiet(pod: Pod) -> None:
    """No allocation of an earlier test is left."""
    _wait(pod, {f"turn_allocations{{{transport}}}": 0 for transport in ("udp", "tcp", "tls")})


def test_every_server_is_up_does_not_drain_and_is_understood(turn: Turn) -> None:
    for pod in turn.pods:
        found = pod.scrape()
        assert (found["turn_up"], found["turn_draining"]) == (1, 0)
        assert found["turn_exporter_reports_not_understood_total"] == 0


async def test_allocations_are_there_by_transport_while_clients_hold_them(turn: Turn) -> None:
    for pod in turn.pods:
        _quiet(pod)
        before = pod.scrape()
        async with AsyncExitStack() as held:
            for server in _ways(turn, pod).values():
                await held.enter_async_context(allocate(server, credentials(turn.secret), turn.trust))
            _wait(pod, {f"turn_allocations{{{transport}}}": 1 for transport in _ways(turn, pod)})
        _quiet(pod)
        after = pod.scrape()
        for transport in _ways(turn, pod):
            created = f"turn_allocations_created_total{{{transport}}}"
            assert after[created] - before[created] == 1


async def test_what_is_relayed_is_counted_on_both_sides_while_it_goes_on(turn: Turn) -> None:
    """By a STUN server behind the relay: coturn at the address of an SFU."""
    [pod, *_] = [pod for pod in turn.pods if pod.address in turn.sfus]
    peer = (pod.address, pod.turn)
    _quiet(pod)
    before = pod.scrape()

    def more() -> dict[str, float]:
        return {name: value - before[name] for name, value in pod.scrape().items() if name in before}

    async with allocate(pod.udp, credentials(turn.secret)) as allocation:
        await _ask(allocation, peer, _QUESTIONS)
        wait_until(
            lambda: more()["turn_packets_total{received,peer}"] >= 1000,
            timeout=_SECONDS,
            describe="an account",
        )
    _quiet(pod)
    relayed = more()
    for side, direction in (
        ("peer", "received"),
        ("peer", "sent"),
        ("client", "received"),
        ("client", "sent"),
    ):
        series = f"{{{direction},{side}}}"
        packets = relayed[f"turn_packets_total{series}"]
        assert packets >= _QUESTIONS, series
        # A STUN message has a header of 20 bytes.
        assert relayed[f"turn_bytes_total{series}"] >= 20 * packets, series
    # All of them, at the end: no question was repeated, for nothing is lost on the way.
    assert relayed["turn_packets_total{sent,peer}"] == _QUESTIONS


async def _ask(allocation: Allocation, peer: tuple[str, int], times: int) -> None:
    for _ in range(times):
        assert await allocation.seen_by(peer) == allocation.relayed
