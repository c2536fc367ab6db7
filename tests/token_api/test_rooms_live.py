"""Rooms on a real LiveKit, where no join makes one: gone with their stream, made again when an SFU stops."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest
from livekit import rtc
from livekit.api import LiveKitAPI
from livekit.protocol import room as proto_room

from tests.ports import free_port
from tests.support.speed import scaled
from tests.token_api.clients import Client, client, eventually
from tests.token_api.conftest import Platform
from tests.token_api.livekit_server import livekit_server, redis_server
from tests.token_api.service import WEBHOOK_PATH, token_api
from tests.unit.token_api.support import KEY, SECRET

# How long somebody who was told to leave tries to join again.
_REJOIN_SECONDS = 20.0
_HAMMERED_SECONDS = 3.0


async def test_after_the_end_an_old_token_joins_nothing(platform: Platform) -> None:
    service, url = platform.service, platform.livekit.url
    stream = service.live_stream()
    service.grant("viewer", stream["id"])
    tokens = [service.token(user, stream["id"]) for user in ("creator", "viewer")]
    async with client(url, tokens[0]) as creator, client(url, tokens[1]) as viewer:
        await eventually(lambda: viewer.refreshed is not None, "LiveKit to renew the viewer's token")
        assert viewer.refreshed is not None
        tokens.append(viewer.refreshed)
        # Somebody who tries all the time, also while the room is being removed.
        hammering = asyncio.create_task(_hammer(url, service.token("viewer", stream["id"])))
        await asyncio.to_thread(service.call, "POST", f"/streams/{stream['id']}/end")
        await asyncio.gather(creator.put_out(within=10), viewer.put_out(within=10))
    await _require_useless(url, tokens + await hammering)


async def test_after_a_call_was_removed_an_old_token_joins_nothing(platform: Platform) -> None:
    service, url, room = platform.service, platform.livekit.url, "removed-call"
    call = {"room_name": room, "role": "publisher"}
    tokens: list[str] = [
        service.call("POST", "/token", status=201, json={**call, "participant_identity": identity})[
            "participant_token"
        ]
        for identity in ("a", "b")
    ]
    async with client(url, tokens[0]) as someone:
        await eventually(lambda: someone.refreshed is not None, "LiveKit to renew the token")
        assert someone.refreshed is not None
        hammering = asyncio.create_task(_hammer(url, tokens[1]))
        await asyncio.to_thread(service.call, "DELETE", f"/rooms/{room}", status=204)
        await someone.put_out(within=10)
        tokens.append(someone.refreshed)
    await _require_useless(url, tokens + await hammering)


async def test_when_an_sfu_stops_everyone_joins_another_with_the_token_they_have(
    tmp_path: Path,
) -> None:
    """A stopping SFU removes its rooms, and ends before it tells token-api."""
    port = free_port()
    webhook_url = f"http://127.0.0.1:{port}{WEBHOOK_PATH}"
    with (
        # Not shared with another token-api, which would delete rooms that it does not know.
        redis_server(tmp_path) as redis_port,
        livekit_server(tmp_path, redis_port=redis_port, webhook_url=webhook_url) as stopping,
        # No round of the reconciler comes before the end of the test.
        token_api(tmp_path, stopping.url, port=port, TOKEN_API_RECONCILE_SECONDS="300") as service,
    ):
        stream = service.live_stream()
        service.grant("viewer", stream["id"])
        call = {"room_name": "call-1", "role": "publisher"}
        pairs = [
            [service.token(user, stream["id"]) for user in ("creator", "viewer")],
            [
                service.call("POST", "/token", status=201, json={**call, "participant_identity": identity})[
                    "participant_token"
                ]
                for identity in ("a", "b")
            ],
        ]
        everyone = [Client(stopping.url) for pair in pairs for _ in pair]
        tokens = [token for pair in pairs for token in pair]
        await asyncio.gather(*(one.join(token) for one, token in zip(everyone, tokens, strict=True)))
        # As run.sh does: the second signal comes when the drain's deadline has passed.
        stopping.process.send_signal(signal.SIGTERM)
        await eventually(lambda: "exit requested" in stopping.log.read_text(), "LiveKit to drain")
        stopping.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*(one.put_out(within=20) for one in everyone))
        stopping.process.wait(timeout=scaled(20))
        with livekit_server(
            tmp_path, redis_port=redis_port, webhook_url=webhook_url, port=stopping.port
        ) as other:
            for first, second in pairs:
                await _meet(other.url, first, second)


async def _require_useless(url: str, tokens: list[str]) -> None:
    """No room is left, and no token joins one or is renewed."""
    await eventually(lambda: _room_names(url) == [], "the room to be gone")
    for token in tokens:
        again = Client(url)
        with pytest.raises(rtc.ConnectError, match="404"):
            await again.join(token)
        assert again.refreshed is None


async def _hammer(url: str, token: str) -> list[str]:
    """Join again and again, as fast as it goes; the tokens that LiveKit renewed meanwhile."""
    renewed = set()
    begun = time.monotonic()
    while time.monotonic() - begun < _HAMMERED_SECONDS:
        one = Client(url)
        try:
            await one.join(token)
            await asyncio.sleep(0)
        except rtc.ConnectError:
            pass
        finally:
            await one.room.disconnect()
        if one.refreshed is not None:
            renewed.add(one.refreshed)
    return list(renewed)


async def _meet(url: str, first: str, second: str) -> None:
    """Have the holders of both tokens join, trying for some time, and see each other."""
    deadline = time.monotonic() + scaled(_REJOIN_SECONDS)
    clients = [Client(url), Client(url)]
    try:
        for one, token in zip(clients, (first, second), strict=True):
            while True:
                try:
                    await one.join(token)
                    break
                except rtc.ConnectError:
                    if time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(0.5)
        await eventually(lambda: all(one.room.remote_participants for one in clients), "both to meet")
    finally:
        for one in clients:
            await one.room.disconnect()


def _room_names(url: str) -> list[str]:
    async def ask() -> list[str]:
        async with LiveKitAPI(url.replace("ws", "http", 1), KEY, SECRET) as api:
            return [room.name for room in (await api.room.list_rooms(proto_room.ListRoomsRequest())).rooms]

    return asyncio.run(ask())
