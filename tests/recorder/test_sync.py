"""Sound and pictures of a recording stay together, however long it is."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from livekit.protocol import egress as proto

from tests.recorder.conftest import Egresses, Studio
from tests.recorder.marked import MOST_MISSING, marked, watch

_SMALL = proto.EncodingOptions(width=320, height=180, framerate=15, video_bitrate=500)
_HD = proto.EncodingOptions(width=1280, height=720, framerate=30, video_bitrate=3000)
_MOST_OFFSET_SECONDS = 0.1
# While the machine keeps the publisher from sending, its beep is lost.
_LEAST_BEEPS = 0.9
_LEAST_IN_SYNC = 0.98
# From the first beeps to the last ones. Clocks that differ by 100 ppm are 60 ms apart after ten minutes.
_MOST_DRIFT_SECONDS = 0.03


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("seconds", "options"),
    [
        pytest.param(60.0, _SMALL, id="a minute", marks=pytest.mark.alone),
        pytest.param(600.0, _HD, id="ten minutes", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
    ],
)
async def test_sound_and_pictures_stay_together(
    seconds: float,
    options: proto.EncodingOptions,
    *,
    studio: Studio,
    egresses: Egresses,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    async with marked(studio.livekit.url, "alice", room) as person:
        info = await egresses.record_room(room, advanced=options)
        await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
        await asyncio.sleep(seconds)
        stopped = time.monotonic()
        await egresses.stop(info.egress_id)
        ended = await egresses.ends(info.egress_id)
        saved = time.monotonic() - stopped
    assert ended.status == proto.EGRESS_COMPLETE
    seen = await asyncio.to_thread(watch, studio.fetch(f"{room}.mp4", tmp_path))
    offsets = seen.offsets
    part = min(60, len(offsets) // 3)
    drift = statistics.median(offsets[-part:]) - statistics.median(offsets[:part])
    # A machine that keeps the publisher from sending delays the recorder, too: what it did here is allowed.
    stalled = person.latest_sound
    in_sync = sum(abs(offset) < _MOST_OFFSET_SECONDS + stalled for offset in offsets)
    largest = max(map(abs, offsets))
    for name, value in (
        ("largest_offset", largest),
        ("drift", drift),
        ("longest_stall", stalled),
        ("seconds_to_save", saved),
    ):
        record_property(name, round(value, 3))
        print(f"{name}: {value:.3f} s")
    assert seen.duration == pytest.approx(seconds, abs=2)
    assert seen.missing < MOST_MISSING
    assert in_sync >= _LEAST_BEEPS * seconds, offsets
    assert in_sync >= _LEAST_IN_SYNC * len(offsets), offsets
    assert abs(drift) < _MOST_DRIFT_SECONDS + stalled
