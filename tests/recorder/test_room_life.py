"""What happens in the room while it is recorded, as it can be seen in the file."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from livekit import rtc
from livekit.protocol import egress as proto

from tests.recorder.conftest import Egresses, Studio
from tests.recorder.marked import Marked, marked, watch
from tests.support.speed import scaled

_SIZE = (320, 180)
_SMALL = proto.EncodingOptions(width=_SIZE[0], height=_SIZE[1], framerate=15, video_bitrate=1000)
# A change reaches the recorder by the SFU, and then fades for 0.25 s.
_SETTLED = 1.5
pytestmark = pytest.mark.usefixtures("worker")

Luma = npt.NDArray[np.uint8]


def _pictures(path: Path) -> list[tuple[float, Luma]]:
    with av.open(str(path)) as container:
        return [
            (float(frame.time or 0), frame.to_ndarray(format="gray").astype(np.uint8, copy=False))
            for frame in container.decode(video=0)
        ]


def _at(pictures: list[tuple[float, Luma]], seconds: float) -> Luma:
    return min(pictures, key=lambda pair: abs(pair[0] - seconds))[1]


def _differ(first: Luma, second: Luma) -> float:
    """The mean difference of two pictures, 0 to 255."""
    return float(np.abs(first.astype(int) - second.astype(int)).mean())


async def test_people_come_and_go_and_turn_their_cameras_off(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    loop = asyncio.get_running_loop()
    async with marked(studio.livekit.url, "alice", room) as alice:
        info = await egresses.record_room(room, advanced=_SMALL)
        await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
        began = loop.time()
        moments = {}

        async def settled(name: str) -> None:
            await asyncio.sleep(scaled(_SETTLED))
            moments[name] = loop.time() - began

        await settled("alone")
        bob = Marked(studio.livekit.url, "bob", room)
        await bob.join()
        await bob.publish_camera()
        await settled("both")
        alice.mute_camera()
        await settled("alice off")
        alice.mute_camera(muted=False)
        await settled("both again")
        await bob.leave()
        await settled("alone again")
        async with marked(studio.livekit.url, "bob", room, microphone=False):
            await settled("bob returned")
        await egresses.stop(info.egress_id)
        ended = await egresses.ends(info.egress_id)
    assert ended.status == proto.EGRESS_COMPLETE
    path = studio.fetch(f"{room}.mp4", tmp_path)
    pictures = _pictures(path)
    seen = {name: _at(pictures, moment - 0.4) for name, moment in moments.items()}
    # Alone, a camera fills the picture: its marker is whole. Two are beside each other and cropped.
    readable = {
        name: [each.stamp for each in watch(path).pictures if abs(each.time - moment + 0.4) < 0.2]
        for name, moment in moments.items()
    }
    for name in ("alone", "alone again"):
        assert any(readable[name]), name
    for name in ("both", "both again", "bob returned"):
        assert not any(readable[name]), name
        left, right = seen[name][:, : _SIZE[0] // 2], seen[name][:, _SIZE[0] // 2 :]
        assert min(left.std(), right.std()) > 20, name
    # Who turned the camera off has a tile with a name in place of the picture. The other picture stays.
    off = seen["alice off"]
    tiles = sorted(half.std() for half in (off[:, : _SIZE[0] // 2], off[:, _SIZE[0] // 2 :]))
    assert 0 < tiles[0] < 40 < tiles[1]


async def test_a_screen_takes_the_stage_and_the_layout_changes_on_demand(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    loop = asyncio.get_running_loop()
    async with (
        marked(studio.livekit.url, "alice", room) as alice,
        marked(studio.livekit.url, "bob", room, microphone=False),
    ):
        info = await egresses.record_room(room, layout="grid", advanced=_SMALL)
        await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
        began = loop.time()
        await asyncio.sleep(scaled(_SETTLED))
        grid = loop.time() - began
        await egresses.update_layout(info.egress_id, "single-speaker-light")
        await asyncio.sleep(scaled(_SETTLED))
        single = loop.time() - began
        screen = await alice.publish_camera(source=rtc.TrackSource.SOURCE_SCREENSHARE)
        await asyncio.sleep(scaled(_SETTLED))
        shared = loop.time() - began
        await egresses.update_layout(info.egress_id, "speaker")
        await asyncio.sleep(scaled(_SETTLED))
        speaker = loop.time() - began
        await alice.room.local_participant.unpublish_track(screen.sid)
        await asyncio.sleep(scaled(_SETTLED))
        without = loop.time() - began
        await egresses.stop(info.egress_id)
        assert (await egresses.ends(info.egress_id)).status == proto.EGRESS_COMPLETE
    path = studio.fetch(f"{room}.mp4", tmp_path)
    seen = watch(path)

    def stamped(moment: float) -> bool:
        return any(each.stamp for each in seen.pictures if abs(each.time - moment + 0.4) < 0.2)

    assert not stamped(grid)
    assert stamped(single)
    # The screen alone fills the picture; its own markers are read.
    assert stamped(shared)
    assert not stamped(speaker)
    pictures = _pictures(path)
    # With the speaker layout the screen is on the left, and both cameras are in a strip beside it.
    strip = _at(pictures, speaker - 0.4)[:, round(0.82 * _SIZE[0]) :]
    assert strip[: _SIZE[1] // 3].std() > 20
    assert _differ(_at(pictures, speaker - 0.4), _at(pictures, without - 0.4)) > 10


@pytest.mark.long
async def test_a_track_that_is_published_anew_with_another_codec_and_size_goes_on(
    studio: Studio, egresses: Egresses, tmp_path: Path
) -> None:
    room = studio.new_room()
    await egresses.create_room(room)
    async with marked(studio.livekit.url, "alice", room, camera=False) as alice:
        first = await alice.publish_camera(640, 360)
        info = await egresses.record_room(room, advanced=_SMALL)
        await egresses.becomes(info.egress_id, proto.EGRESS_ACTIVE)
        await asyncio.sleep(scaled(_SETTLED))
        await alice.room.local_participant.unpublish_track(first.sid)
        await alice.publish_camera(320, 180, codec=rtc.VideoCodec.H264)
        await asyncio.sleep(2 * _SETTLED)
        await egresses.stop(info.egress_id)
        assert (await egresses.ends(info.egress_id)).status == proto.EGRESS_COMPLETE
    seen = watch(studio.fetch(f"{room}.mp4", tmp_path))
    numbers = [stamp.frame for stamp in seen.stamps]
    # The second track counts from 0 again.
    restarts = [index for index, (a, b) in enumerate(itertools.pairwise(numbers)) if b < a]
    assert len(restarts) == 1
    assert len(numbers) - restarts[0] > 10
    assert seen.beeps
