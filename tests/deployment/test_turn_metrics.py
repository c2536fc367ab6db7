"""What the running TURN servers say of themselves, while something is relayed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from common.waiting import wait_until
from tests.deployment.kubectl import Kubectl
from tests.deployment.turn_client import Server, allocate, credentials, until
from tests.deployment.turn_servers import Pod, Turn, find, relays_reach_each_other
from tests.running import RunningStack

# coturn ends an allocation that is given up within a second or two.
_SECONDS = 20.0
# Enough for an account before the end: one comes for every 4096 packets, and a question takes four.
_QUESTIONS = 1200
_WAYS = ("udp", "tcp", "tls")


@pytest.fixture
def turn(stack: RunningStack, kubectl: Kubectl) -> Turn:
    return find(stack, kubectl)


def _ways(turn: Turn, pod: Pod) -> dict[str, Server]:
    return {"udp": pod.udp, "tcp": pod.tcp, "tls": pod.tls(turn.name)}


def _wait(pod: Pod, probe: Callable[[dict[str, float]], bool], describe: str) -> None:
    wait_until(
        lambda: probe(pod.scrape()), timeout=_SECONDS, describe=f"{describe} ({pod.address})", interval=0.2
    )


def test_every_server_is_up_does_not_drain_and_is_understood(turn: Turn) -> None:
    for pod in turn.pods:
        found = pod.scrape()
        assert (found["turn_up"], found["turn_draining"]) == (1, 0)
        assert found["turn_allocations_limit"] > pod.allocations()
        assert found["turn_exporter_reports_not_understood_total"] == 0


@pytest.mark.parametrize("way", _WAYS)
async def test_an_allocation_is_there_by_transport_while_a_client_holds_it(turn: Turn, way: str) -> None:
    """Beside those of clients of earlier tests, who left without a word."""
    there, created = f"turn_allocations{{{way}}}", f"turn_allocations_created_total{{{way}}}"
    for pod in turn.pods:
        before = pod.scrape()
        async with allocate(_ways(turn, pod)[way], credentials(turn.secret), turn.trust):
            _wait(pod, lambda now: now[created] == before[created] + 1, "a new allocation")  # noqa: B023
            held = pod.scrape()[there]
            assert held >= 1
        _wait(pod, lambda now: now[there] < held, "one allocation less")  # noqa: B023


async def test_what_is_relayed_is_counted_on_both_sides_while_it_goes_on(
    turn: Turn, kubectl: Kubectl, platform: str
) -> None:
    """By a STUN server behind the relay: another coturn, at the address of an SFU."""
    [pod, other, *_] = [pod for pod in turn.pods if pod.address in turn.sfus]
    peer = (other.address, other.turn)
    before = pod.scrape()

    def counted(now: dict[str, float], side: str, direction: str) -> tuple[float, float]:
        """Packets and bytes since `before`."""
        packets, size = (
            now[name] - before[name]
            for name in (f"turn_{unit}_total{{{direction},{side}}}" for unit in ("packets", "bytes"))
        )
        return packets, size

    with relays_reach_each_other(kubectl, platform, turn):
        async with allocate(pod.udp, credentials(turn.secret)) as allocation:
            await until(lambda: allocation.is_answered(peer), seconds=_SECONDS)
            for _ in range(_QUESTIONS):
                await allocation.ask(peer)
            _wait(pod, lambda now: counted(now, "peer", "received")[0] >= 1000, "an account while it goes on")
    for side in ("client", "peer"):
        for direction in ("received", "sent"):

            def all_counted(now: dict[str, float]) -> bool:
                packets, size = counted(now, side, direction)  # noqa: B023
                # A STUN message has a header of 20 bytes.
                return packets >= _QUESTIONS and size >= 20 * packets

            _wait(pod, all_counted, f"all that was {direction} of {side}s at the end")
