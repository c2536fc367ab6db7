"""What the SFU nodes count, from their Prometheus endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

import httpx
from prometheus_client.parser import text_string_to_metric_families

METRICS_PORT = 6789


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


def read_counters(node: IPv4Address) -> NodeCounters:
    """Ask one SFU node.

    Raises:
        httpx.HTTPError: no answer, or none that is 200.
    """
    response = httpx.get(f"http://{node}:{METRICS_PORT}/metrics", timeout=5)
    response.raise_for_status()
    return parse_counters(response.text)


def parse_counters(text: str) -> NodeCounters:
    """The counters in a Prometheus exposition; one that has not counted yet is absent, and 0."""

    def total(name: str, **labels: str) -> int:
        return int(
            sum(
                sample.value
                for family in families
                for sample in family.samples
                if sample.name == name and labels.items() <= sample.labels.items()
            )
        )

    families = list(text_string_to_metric_families(text))
    return NodeCounters(
        signal_connections=total("livekit_participant_join_total", state="signal_connected"),
        media_sessions=total("livekit_participant_join_total", state="rtc_active"),
        packets_in=total("livekit_packet_total", direction="incoming"),
    )
