"""A recording in one file that survives the death of its writer."""

from __future__ import annotations

from pathlib import Path

from recorder.media.encoders import EncodedPacket, Encoders
from recorder.outputs.container import Container
from recorder.requests.encoding import Container as Format

# FFmpeg's name and options of each format.
FORMATS: dict[Format, tuple[str, dict[str, str]]] = {
    # A fragment per second is written out at once, so a killed writer loses at most the last one. A normal
    # end appends an index and rewrites the first bytes: the result is an ordinary MP4. The header waits for
    # the first fragment, because only then it can say that the first picture is shown at time 0.
    Format.MP4: (
        "mp4",
        {
            "movflags": "hybrid_fragmented+delay_moov",
            "frag_duration": "1000000",
            "flush_packets": "1",
        },
    ),
    Format.OGG: ("ogg", {"flush_packets": "1", "page_duration": "500000"}),
    Format.MP3: ("mp3", {"flush_packets": "1"}),
}


class FileSink:
    """Writes the file at `path`."""

    def __init__(self, path: Path, container: Format, encoders: Encoders) -> None:
        name, options = FORMATS[container]
        self._container = Container(str(path), name, encoders, options)

    def write(self, packet: EncodedPacket) -> None:
        """Add a packet. Raises OSError, for example when the disk is full."""
        self._container.write(packet)

    def close(self) -> None:
        """Complete the file. Raises OSError."""
        self._container.close()
