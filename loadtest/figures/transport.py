"""What WebRTC counted over a window."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from loadtest.client.recording import Recording
from loadtest.client.samples import TransportSecond
from loadtest.figures.spans import Window


@dataclass(frozen=True)
class TransportTotals:
    """Over the seconds whose middle is in the window.

    Attributes:
        lost_ratio: RTP packets that did not come, of those that were sent to the client; None without any.
        jitter_ms: of the worst second; None where nothing came.
        round_trip_ms: mean of what ICE measured; None where it measured nothing.
        received_kbps, sent_kbps: RTP, mean.
        freezes: as WebRTC itself counts them.
        encode_ms: how long the encoder took for a picture, in its largest layer; None where it made none.
        jitter_buffer_ms, decode_ms: of the pictures that came; None where none did. Like the one before, of
            the median second: these times step up and down, and between two steps there is no middle.
    """

    lost_ratio: float | None
    jitter_ms: float | None
    round_trip_ms: float | None
    received_kbps: float
    sent_kbps: float
    freezes: int
    encode_ms: float | None = None
    jitter_buffer_ms: float | None = None
    decode_ms: float | None = None


def transport_totals(recording: Recording, window: Window) -> TransportTotals:
    """The totals of one client."""
    told = [one for one in recording.measured if window.has((one.from_ms + one.to_ms) / 2)]
    counted = [one.transport for one in told if one.transport]
    passed_ms = sum(one.to_ms - one.from_ms for one in told)
    lost = max(0, sum(one.packets_lost for one in counted))
    sent = lost + sum(one.packets_received for one in counted)
    round_trips = [one.round_trip_ms for one in counted if one.round_trip_ms is not None]
    return TransportTotals(
        lost_ratio=lost / sent if sent else None,
        jitter_ms=max((one.jitter_ms for one in counted if one.jitter_ms is not None), default=None),
        round_trip_ms=float(np.mean(round_trips)) if round_trips else None,
        received_kbps=_kbps(sum(one.received_bytes for one in counted), passed_ms),
        sent_kbps=_kbps(sum(one.sent_bytes for one in counted), passed_ms),
        freezes=sum(one.freezes for one in counted),
        encode_ms=_median(_encode_ms(one) for one in counted),
        jitter_buffer_ms=_median(one.jitter_buffer_ms for one in counted),
        decode_ms=_median(one.decode_ms for one in counted),
    )


def _encode_ms(second: TransportSecond) -> float | None:
    """All layers of a picture are made together, and the largest one is ready last."""
    times = {layer.height: layer.encode_ms for layer in second.layers if layer.encode_ms is not None}
    return times[max(times)] if times else None


def _median(of_seconds: Iterable[float | None]) -> float | None:
    found = [value for value in of_seconds if value is not None]
    return float(np.median(found)) if found else None


def _kbps(sent_bytes: int, passed_ms: float) -> float:
    return sent_bytes * 8 / passed_ms if passed_ms else 0.0
