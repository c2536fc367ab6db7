"""HLS: a new MPEG-TS file at each key frame that is due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from recorder.media.encoders import EncodedPacket, Encoders
from recorder.outputs.container import Container
from recorder.outputs.playlist import Segment
from recorder.requests.names import stamp
from recorder.requests.outputs import SegmentOutput

# Audio begins up to one frame before the recording: its packets have negative times.
_SHIFT = -0.1
# A process that is killed loses what its muxer had not written yet.
_OPTIONS = {"flush_packets": "1"}
# A segment may be shorter by this, in seconds: frames do not fall on whole seconds exactly.
_TOLERANCE = 0.05


class SegmentSink:
    """Writes segments into `directory` and passes each complete one on.

    Args:
        directory: where segments are written; names may contain a subdirectory.
        output: what the request asks for.
        began_at: the time of the recording's first frame, in UTC.
        closed: gets each complete segment and its path.
    """

    def __init__(
        self,
        directory: Path,
        output: SegmentOutput,
        encoders: Encoders,
        began_at: datetime,
        closed: Callable[[Segment, Path], None],
    ) -> None:
        self._directory = directory
        self._output = output
        self._encoders = encoders
        self._began_at = began_at
        self._closed = closed
        self._container: Container | None = None
        self._count = 0
        self._begin = 0.0
        self._end = 0.0
        self._name = ""

    def write(self, packet: EncodedPacket) -> None:
        """Add a packet. Raises OSError."""
        if self._container is None:
            self._container = self._start(max(packet.time, 0.0))
        elif self._starts_segment(packet):
            self._finish(packet.time)
            self._container = self._start(packet.time)
        self._container.write(packet, shift=_SHIFT)
        self._end = max(self._end, packet.end)

    def close(self) -> None:
        """Complete the last segment. Raises OSError."""
        self._finish(self._end)

    def _starts_segment(self, packet: EncodedPacket) -> bool:
        leads = packet.is_key if self._encoders.video is None else packet.is_video and packet.is_key
        return leads and packet.time >= self._begin + self._output.seconds - _TOLERANCE

    def _start(self, begin: float) -> Container:
        moment = self._began_at + timedelta(seconds=begin)
        suffix = stamp(moment) if self._output.timestamps else f"{self._count:05d}"
        self._name = f"{self._output.names.prefix}_{suffix}.ts"
        path = self._directory / self._name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._begin = self._end = begin
        return Container(str(path), "mpegts", self._encoders, _OPTIONS)

    def _finish(self, end: float) -> None:
        if self._container is None:
            return
        self._container.close()
        self._container = None
        self._count += 1
        moment = self._began_at + timedelta(seconds=self._begin)
        self._closed(Segment(self._name, moment, end - self._begin), self._directory / self._name)
