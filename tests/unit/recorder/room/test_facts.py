"""What the room says about what is recorded."""

from __future__ import annotations

import av
import pytest
from livekit.protocol import egress as proto

from recorder.compose.scene import Source
from recorder.requests.plan import RoomFacts
from recorder.room.choice import Published
from recorder.room.people import People
from recorder.room.session import RoomSession
from tests.unit.recorder.egress_requests import ROOM, plan


def _facts(published: tuple[int, int], picture: tuple[int, int] | None, rotation: int = 0) -> RoomFacts:
    """Of a track egress whose track has this size, and of which this picture came."""
    message = proto.TrackEgressRequest(room_name=ROOM, track_id="TR_V", file=proto.DirectFileOutput())
    people = People()
    session = RoomSession(plan(message), people, 1.0, lambda _: None)
    width, height = published
    session._published["TR_V"] = Published("TR_V", "ada", 0, True, 1, width, height)
    people.join("ada", "Ada", 0.0)
    track = people.show("ada", Source.CAMERA, muted=False, at=0.0)
    if picture is not None:
        track.push(av.VideoFrame(*picture, "yuv420p"), rotation, 0.0)
    return session.facts


@pytest.mark.parametrize(
    ("published", "picture", "rotation", "size"),
    [
        # The first pictures are those of a small layer.
        ((1280, 720), (320, 180), 0, (1280, 720)),
        ((720, 1280), (180, 320), 0, (720, 1280)),
        # A phone that is held upright sends pictures that lie on their side.
        ((1280, 720), (320, 180), 90, (720, 1280)),
        ((0, 0), (320, 180), 0, (320, 180)),
        ((640, 360), None, 0, (640, 360)),
        ((0, 0), None, 0, (0, 0)),
    ],
    ids=["landscape", "portrait", "turned", "not said", "no picture", "nothing known"],
)
async def test_a_track_has_a_size(
    published: tuple[int, int], picture: tuple[int, int] | None, rotation: int, size: tuple[int, int]
) -> None:
    facts = _facts(published, picture, rotation)
    assert (facts.width, facts.height) == size
