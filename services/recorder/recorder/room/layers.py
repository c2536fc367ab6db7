"""Asks the SFU for the simulcast layers that the tiles need, because larger ones cost CPU to decode."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from livekit import rtc
from livekit.rtc._ffi_client import FfiClient
from livekit.rtc._proto.ffi_pb2 import FfiRequest

from recorder.compose.layouts import Fit, Placed
from recorder.compose.scene import Seat, Source

# Seconds between two looks at the tiles.
INTERVAL = 0.5
# A layer change takes a key frame. So a camera that becomes smaller keeps its layer for five seconds: it may
# become larger again, for example in a conversation of two.
_KEPT = 10
# What is asked for a camera without a tile. The smallest layer suffices.
_SMALLEST = (16, 16)

Pixels = tuple[int, int]


@dataclass(frozen=True)
class Shown:
    """The camera or screen that a track shows."""

    identity: str
    source: Source


def picture_size(tile: Placed, published: Pixels) -> Pixels:
    """How large a picture must be that fills its tile sharply: width and height in pixels. Pure.

    Args:
        tile: where it is shown.
        published: the size of the largest layer; the result is never larger.
    """
    width, height = published
    if not width or not height:
        return tile.box.width, tile.box.height
    across, down = tile.box.width / width, tile.box.height / height
    scale = min(1.0, max(across, down) if tile.fit is Fit.COVER else min(across, down))
    return math.ceil(width * scale), math.ceil(height * scale)


class Layers:
    """The layers of one connection to a room."""

    def __init__(self) -> None:
        self._recent: deque[dict[Shown, Placed]] = deque(maxlen=_KEPT)
        self._asked: dict[str, Pixels] = {}

    def look(self, placed: Iterable[Placed]) -> None:
        """Remember where everybody is shown now. Before the first picture nobody is, and nothing follows."""
        tiles = {
            Shown(tile.content.participant, tile.content.source): tile
            for tile in placed
            if isinstance(tile.content, Seat)
        }
        if tiles:
            self._recent.append(tiles)

    def fit(self, publication: rtc.RemoteTrackPublication, shown: Shown) -> None:
        """Ask for the layer that a subscribed track needs, if it has layers and the need is a new one."""
        if not publication.simulcasted or not self._recent:
            return
        size = self.needed(shown, (publication.width, publication.height))
        if self._asked.get(publication.sid) != size:
            self._asked[publication.sid] = size
            _ask(publication, size)

    def needed(self, shown: Shown, published: Pixels) -> Pixels:
        """The largest size that a picture had within the last five seconds; without a tile, the smallest."""
        sizes: Sequence[Pixels] = [
            picture_size(tiles[shown], published) for tiles in self._recent if shown in tiles
        ]
        return max(sizes, default=_SMALLEST)

    def forget(self) -> None:
        """The SFU does not know any more what it was asked for."""
        self._asked.clear()


def _ask(publication: rtc.RemoteTrackPublication, size: Pixels) -> None:
    """Ask for the smallest layer that has at least this size.

    The SDK's `set_video_quality` names a layer, but only the SFU knows the sizes of the layers.
    """
    request = FfiRequest()
    request.update_remote_track_publication_dimension.track_publication_handle = (
        publication._ffi_handle.handle
    )
    request.update_remote_track_publication_dimension.width = size[0]
    request.update_remote_track_publication_dimension.height = size[1]
    FfiClient.instance.request(request)
