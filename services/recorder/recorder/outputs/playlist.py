"""HLS playlists. Pure. Facts: RFC 8216; livekit/egress v1.14, `pkg/pipeline/sink/m3u8/writer.go`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

LIVE_SEGMENTS = 5
_DURATION = "#EXTINF:"


@dataclass(frozen=True)
class Segment:
    """A segment that is complete.

    Attributes:
        name: its key, relative to the playlist's directory.
        began_at: the time of its first frame, in UTC.
        duration: in seconds.
    """

    name: str
    began_at: datetime
    duration: float


def event_playlist(segments: Sequence[Segment], target_seconds: int, *, ended: bool) -> str:
    """The playlist of all segments, to which lines are only added."""
    lines = [
        *_head(segments, target_seconds),
        "#EXT-X-PLAYLIST-TYPE:EVENT",
        "#EXT-X-MEDIA-SEQUENCE:0",
        *_entries(segments),
    ]
    return _text(lines, ended=ended)


def live_playlist(segments: Sequence[Segment], target_seconds: int, *, ended: bool) -> str:
    """The playlist of the last segments of `segments`, which are all so far."""
    shown = segments[-LIVE_SEGMENTS:]
    lines = [
        *_head(segments, target_seconds),
        f"#EXT-X-MEDIA-SEQUENCE:{len(segments) - len(shown)}",
        *_entries(shown),
    ]
    return _text(lines, ended=ended)


def continued(playlist: str, segment: Segment) -> str:
    """A playlist without an end, with one more segment."""
    return playlist + "\n".join(_entries([segment])) + "\n"


def duration(playlist: str) -> float:
    """The sum of the durations of all segments that a playlist names, in seconds."""
    lines = (line for line in playlist.splitlines() if line.startswith(_DURATION))
    return sum(float(line.removeprefix(_DURATION).rstrip(",")) for line in lines)


def _head(segments: Sequence[Segment], target_seconds: int) -> list[str]:
    # The target must not change (RFC 8216, 6.2.1), and no segment's rounded duration may exceed it (4.3.3.1).
    # Segments end at the target unless the encoder is late; the second rule is the one that players rely on.
    longest = max((math.floor(segment.duration + 0.5) for segment in segments), default=0)
    return ["#EXTM3U", "#EXT-X-VERSION:4", f"#EXT-X-TARGETDURATION:{max(target_seconds, longest)}"]


def _entries(segments: Sequence[Segment]) -> list[str]:
    return [
        line
        for segment in segments
        for line in (
            f"#EXT-X-PROGRAM-DATE-TIME:{segment.began_at:%Y-%m-%dT%H:%M:%S}"
            f".{segment.began_at.microsecond // 1000:03d}Z",
            f"{_DURATION}{segment.duration:.3f},",
            # A key may contain what means something else in a URI, such as a space, "#" or "?".
            quote(segment.name),
        )
    ]


def _text(lines: list[str], *, ended: bool) -> str:
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else [])]) + "\n"
