"""turn-exporter beside the real coturn and the Redis that it reports to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest

from common.waiting import wait_until
from tests.deployment.turn_client import allocate, credentials
from tests.services.coturn import SECRET, TurnPod
from tests.support.speed import scaled

# coturn looks at what is to end each second, and waits a little.
_SECONDS = 20.0


@pytest.fixture
def running(pod: TurnPod) -> Iterator[TurnPod]:
    """All of them run, in the order of the chart."""
    with pod.redis(), pod.exporter(), pod.coturn():
        _wait(pod, turn_up=1)
        _wait_until(pod.is_followed, "the exporter to subscribe")
        yield pod


def _wait(pod: TurnPod, **wanted: float) -> None:
    """Until metrics without labels have these values."""
    _wait_until(lambda: wanted.items() <= pod.metrics().items(), str(wanted))


def _wait_until(probe: Callable[[], object], describe: str) -> None:
    wait_until(probe, timeout=scaled(_SECONDS), describe=describe, interval=0.1)


def _allocations(pod: TurnPod) -> dict[str, float]:
    return {name: value for name, value in pod.metrics().items() if name.startswith("turn_allocations{")}


_NONE = {"turn_allocations{udp}": 0.0, "turn_allocations{tcp}": 0.0, "turn_allocations{tls}": 0.0}


def test_every_series_is_there_before_anything_has_happened(running: TurnPod) -> None:
    assert running.metrics() == {
        "turn_up": 1,
        "turn_draining": 0,
        "turn_allocations_limit": running.limit,
        **_NONE,
        **{f"turn_allocations_created_total{{{transport}}}": 0 for transport in ("udp", "tcp", "tls")},
        **{
            f"turn_{unit}_total{{{direction},{side}}}": 0
            for unit in ("bytes", "packets")
            for direction in ("received", "sent")
            for side in ("client", "peer")
        },
        "turn_exporter_reports_not_understood_total": 0,
    }


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_an_allocation_is_counted_while_it_is_there_and_its_traffic_at_its_end(
    running: TurnPod, transport: str
) -> None:
    here = f"turn_allocations{{{transport}}}"
    async with allocate(running.server(transport), credentials(SECRET)):
        _wait_until(lambda: _allocations(running) == {**_NONE, here: 1}, "one allocation")
    _wait_until(lambda: _allocations(running) == _NONE, "no allocation any more")
    after = running.metrics()
    assert after[f"turn_allocations_created_total{{{transport}}}"] == 1
    # To ask for it, to be told the nonce, to ask again, and to give it up.
    assert after["turn_packets_total{received,client}"] >= 2
    assert after["turn_bytes_total{received,client}"] > 100
    assert after["turn_bytes_total{sent,client}"] > 100
    assert after["turn_bytes_total{sent,peer}"] == 0
    assert after["turn_exporter_reports_not_understood_total"] == 0
    # Who it was stays in coturn.
    assert "test_turn" not in running.log("exporter")


async def test_the_log_warns_when_few_allocations_are_left(pod: TurnPod) -> None:
    pod.limit = 4
    with pod.redis(), pod.exporter(), pod.coturn():
        _wait(pod, turn_up=1)
        async with AsyncExitStack() as held:
            for number in range(4):
                given = credentials(SECRET, user=f"user-{number}")
                await held.enter_async_context(allocate(pod.server("udp"), given))
            _wait_until(lambda: "warning: 4 of 4 allocations are taken" in pod.log("exporter"), "the warning")
        _wait_until(lambda: "the warning is over" in pod.log("exporter"), "its end")


async def test_a_server_that_drains_says_so_and_still_answers(pod: TurnPod) -> None:
    with pod.redis(), pod.exporter(), pod.coturn() as server:
        _wait(pod, turn_up=1, turn_draining=0)
        async with allocate(pod.server("udp"), credentials(SECRET)):
            server.terminate()
            _wait(pod, turn_up=1, turn_draining=1)
        _wait_until(lambda: server.poll() is not None, "the server to have drained")
        _wait(pod, turn_up=0)


async def test_a_killed_server_is_down_and_the_next_one_has_none_of_its_allocations(pod: TurnPod) -> None:
    with pod.redis(), pod.exporter(), ExitStack() as first:
        server = first.enter_context(pod.coturn())
        _wait(pod, turn_up=1)
        async with AsyncExitStack() as client:
            await client.enter_async_context(allocate(pod.server("udp"), credentials(SECRET)))
            _wait_until(lambda: _allocations(pod) != _NONE, "the allocation")
            server.kill()
            first.close()
            _wait(pod, turn_up=0)
            assert _allocations(pod) != _NONE
            with pod.coturn():
                _wait(pod, turn_up=1)
                _wait_until(lambda: _allocations(pod) == _NONE, "no allocation")
                # Given up here, for a server that is away is waited for.
                await client.aclose()


async def test_an_exporter_that_starts_again_knows_what_is_there(pod: TurnPod) -> None:
    with pod.redis(), pod.coturn(), ExitStack() as first:
        exporter = first.enter_context(pod.exporter())
        _wait(pod, turn_up=1)
        async with allocate(pod.server("tcp"), credentials(SECRET)):
            first.close()
            assert exporter.returncode == 0, pod.log("exporter")
            with pod.exporter():
                assert _allocations(pod) == {**_NONE, "turn_allocations{tcp}": 1}


async def test_without_the_redis_there_is_no_figure_rather_than_a_wrong_one(pod: TurnPod) -> None:
    with pod.exporter(), ExitStack() as first:
        first.enter_context(pod.redis())
        _wait_until(lambda: _allocations(pod) == _NONE, "the Redis to be found")
        first.close()
        _wait_until(lambda: _allocations(pod) == {}, "no figure any more")
        with pod.redis(), pod.coturn():
            _wait(pod, turn_up=1)
            _wait_until(pod.is_followed, "the exporter to subscribe again")
            async with allocate(pod.server("udp"), credentials(SECRET)):
                _wait(pod, **{"turn_allocations_created_total{udp}": 1})
