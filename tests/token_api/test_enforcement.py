"""Who may be in a room is enforced while they are: a real LiveKit, real participants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from livekit import rtc
from livekit.api import LiveKitAPI
from livekit.protocol import room as proto_room
from livekit.rtc.participant import PublishTrackError

from tests.token_api.clients import Client, client, comes_back_for_a_moment, eventually
from tests.token_api.conftest import Platform
from tests.token_api.livekit_server import livekit_server, redis_server
from tests.token_api.service import Service, token_api
from tests.unit.token_api.support import KEY, SECRET
from token_api.domain.roles import StreamRole
from token_api.tokens import ApiCredentials, Participant, mint

# From the event to the way out: LiveKit's webhook and one call, or the watch that needs none.
_SOON = 3.0
# As long as the watch takes twice, and longer than the 3 s for which LiveKit repeats a request to remove
# somebody who left meanwhile: it removes whoever comes in under their identity.
_STAYING_SECONDS = 3.5


def _in(service: Service, stream_id: str) -> dict[str, str | None]:
    """Identity → role of those who are in, as the service says."""
    found = service.call("GET", f"/streams/{stream_id}/participants")
    return {item["identity"]: item["role"] for item in found["items"]}


def _away(service: Service, stream_id: str, user_id: str) -> bool:
    return f"u:{user_id}" not in _in(service, stream_id)


async def _stays(viewer: Client) -> None:
    """See that nothing puts them out, while what could has the time to."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(_STAYING_SECONDS):
            await viewer.left.wait()


def _removals(platform: Platform, room_name: str) -> int:
    """How often LiveKit was asked to remove somebody from a room, whatever it answered."""
    entries = [json.loads(line) for line in platform.livekit.log.read_text().splitlines()]
    return sum(entry.get("method") == "RemoveParticipant" and entry["room"] == room_name for entry in entries)


async def _comes_back_for_a_moment(platform: Platform, stream_id: str, token: str, user_id: str) -> None:
    await comes_back_for_a_moment(
        platform.livekit.url, token, lambda: _away(platform.service, stream_id, user_id), within=_SOON
    )


async def test_a_pass_that_ends_puts_its_owner_out_and_no_token_brings_them_back(platform: Platform) -> None:
    service, stream = platform.service, platform.service.live_stream()
    ends = datetime.now(UTC) + timedelta(seconds=4)
    service.grant("viewer", stream["id"], expires_at=ends.isoformat())
    service.grant("other", stream["id"])
    token = service.token("viewer", stream["id"])
    async with (
        client(platform.livekit.url, service.token("other", stream["id"])) as other,
        client(platform.livekit.url, token) as viewer,
    ):
        # While LiveKit's own refreshed token is good for ten minutes more.
        await eventually(lambda: viewer.refreshed, "a refreshed token")
        await viewer.put_out(within=4 + _SOON)
        assert datetime.now(UTC) >= ends
        assert not other.left.is_set()
        assert viewer.refreshed
        await _comes_back_for_a_moment(platform, stream["id"], viewer.refreshed, "viewer")
        assert not other.left.is_set()
    refused = service.ask("POST", f"/streams/{stream['id']}/video-token", service.user("viewer"))
    assert refused.json()["type"].endswith(":grant-expired")
    assert service.metric("token_api_ejections_total", reason="grant-expired") >= 2


async def test_a_pass_that_is_cancelled_puts_its_owner_out_at_once(platform: Platform) -> None:
    service, stream = platform.service, platform.service.live_stream()
    grant_id = service.grant("viewer", stream["id"])
    async with client(platform.livekit.url, service.token("viewer", stream["id"])) as viewer:
        service.call("POST", f"/access-grants/{grant_id}/cancel")
        await viewer.put_out(within=_SOON)
        assert viewer.reason == rtc.DisconnectReason.PARTICIPANT_REMOVED


@pytest.mark.parametrize("scope", ["stream", "space"])
async def test_a_ban_holds_against_the_old_and_the_refreshed_token(platform: Platform, scope: str) -> None:
    service, stream = platform.service, platform.service.live_stream()
    service.grant("viewer", stream["id"])
    token = service.token("viewer", stream["id"])
    async with client(platform.livekit.url, token) as viewer:
        await eventually(lambda: viewer.refreshed, "a refreshed token")
        bans = f"/streams/{stream['id']}/bans"
        ban = service.call("POST", bans, status=201, json={"user_id": "viewer", "scope": scope})
        await viewer.put_out(within=_SOON)
        assert viewer.refreshed
        refreshed = viewer.refreshed
    for old in (token, refreshed):
        await _comes_back_for_a_moment(platform, stream["id"], old, "viewer")
    refused = service.ask("POST", f"/streams/{stream['id']}/video-token", service.user("viewer"))
    assert refused.json()["type"].endswith(":banned")
    service.call("DELETE", f"{bans}/{ban['id']}", status=204)
    async with client(platform.livekit.url, service.token("viewer", stream["id"])) as viewer:
        await eventually(lambda: "u:viewer" in _in(service, stream["id"]), "the viewer to be in")
        await _stays(viewer)


async def test_who_is_banned_and_let_in_again_at_once_stays(platform: Platform) -> None:
    service, stream = platform.service, platform.service.live_stream()
    service.grant("viewer", stream["id"])
    bans, person = f"/streams/{stream['id']}/bans", f"/streams/{stream['id']}/participants/u:viewer"
    async with client(platform.livekit.url, service.token("viewer", stream["id"])) as viewer:
        # All want them out at once: the request that bans, moderators, and the worker that LiveKit tells who
        # came in.
        ban, *_ = await asyncio.gather(
            asyncio.to_thread(service.call, "POST", bans, status=201, json={"user_id": "viewer"}),
            *(asyncio.to_thread(service.call, "DELETE", person, status=204) for _ in range(8)),
        )
        await viewer.put_out(within=_SOON)
    service.call("DELETE", f"{bans}/{ban['id']}", status=204)
    async with client(platform.livekit.url, service.token("viewer", stream["id"])) as viewer:
        await _stays(viewer)
    assert _removals(platform, stream["room_name"]) == 1


async def test_a_raised_hand_lets_a_viewer_speak_until_they_are_demoted(platform: Platform) -> None:
    service, stream = platform.service, platform.service.live_stream()
    service.grant("viewer", stream["id"])
    path = f"/streams/{stream['id']}"
    async with client(platform.livekit.url, service.token("viewer", stream["id"])) as viewer:
        assert not viewer.room.local_participant.permissions.can_publish
        asked = service.call("POST", f"{path}/stage/requests", service.user("viewer"), 201)
        service.call("POST", f"{path}/stage/requests/{asked['id']}/accept", service.user("creator"))
        await eventually(lambda: viewer.room.local_participant.permissions.can_publish, "the permission")
        await viewer.publish_microphone()
        person = f"{path}/participants/u:viewer"

        def tracks() -> list[dict[str, object]]:
            (found,) = service.call("GET", f"{path}/participants", service.user("creator"))["items"]
            return [{"source": track["source"], "muted": track["muted"]} for track in found["tracks"]]

        await eventually(lambda: tracks() == [{"source": "microphone", "muted": False}], "a microphone")
        service.call("POST", f"{person}/mute", service.user("creator"))
        await eventually(lambda: tracks() == [{"source": "microphone", "muted": True}], "a muted one")
        service.call("PATCH", f"{person}/permissions", service.user("creator"), json={"role": "viewer"})
        await eventually(lambda: tracks() == [], "no microphone")
        assert not viewer.left.is_set()


async def test_neither_a_viewer_nor_a_guest_may_share_a_screen(platform: Platform) -> None:
    service, stream = platform.service, platform.service.live_stream()
    service.grant("viewer", stream["id"])
    path = f"/streams/{stream['id']}"
    async with client(platform.livekit.url, service.token("viewer", stream["id"])) as viewer:
        for role in ("viewer", "guest"):
            wanted = {"role": role}
            service.call(
                "PATCH", f"{path}/participants/u:viewer/permissions", service.user("creator"), json=wanted
            )

            def is_told(may_publish: bool = role == "guest") -> bool:
                return viewer.room.local_participant.permissions.can_publish is may_publish

            await eventually(is_told, f"the permissions of a {role}")
            with pytest.raises((PublishTrackError, TimeoutError)):
                await viewer.publish_screen()
            [found] = service.call("GET", f"{path}/participants", service.user("creator"))["items"]
            assert found["tracks"] == []
        # The guest may publish at all: the refusal is for the screen.
        await viewer.publish_microphone()
        assert not viewer.left.is_set()


async def test_who_is_removed_needs_a_new_token(platform: Platform) -> None:
    service, stream = platform.service, platform.service.live_stream()
    service.grant("viewer", stream["id"])
    token = service.token("viewer", stream["id"])
    async with client(platform.livekit.url, token) as viewer:
        service.call("DELETE", f"/streams/{stream['id']}/participants/u:viewer", status=204)
        await viewer.put_out(within=_SOON)
    await _comes_back_for_a_moment(platform, stream["id"], token, "viewer")
    async with client(platform.livekit.url, service.token("viewer", stream["id"])) as viewer:
        await _stays(viewer)


async def test_strangers_in_our_rooms_are_put_out_and_other_rooms_are_left_alone(platform: Platform) -> None:
    service, stream = platform.service, platform.service.live_stream()
    http_url = platform.livekit.url.replace("ws", "http")
    foreign = f"theirs-{stream['id']}"

    def token(room: str, identity: str, role: StreamRole) -> str:
        # By somebody else who has LiveKit's key.
        credentials = ApiCredentials(KEY, SECRET)
        return mint(credentials, Participant(identity), room=room, role=role, ttl_seconds=300)

    async with LiveKitAPI(http_url, KEY, SECRET) as api:
        await api.room.create_room(proto_room.CreateRoomRequest(name=foreign))
        async with (
            client(platform.livekit.url, token(foreign, "guest", StreamRole.CREATOR)) as theirs,
            client(platform.livekit.url, token(stream["room_name"], "guest", StreamRole.VIEWER)) as stranger,
        ):
            await stranger.put_out(within=_SOON)
            # More than their role has: taken back, and they stay.
            service.grant("viewer", stream["id"])
            service.token("viewer", stream["id"])
            more = token(stream["room_name"], "u:viewer", StreamRole.CREATOR)
            async with client(platform.livekit.url, more) as viewer:
                await eventually(
                    lambda: not viewer.room.local_participant.permissions.can_publish,
                    "the permissions to be taken back",
                    within=_SOON,
                )
                assert not viewer.left.is_set()
            assert not theirs.left.is_set()
        assert foreign in {
            room.name for room in (await api.room.list_rooms(proto_room.ListRoomsRequest())).rooms
        }


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Platform]:
    """A LiveKit that tells nothing: what the service knows, it finds by itself."""
    with (
        redis_server(tmp_path) as redis_port,
        livekit_server(tmp_path, redis_port=redis_port) as livekit,
        token_api(tmp_path, livekit.url, TOKEN_API_RECONCILE_SECONDS="1") as service,
    ):
        yield Platform(service, livekit, redis_port)


async def test_without_any_event_of_livekits_the_same_holds(quiet: Platform) -> None:
    service, stream = quiet.service, quiet.service.live_stream()
    service.grant("viewer", stream["id"])
    token = service.token("viewer", stream["id"])
    async with client(quiet.livekit.url, token) as viewer:
        await eventually(lambda: "u:viewer" in _in(service, stream["id"]), "the viewer to be in")
        service.call("POST", f"/streams/{stream['id']}/bans", status=201, json={"user_id": "viewer"})
        await viewer.put_out(within=_SOON)
    await _comes_back_for_a_moment(quiet, stream["id"], token, "viewer")

    def viewers() -> object:
        info = service.call("GET", f"/streams/{stream['id']}/stream-info", service.user("creator"))
        return info["viewer_count"]

    await eventually(lambda: viewers() == 0, "nobody to be counted")


async def test_a_livekit_that_was_away_and_forgot_its_rooms_gets_them_back(
    tmp_path: Path,
) -> None:
    with (
        redis_server(tmp_path) as redis_port,
        livekit_server(tmp_path, redis_port=redis_port) as livekit,
        token_api(tmp_path, livekit.url, TOKEN_API_RECONCILE_SECONDS="1") as service,
    ):
        stream = service.live_stream()
        ended = service.live_stream()
        livekit.process.kill()
        livekit.process.wait()
        assert service.call("GET", f"/streams/{stream['id']}")["status"] == "live"
        refused = service.ask("POST", f"/streams/{ended['id']}/end")
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
    # Redis, where LiveKit keeps its rooms, is empty now, too.
    with (
        redis_server(tmp_path) as other_redis,
        livekit_server(tmp_path, redis_port=other_redis, port=livekit.port),
        token_api(tmp_path, livekit.url, TOKEN_API_RECONCILE_SECONDS="1") as service,
    ):
        await eventually(
            lambda: service.call("GET", f"/streams/{ended['id']}")["status"] == "ended", "the end"
        )
        async with client(livekit.url, service.token("creator", stream["id"])) as creator:
            await creator.publish_microphone()
