"""Chat and analytics with a real LiveKit: what is written by REST arrives in the room."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from livekit import rtc
from sqlalchemy import create_engine, func, insert, select

from tests.token_api.clients import Client, client, eventually
from tests.token_api.conftest import Platform, running_platform
from tests.token_api.livekit_server import redis_server
from tests.unit.token_api.support import KEY, SECRET
from token_api.database.engine import database_url
from token_api.database.tables import ChatRelay, StreamSession
from token_api.livekit_api.gateway import Gateway, NotInLiveKit
from token_api.livekit_api.values import NewRoom
from token_api.tokens import ApiCredentials

_PENDING = 5


def _told(participant: Client) -> list[dict[str, Any]]:
    return [json.loads(packet.data) for packet in participant.data if packet.topic == "chat"]


def _has_all(participant: Client) -> bool:
    return len(_told(participant)) >= 4


async def test_a_message_reaches_the_room_and_only_the_server_sends_to_viewers(platform: Platform) -> None:
    service, stream = platform.service, platform.service.live_stream()
    path = f"/streams/{stream['id']}/chat/messages"
    for viewer in ("anna", "ben"):
        service.grant(viewer, stream["id"])
    made = service.call("POST", f"/streams/{stream['id']}/chat-token", service.user("anna"), 201)
    chat = {"Authorization": f"Bearer {made['token']}"}
    async with (
        client(platform.livekit.url, service.token("anna", stream["id"])) as anna,
        client(platform.livekit.url, service.token("ben", stream["id"])) as ben,
    ):
        # 500 characters of three bytes: the longest that there is fits into a packet.
        texts = ["first </script>", "\u20ac" * 500, "third"]
        written = [service.call("POST", path, chat, 201, json={"text": text}) for text in texts]
        # What a viewer sends by themselves, LiveKit lets nobody have.
        forged = json.dumps({"type": "message", "message": {"text": "forged"}, "revision": 99})
        await asyncio.wait_for(anna.room.local_participant.publish_data(forged, topic="chat"), 10)
        service.call("DELETE", f"{path}/{written[0]['id']}", service.user("creator"), 204)
        for participant in (anna, ben):
            await eventually(partial(_has_all, participant), "the room to be told")
            assert [packet["revision"] for packet in _told(participant)] == [1, 2, 3, 4]
            assert [packet["message"] for packet in _told(participant)[:3]] == written
            assert _told(participant)[3]["message"]["deleted"]
    assert [item["text"] for item in service.call("GET", path, chat)["items"]] == texts[:0:-1]

    # Their coming and leaving came by LiveKit's webhooks.
    def both_left() -> bool:
        found = service.call("GET", f"/streams/{stream['id']}/analytics")
        return (found["unique_viewers"], found["sessions"][0]["viewers_now"]) == (2, 0)

    await eventually(both_left, "analytics to have both as gone")
    found = service.call("GET", f"/streams/{stream['id']}/analytics")
    assert found["peak_viewers"] == 2
    assert found["sessions"][0]["viewers"][-1]["viewers"] == 0


async def test_nobody_in_the_room_sends_packets_that_look_like_the_services(platform: Platform) -> None:
    """LiveKit drops what creators and team send. Otherwise they could write chat in anybody's name."""
    service, stream = platform.service, platform.service.live_stream()
    service.call("PUT", "/spaces/space/team/moderator", status=201, json={})
    service.grant("viewer", stream["id"])
    async with (
        client(platform.livekit.url, service.token("viewer", stream["id"])) as viewer,
        client(platform.livekit.url, service.token("moderator", stream["id"])) as moderator,
        client(platform.livekit.url, service.token("creator", stream["id"])) as creator,
    ):
        forged = json.dumps({"type": "message", "message": {"text": "forged"}, "revision": 99})
        for sender in (moderator, creator):
            await asyncio.wait_for(sender.room.local_participant.publish_data(forged, topic="chat"), 10)
        path = f"/streams/{stream['id']}/chat/messages"
        texts = ["first", "second", "third"]
        for text in texts:
            service.call("POST", path, service.user("creator"), 201, json={"text": text})
        await eventually(lambda: len(_told(viewer)) >= len(texts), "all packets of the service")
        assert [packet["message"]["text"] for packet in _told(viewer)] == texts


async def test_packets_that_are_pending_at_the_end_do_not_bring_the_room_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'token-api.db'}"
    # No round of the reconciler comes before the end of the test.
    more = {"TOKEN_API_RECONCILE_SECONDS": "300"}
    with (
        # Not shared with another token-api, which would delete rooms that it does not know.
        redis_server(tmp_path) as redis_port,
        running_platform(tmp_path, redis_port, database_url=url, **more) as platform,
    ):
        service, stream = platform.service, platform.service.live_stream()
        service.grant("viewer", stream["id"])
        token = service.token("viewer", stream["id"])
        started = partial(service.metric, "token_api_webhooks_total", event="room_started")
        await eventually(lambda: started() == 1, "LiveKit to tell of the room")
        # Another replica has claimed them and dies, so that they are sent after the end.
        _leave_packets(url, stream["id"])
        service.call("POST", f"/streams/{stream['id']}/end")
        await eventually(lambda: _packets(url) == 0, "the packets to be dropped", within=40)
        with pytest.raises(rtc.ConnectError, match="404"):
            await Client(platform.livekit.url).join(token)
        # A room that came back for a moment would have been told of.
        assert started() == 1
        assert service.metric("token_api_chat_relays_total", outcome="no_room") == _PENDING


def _leave_packets(url: str, stream_id: str) -> None:
    now = datetime.now(UTC)
    engine = create_engine(database_url(url, driver=False))
    packet = {"payload": "{}", "created_at": now, "claimed_until": now + timedelta(seconds=1)}
    try:
        with engine.begin() as connection:
            session_id = connection.scalar(
                select(StreamSession.id).where(StreamSession.stream_id == stream_id)
            )
            packets = [{"session_id": session_id, **packet}] * _PENDING
            connection.execute(insert(ChatRelay), packets)
    finally:
        engine.dispose()


def _packets(url: str) -> int:
    engine = create_engine(database_url(url, driver=False))
    try:
        with engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(ChatRelay)) or 0
    finally:
        engine.dispose()


async def test_sending_to_a_room_that_was_deleted_does_not_create_it(platform: Platform) -> None:
    """LiveKit answers as if the node of the room were dead."""
    gateway = Gateway(platform.livekit.url.replace("ws", "http", 1), ApiCredentials(KEY, SECRET))
    name = "test_deleted"
    try:
        await gateway.create_room(NewRoom(name, "{}", 5, 60, 60))
        await gateway.send_data(name, b"{}", topic="chat")
        assert await gateway.delete_room(name)
        with pytest.raises(NotInLiveKit):
            await gateway.send_data(name, b"{}", topic="chat")
        assert await gateway.rooms([name]) == []
    finally:
        await gateway.aclose()
