"""LiveKit's own webhooks, from a real server to a running service, which nothing else tells anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from livekit.api import LiveKitAPI
from livekit.api.twirp_client import ServerError
from livekit.protocol import room as proto_room

from tests.ports import free_port
from tests.token_api.clients import client, eventually
from tests.token_api.conftest import Platform
from tests.token_api.livekit_server import livekit_server
from tests.token_api.service import WEBHOOK_PATH, token_api
from tests.unit.token_api.support import KEY, OTHER_SECRET, SECRET

_OLD_KEY = "APIbefore1234"


@pytest.fixture(scope="module", params=["usual key", "key before"])
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_port: int
) -> Iterator[Platform]:
    """The key before: as while keys are replaced, LiveKit still signs with the old one."""
    directory: Path = tmp_path_factory.mktemp("told")
    port = free_port()
    old = request.param == "key before"
    with (
        livekit_server(
            directory,
            redis_port=redis_port,
            webhook_url=f"http://127.0.0.1:{port}{WEBHOOK_PATH}",
            signing=(_OLD_KEY, OTHER_SECRET) if old else (KEY, SECRET),
        ) as livekit,
        token_api(
            directory,
            livekit.url,
            port=port,
            # No round comes before the end of the test.
            TOKEN_API_RECONCILE_SECONDS="300",
            **(
                {"LIVEKIT_API_KEY_PREVIOUS": _OLD_KEY, "LIVEKIT_API_SECRET_PREVIOUS": OTHER_SECRET}
                if old
                else {}
            ),
        ) as service,
    ):
        yield Platform(service, livekit, redis_port)


async def test_who_comes_and_goes_and_that_a_room_is_gone_comes_by_webhook(told: Platform) -> None:
    service = told.service
    stream = service.live_stream()
    path = f"/streams/{stream['id']}"
    service.grant("viewer", stream["id"])

    def viewers() -> int:
        return int(service.call("GET", f"{path}/stream-info", service.user("creator"))["viewer_count"])

    def events(kind: str) -> float:
        return service.metric("token_api_webhooks_total", event=kind)

    async with client(told.livekit.url, service.token("creator", stream["id"])) as creator:
        await creator.publish_microphone()
        async with client(told.livekit.url, service.token("viewer", stream["id"])):
            await eventually(lambda: viewers() == 1, "the viewer to be counted")
        await eventually(lambda: viewers() == 0, "the viewer to be gone")
        await eventually(lambda: events("track_published") >= 1, "the track to be told")
        # Somebody else who has LiveKit's key: the service was not asked. The creator can come back.
        async with LiveKitAPI(told.livekit.url.replace("ws", "http", 1), KEY, SECRET) as api:
            await api.room.delete_room(proto_room.DeleteRoomRequest(room=stream["room_name"]))
        await creator.put_out(within=10)
    await eventually(lambda: events("room_finished") >= 1, "LiveKit to tell that the room is gone")
    async with client(told.livekit.url, service.token("creator", stream["id"])):
        assert service.call("GET", path)["status"] == "live"
    for kind in ("room_started", "participant_joined", "participant_left", "room_finished"):
        assert events(kind) >= 1, kind
    # Every one that came was worked off, and none was put back or refused.
    await eventually(lambda: service.metric("token_api_inbox_lag_seconds") == 0, "the inbox to be empty")
    for outcome in ("put-back", "parked"):
        assert service.metric("token_api_inbox_events_total", outcome=outcome) == 0
    assert '"event": "webhook_refused"' not in service.log.read_text()
    found = service.call("GET", f"{path}/analytics", service.user("creator"))
    assert (found["unique_viewers"], found["sessions"][0]["viewers_now"]) == (1, 0)


async def test_a_room_of_somebody_else_leaves_nothing_behind(told: Platform) -> None:
    service = told.service
    url = told.livekit.url.replace("ws", "http", 1)
    async with LiveKitAPI(url, KEY, SECRET) as api:
        began = service.metric("token_api_webhooks_total", event="room_started")
        await api.room.create_room(proto_room.CreateRoomRequest(name="theirs"))
        await eventually(
            lambda: service.metric("token_api_webhooks_total", event="room_started") > began,
            "LiveKit to tell of the room",
        )
    await eventually(lambda: _deleted(url, "theirs"), "LiveKit to delete the room")
    await eventually(lambda: '"filed": "not-ours"' in service.log.read_text(), "it to be none of ours")
    received = [line for line in service.log.read_text().splitlines() if '"room": "theirs"' in line]
    assert received
    assert not [line for line in received if '"filed": "not-ours"' not in line]


def _deleted(url: str, room: str) -> bool:
    """Whether LiveKit took it. It tells of a room before the room itself hears requests: 503 until then."""

    async def delete() -> None:
        async with LiveKitAPI(url, KEY, SECRET) as api:
            await api.room.delete_room(proto_room.DeleteRoomRequest(room=room))

    try:
        asyncio.run(delete())
    except ServerError as error:
        if error.status != 503:
            raise
        return False
    return True
