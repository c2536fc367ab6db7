"""One evening with a real LiveKit, on both databases: on air, three viewers, moderation, and the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from livekit import rtc
from livekit.api import LiveKitAPI
from livekit.protocol import room as proto_room

from tests.token_api.clients import Client, client, comes_back_for_a_moment, eventually
from tests.token_api.conftest import Platform, running_platform
from tests.token_api.postgres import new_database
from tests.unit.token_api.support import KEY, SECRET

_SOON = 5.0


@pytest.fixture(params=["sqlite", "postgresql"])
def evening(request: pytest.FixtureRequest, tmp_path: Path, redis_port: int) -> Iterator[Platform]:
    with (
        new_database(request.param, lambda: request.getfixturevalue("postgres")) as url,
        running_platform(tmp_path, redis_port, database_url=url) as running,
    ):
        yield running


async def _rooms(platform: Platform) -> set[str]:
    """What LiveKit itself has."""
    async with LiveKitAPI(platform.livekit.url.replace("ws", "http", 1), KEY, SECRET) as api:
        return {room.name for room in (await api.room.list_rooms(proto_room.ListRoomsRequest())).rooms}


async def test_from_going_live_to_an_empty_server(evening: Platform) -> None:
    service, url = evening.service, evening.livekit.url
    stream = service.live_stream(title="Watercolours")
    path = f"/streams/{stream['id']}"
    service.call("PUT", "/spaces/space/team/grace", status=201, json={"role": "moderator"})
    grace = service.user("grace")
    assert await _rooms(evening) == {stream["room_name"]}
    tokens = {}
    for user_id in ("anna", "ben", "cleo"):
        service.grant(user_id, stream["id"])
        tokens[user_id] = service.token(user_id, stream["id"])

    def inside() -> dict[str, str]:
        found: dict[str, Any] = service.call("GET", f"{path}/participants", grace)
        return {item["identity"]: item["role"] for item in found["items"]}

    def muted(identity: str) -> list[bool]:
        found = service.call("GET", f"{path}/participants", grace)["items"]
        return [track["muted"] for item in found if item["identity"] == identity for track in item["tracks"]]

    async with (
        client(url, service.token("creator", stream["id"])) as creator,
        client(url, tokens["anna"]) as anna,
        client(url, tokens["ben"]) as ben,
        client(url, tokens["cleo"]) as cleo,
    ):
        await creator.publish_microphone()
        everybody = {"u:creator": "creator", "u:anna": "viewer", "u:ben": "viewer", "u:cleo": "viewer"}
        await eventually(lambda: inside() == everybody, "all four to be in")
        # What viewers may not, LiveKit itself refuses them.
        assert not anna.room.local_participant.permissions.can_publish
        assert creator.room.local_participant.permissions.can_publish

        await eventually(lambda: muted("u:creator") == [False], "the creator's microphone")
        service.call("POST", f"{path}/participants/u:creator/mute", grace)
        await eventually(lambda: muted("u:creator") == [True], "it to be muted")

        service.call("DELETE", f"{path}/participants/u:anna", grace, 204)
        await anna.put_out(within=_SOON)
        assert anna.reason == rtc.DisconnectReason.PARTICIPANT_REMOVED

        service.call("POST", f"{path}/bans", grace, 201, json={"user_id": "ben"})
        await ben.put_out(within=_SOON)
        refused = service.ask("POST", f"{path}/video-token", service.user("ben"))
        assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (403, "banned")
        await comes_back_for_a_moment(url, tokens["ben"], lambda: "u:ben" not in inside(), within=_SOON)
        assert set(inside()) == {"u:creator", "u:cleo"}
        assert not creator.left.is_set()
        assert not cleo.left.is_set()

        ended = service.call("POST", f"{path}/end", service.user("creator"))
        assert (ended["status"], ended["room_name"]) == ("ended", None)
        for participant in (creator, cleo):
            await participant.put_out(within=_SOON)
            assert participant.reason == rtc.DisconnectReason.ROOM_DELETED
    assert await _rooms(evening) == set()
    refused = service.ask("POST", f"{path}/video-token", service.user("cleo"))
    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (409, "stream-not-live")
    # The token that is still good leads nowhere: LiveKit makes no room for it.
    with pytest.raises(rtc.ConnectError):
        await Client(url).join(tokens["cleo"])
    found = service.call("GET", f"{path}/analytics", service.user("creator"))
    assert (found["unique_viewers"], found["peak_viewers"]) == (3, 3)
