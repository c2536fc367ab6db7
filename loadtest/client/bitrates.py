"""What LiveKit's clients send per picture size: bitrates, and which sizes simulcast makes.

Source: the SDK's presets (rust-sdks, livekit/src/room/options.rs, as in livekit 1.2.1). A publisher here
sets its bitrates from this table, so that what a link must carry is known and does not depend on what
an SDK takes for usual.
"""

from __future__ import annotations

from typing import Final, Literal

# Height of the picture → kbit/s. The 16:9 presets of cameras, and those of screens at 15 frames a second.
CAMERA_KBPS: Final = {90: 90, 180: 160, 216: 180, 360: 450, 540: 800, 720: 1700, 1080: 3000}
SCREEN_KBPS: Final = {360: 400, 720: 1000, 1080: 1500}

# From this width on the SDK adds the two smaller layers, whatever the size of the first. A camera
# that is smaller gets a second layer of its *own* size: twice the bitrate and nothing to choose from.
_LEAST_SIMULCAST_WIDTH: Final = 960
_SMALLER_LAYERS: Final = (180, 360)


def usual_kbps(height: int, source: Literal["camera", "screen"] = "camera") -> int:
    """kbit/s of a picture of this height: that of the table's next size up, or of its largest."""
    table = CAMERA_KBPS if source == "camera" else SCREEN_KBPS
    return next((kbps for size, kbps in table.items() if size >= height), max(table.values()))


def makes_simulcast(width: int, height: int, source: Literal["camera", "screen"] = "camera") -> bool:
    """Whether asking for simulcast gives layers of different sizes."""
    return source == "screen" or max(width, height) >= _LEAST_SIMULCAST_WIDTH


def layer_heights(width: int, height: int, *, simulcast: bool) -> tuple[int, ...]:
    """Heights of the layers that a camera of this size sends, the smallest first."""
    if not (simulcast and makes_simulcast(width, height)):
        return (height,)
    return (*(smaller for smaller in _SMALLER_LAYERS if smaller < height), height)
