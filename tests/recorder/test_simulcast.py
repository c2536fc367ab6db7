"""The simulcast layers that the recorder receives from a real SFU."""

from __future__ import annotations

import asyncio
import time

from recorder.access import room_token
from recorder.compose.geometry import Box
from recorder.compose.layouts import Placed
from recorder.info import EndReason
from recorder.room.layers import INTERVAL
from recorder.room.people import People
from recorder.room.session import RoomSession
from tests.recorder.conftest import Egresses, Studio
from tests.recorder.marked import Marked
from tests.support.speed import scaled
from tests.unit.recorder.egress_requests import plan, room
from tests.unit.token_api.support import KEY, SECRET

_PUBLISHED, _SMALL = (1280, 720), (320, 180)


Pixels = tuple[int, int]


async def _receives(session: RoomSession, people: People, tile: Pixels, picture: Pixels) -> None:
    """Show the only camera in a tile until pictures of a certain size come."""
    limit = scaled(20)
    size = None
    try:
        async with asyncio.timeout(limit):
            while size != picture:
                session.fit([Placed(seat, Box(0, 0, *tile)) for seat in people.seats()])
                for taken in people.pictures(time.monotonic(), INTERVAL).values():
                    size = taken.frame.width, taken.frame.height
                await asyncio.sleep(INTERVAL)
    except TimeoutError:
        text = f"no pictures of {picture} for a tile of {tile} within {limit:g} s; last: {size}"
        raise AssertionError(text) from None


async def test_a_small_tile_gets_the_small_layer_and_a_large_one_the_large_layer(
    studio: Studio, egresses: Egresses
) -> None:
    name = studio.new_room()
    await egresses.create_room(name)
    people = People()
    session = RoomSession(plan(room(room_name=name, layout="grid")), people, 10, layout=lambda _: None)
    alice = Marked(studio.livekit.url, "alice", name)
    await alice.join()
    running = asyncio.create_task(
        session.run(studio.livekit.url, lambda: room_token("EG_1", name, KEY, SECRET))
    )
    try:
        await alice.publish_camera(*_PUBLISHED, simulcast=True)
        await _receives(session, people, tile=_PUBLISHED, picture=_PUBLISHED)
        await _receives(session, people, tile=(160, 90), picture=_SMALL)
        await _receives(session, people, tile=_PUBLISHED, picture=_PUBLISHED)
    finally:
        session.end(EndReason.KILLED)
        await running
        await alice.leave()
