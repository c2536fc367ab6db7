"""From WebRTC's running totals to what was counted in one second."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from livekit import rtc
from livekit.rtc import stats

from loadtest.client.path import selected_paths
from loadtest.client.samples import SentLayer, TransportSecond

_LIMITS: Final[dict[int, str]] = {
    stats.QualityLimitationReason.LIMITATION_NONE: "none",
    stats.QualityLimitationReason.LIMITATION_CPU: "cpu",
    stats.QualityLimitationReason.LIMITATION_BANDWIDTH: "bandwidth",
    stats.QualityLimitationReason.LIMITATION_OTHER: "other",
}


class TransportMeter:
    """Takes one report after another of one client, and gives the differences."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, str], float] = {}
        self._at_ms: float | None = None

    def read(self, report: rtc.RtcStats, at_ms: float) -> TransportSecond:
        """What was counted since the report before; since its start for a stream that is new."""
        items = [*report.publisher_stats, *report.subscriber_stats]
        seconds = (at_ms - self._at_ms) / 1000 if self._at_ms is not None else 0.0
        totals = {key: value for item in items for key, value in _totals(item).items()}
        gained: defaultdict[str, float] = defaultdict(float)
        of_stream: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        for (stream, name), value in totals.items():
            before = self._before.get((stream, name), 0)
            # A total that shrank began anew with a connection; only lost packets may be fewer in the end.
            difference = value - before if value >= before or name == "packets_lost" else value
            gained[name] += difference
            of_stream[stream][name] = difference
        self._before, self._at_ms = totals, at_ms
        paths = (
            *selected_paths("publisher", report.publisher_stats),
            *selected_paths("subscriber", report.subscriber_stats),
        )
        inbound = [item.inbound_rtp for item in items if item.HasField("inbound_rtp")]
        jitters = [stream.received.jitter for stream in inbound if stream.received.packets_received]
        return TransportSecond(
            received_bytes=int(gained["received_bytes"]),
            sent_bytes=int(gained["sent_bytes"]),
            packets_received=int(gained["packets_received"]),
            packets_lost=int(gained["packets_lost"]),
            jitter_ms=max(jitters) * 1000 if jitters else None,
            jitter_buffer_ms=_mean_ms(gained["jitter_buffer_s"], gained["emitted"]),
            decode_ms=_mean_ms(gained["decode_s"], gained["frames_decoded"]),
            round_trip_ms=max((path.round_trip_ms for path in paths if path.round_trip_ms), default=None),
            nacks=int(gained["nacks"]),
            plis=int(gained["plis"]),
            firs=int(gained["firs"]),
            frames_decoded=int(gained["frames_decoded"]),
            frames_dropped=int(gained["frames_dropped"]),
            freezes=int(gained["freezes"]),
            layers=_layers(items, of_stream, seconds) if seconds else (),
            paths=paths,
        )


def _totals(item: stats.RtcStats) -> dict[tuple[str, str], float]:
    """Running totals of one stream, by its identity and what they count."""
    if item.HasField("inbound_rtp"):
        received, inbound = item.inbound_rtp.received, item.inbound_rtp.inbound
        found: dict[str, float] = {
            "received_bytes": inbound.bytes_received + inbound.header_bytes_received,
            "packets_received": received.packets_received,
            "packets_lost": received.packets_lost,
            "nacks": inbound.nack_count,
            "plis": inbound.pli_count,
            "firs": inbound.fir_count,
            "frames_decoded": inbound.frames_decoded,
            "decode_s": inbound.total_decode_time,
            "frames_dropped": inbound.frames_dropped,
            "freezes": inbound.freeze_count,
        }
        if item.inbound_rtp.stream.kind == "video":
            found |= {
                "jitter_buffer_s": inbound.jitter_buffer_delay,
                "emitted": inbound.jitter_buffer_emitted_count,
            }
        return _of_stream(item.inbound_rtp.rtc.id, found)
    if item.HasField("outbound_rtp"):
        sent, outbound = item.outbound_rtp.sent, item.outbound_rtp.outbound
        counted: dict[str, float] = {
            "sent_bytes": sent.bytes_sent + outbound.header_bytes_sent,
            "frames_encoded": outbound.frames_encoded,
            "encode_s": outbound.total_encode_time,
            "nacks": outbound.nack_count,
            "plis": outbound.pli_count,
            "firs": outbound.fir_count,
        }
        return _of_stream(item.outbound_rtp.rtc.id, counted)
    return {}


def _of_stream(stream: str, totals: dict[str, float]) -> dict[tuple[str, str], float]:
    return {(stream, name): value for name, value in totals.items()}


def _mean_ms(total_s: float, count: float) -> float | None:
    return total_s / count * 1000 if count > 0 else None


def _layers(
    items: Sequence[stats.RtcStats], gained: Mapping[str, Mapping[str, float]], seconds: float
) -> tuple[SentLayer, ...]:
    """What each layer gained in these seconds, and what it is now.

    Args:
        gained: by the identity of its stream, which is there for each of them.
    """
    return tuple(
        SentLayer(
            height=item.outbound_rtp.outbound.frame_height,
            kbps=gained[item.outbound_rtp.rtc.id]["sent_bytes"] * 8 / seconds / 1000,
            fps=item.outbound_rtp.outbound.frames_per_second,
            target_kbps=item.outbound_rtp.outbound.target_bitrate / 1000,
            encode_ms=_mean_ms(
                gained[item.outbound_rtp.rtc.id]["encode_s"],
                gained[item.outbound_rtp.rtc.id]["frames_encoded"],
            ),
            limited_by=_LIMITS[item.outbound_rtp.outbound.quality_limitation_reason],
        )
        for item in items
        if item.HasField("outbound_rtp") and item.outbound_rtp.stream.kind == "video"
    )
