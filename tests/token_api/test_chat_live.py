"""Chat and analytics with a real LiveKit: what is written by REST arrives in the room."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import Any

from tests.token_api.clients import Client, client, eventually
from tests.token_api.conftest import Platform


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
