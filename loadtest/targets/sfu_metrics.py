"""What the SFU nodes count, from their Prometheus endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

import httpx
from prometheus_client.parser import text_string_to_metric_families

METRICS_PORT = 6789
_READ = ("livekit_packet_", "livekit_participant_join_", "process_", "# TYPE livekit_pa", "# TYPE process_")


@dataclass(frozen=True)
class NodeCounters:
    """Counters of one SFU node since it started.

    Attributes:
        signal_connections: participants whose signalling came in here; they may be in a room of
            another node.
        media_sessions: participants whose media was connected here, that is, in a room of this node.
        packets_in: RTP packets received from clients. Brought up to date every few seconds.
    """

    signal_connections: int
    media_sessions: int
    packets_in: int

    def __sub__(self, earlier: NodeCounters) -> NodeCounters:
        return NodeCounters(
            signal_connections=self.signal_connections - earlier.signal_connections,
            media_sessions=self.media_sessions - earlier.media_sessions,
            packets_in=self.packets_in - earlier.packets_in,
        )


@dataclass(frozen=True)
class NodeLoad:
    """What one SFU node has used and carried since its process started.

    Attributes:
        started_s: when that was, in seconds since the epoch; another value is another process, whose
            counters began at 0 again.
        cpu_s: processor time.
        memory_bytes: resident, now.
        packets_in, packets_out, bytes_in, bytes_out: of RTP. The server adds to them for each track about
            every 5 s, so a rate needs an interval above that.
    """

    started_s: float
    cpu_s: float
    memory_bytes: float
    packets_in: float
    packets_out: float
    bytes_in: float
    bytes_out: float


def read_counters(node: IPv4Address, port: int = METRICS_PORT) -> NodeCounters:
    """Ask one SFU node.

    Raises:
        httpx.HTTPError: no answer, or none that is 200.
    """
    return parse_counters(_exposition(node, port))


def read_load(node: IPv4Address) -> NodeLoad:
    """Ask one SFU node.

    Raises:
        httpx.HTTPError: no answer, or none that is 200.
    """
    return parse_load(_exposition(node, METRICS_PORT))


def _exposition(node: IPv4Address, port: int) -> str:
    response = httpx.get(f"http://{node}:{port}/metrics", timeout=5)
    response.raise_for_status()
    return response.text


def parse_counters(text: str) -> NodeCounters:
    """The counters in a Prometheus exposition; one that has not counted yet is absent, and 0."""
    total = _totals(text)
    return NodeCounters(
        signal_connections=int(total("livekit_participant_join_total", state="signal_connected")),
        media_sessions=int(total("livekit_participant_join_total", state="rtc_active")),
        packets_in=int(total("livekit_packet_total", direction="incoming")),
    )


def parse_load(text: str) -> NodeLoad:
    """The same, of what the node's process uses and carries."""
    total = _totals(text)
    return NodeLoad(
        started_s=total("process_start_time_seconds"),
        cpu_s=total("process_cpu_seconds_total"),
        memory_bytes=total("process_resident_memory_bytes"),
        packets_in=total("livekit_packet_total", direction="incoming"),
        packets_out=total("livekit_packet_total", direction="outgoing"),
        bytes_in=total("livekit_packet_bytes_total", direction="incoming"),
        bytes_out=total("livekit_packet_bytes_total", direction="outgoing"),
    )


class _Total(Protocol):
    """The sum of a metric over all samples that have these labels."""

    def __call__(self, name: str, **labels: str) -> float: ...


def _totals(text: str) -> _Total:
    # The server tells over a thousand lines, most of them of histograms, and parsing is what costs.
    # The parser gives every counter the suffix `_total`: `livekit_packet_bytes` is told without it.
    lines = [line for line in text.splitlines() if line.startswith(_READ)]
    families = text_string_to_metric_families("\n".join(lines))
    samples = [sample for family in families for sample in family.samples]

    def total(name: str, **labels: str) -> float:
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    return total
