"""What is counted, and what is said where something cannot be told."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from tests.prometheus import samples
from turn_exporter.metrics import Counters, State
from turn_exporter.reports import Transport

CHANNEL = "turn/realm/r/user/1:x/allocation/001000000000000002"


def scraped(registry: CollectorRegistry) -> dict[str, float]:
    return samples(generate_latest(registry).decode())


def test_reports_add_up() -> None:
    registry = CollectorRegistry()
    counters = Counters(registry)
    for size in (100, 250):
        counters.record(f"{CHANNEL}/traffic", f"rcvp=2, rcvb={size}, sentp=3, sentb=7")
    counters.record(f"{CHANNEL}/traffic/peer", "rcvp=1, rcvb=9, sentp=0, sentb=0")
    found = scraped(registry)
    assert found["turn_bytes_total{received,client}"] == 350
    assert found["turn_bytes_total{sent,client}"] == 14
    assert found["turn_packets_total{received,client}"] == 4
    assert found["turn_packets_total{sent,client}"] == 6
    assert found["turn_bytes_total{received,peer}"] == 9
    assert found["turn_bytes_total{sent,peer}"] == 0


def test_a_report_that_cannot_be_read_ends_nothing_and_is_counted() -> None:
    registry = CollectorRegistry()
    counters = Counters(registry)
    counters.record(f"{CHANNEL}/traffic", "something else")
    counters.record(f"{CHANNEL}/status", "new lifetime=600, type=UDP, local=x")
    found = scraped(registry)
    assert found["turn_exporter_reports_not_understood_total"] == 1
    assert found["turn_allocations_created_total{udp}"] == 1


def test_allocations_are_those_of_the_moment_of_each_transport() -> None:
    there = [Transport.UDP, Transport.TLS, Transport.UDP]
    registry = CollectorRegistry()
    registry.register(State(answers=lambda: True, draining=lambda: False, allocations=lambda: there, limit=7))
    assert scraped(registry) == {
        "turn_up": 1,
        "turn_draining": 0,
        "turn_allocations_limit": 7,
        "turn_allocations{udp}": 2,
        "turn_allocations{tcp}": 0,
        "turn_allocations{tls}": 1,
    }
    there.clear()
    assert scraped(registry)["turn_allocations{udp}"] == 0


def test_what_nobody_can_tell_is_not_0() -> None:
    registry = CollectorRegistry()
    registry.register(State(answers=lambda: False, draining=lambda: True, allocations=lambda: None, limit=7))
    assert scraped(registry) == {"turn_up": 0, "turn_draining": 1, "turn_allocations_limit": 7}
