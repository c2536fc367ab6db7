"""The metrics: counters of what was reported, and what the server is at the moment somebody asks."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from turn_exporter.reports import Created, NotUnderstood, Relayed, Side, Transport, report

# A second series for each counter, for the time of its beginning: a restart shows as a fall to 0 as well.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Counters:
    """What was reported since this process began. Every series is there from the beginning, at 0."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._created = Counter(
            "turn_allocations_created",
            "Allocations that clients were given",
            ["transport"],
            registry=registry,
        )
        self._bytes = Counter(
            "turn_bytes",
            "Bytes that the server received from, and sent to, clients and their peers: counted with every "
            "4096th packet of an allocation, and at its end",
            ["side", "direction"],
            registry=registry,
        )
        self._packets = Counter(
            "turn_packets", "Packets, as turn_bytes_total", ["side", "direction"], registry=registry
        )
        self._not_understood = Counter(
            "turn_exporter_reports_not_understood",
            "Reports of coturn's that this exporter cannot read: it is of another version",
            registry=registry,
        )
        for transport in Transport:
            self._created.labels(transport)
        for side in Side:
            self._count(Relayed(side, 0, 0, 0, 0))

    def record(self, channel: str, message: str) -> None:
        """Count what was published."""
        try:
            match report(channel, message):
                case Created(transport):
                    self._created.labels(transport).inc()
                case Relayed() as relayed:
                    self._count(relayed)
        except NotUnderstood as error:
            self._not_understood.inc()
            print(error, flush=True)

    def _count(self, relayed: Relayed) -> None:
        for direction, packets, size in (
            ("received", relayed.received_packets, relayed.received_bytes),
            ("sent", relayed.sent_packets, relayed.sent_bytes),
        ):
            self._packets.labels(relayed.side, direction).inc(packets)
            self._bytes.labels(relayed.side, direction).inc(size)


class State(Collector):
    """What the server is now.

    Args:
        answers: whether it answers its clients.
        draining: whether it takes no new ones.
        allocations: the transport of each allocation that there is; None where nobody can tell.
        limit: how many the server gives at the same time.
    """

    def __init__(
        self,
        answers: Callable[[], bool],
        draining: Callable[[], bool],
        allocations: Callable[[], Iterable[Transport] | None],
        limit: int,
    ) -> None:
        self._answers = answers
        self._draining = draining
        self._allocations = allocations
        self._limit = limit

    def describe(self) -> Iterable[Metric]:
        """None of it: to register it asks nobody."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Asks, and says."""
        yield GaugeMetricFamily(
            "turn_up", "1 where the server answers a STUN Binding request, 0 where not", self._answers()
        )
        yield GaugeMetricFamily(
            "turn_draining",
            "1 where the server takes no new clients and waits for those that it has, else 0",
            self._draining(),
        )
        yield GaugeMetricFamily(
            "turn_allocations_limit", "Allocations that the server gives at the same time", self._limit
        )
        found = self._allocations()
        if found is None:
            # No figure rather than a wrong one.
            return
        tally = Tally(found)
        family = GaugeMetricFamily("turn_allocations", "Allocations that there are", labels=["transport"])
        for transport in Transport:
            family.add_metric([transport], tally[transport])
        yield family
