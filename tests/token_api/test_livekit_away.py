"""LiveKit goes and comes back under a running service: what needs none goes on, and the rest heals."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
from livekit.api import LiveKitAPI
from livekit.protocol import room as proto_room

from tests.support.speed import scaled
from tests.token_api.clients import comes_back_for_a_moment, eventually
from tests.token_api.livekit_server import livekit_server
from tests.token_api.service import Service, token_api
from tests.unit.token_api.support import KEY, SECRET

# LiveKit gets 5 s for each call; nobody who listens is known at once.
_REFUSED_SECONDS = 8.0
_HEALED_SECONDS = 40.0


def _unavailable(service: Service, method: str, path: str, **given: Any) -> None:
    begun = time.monotonic()
    response = service.ask(method, path, **given)
    assert response.status_code == 503, f"{method} {path}: {response.status_code} {response.text}"
    assert response.json()["type"].endswith(":livekit-unavailable")
    assert int(response.headers["retry-after"]) >= 1
    assert time.monotonic() - begun < scaled(_REFUSED_SECONDS)


def _readiness(service: Service) -> tuple[int, str]:
    answer = httpx.get(f"{service.url}/readyz", trust_env=False)
    return answer.status_code, str(answer.json().get("livekit"))


async def _rooms(livekit_url: str) -> set[str]:
    async with LiveKitAPI(livekit_url.replace("ws", "http", 1), KEY, SECRET) as api:
        return {room.name for room in (await api.room.list_rooms(proto_room.ListRoomsRequest())).rooms}


async def test_reads_work_writes_say_to_try_again_and_all_heals(tmp_path: Path, redis_port: int) -> None:
    with (
        livekit_server(tmp_path, redis_port=redis_port) as livekit,
        token_api(tmp_path, livekit.url, TOKEN_API_RECONCILE_SECONDS="1") as service,
    ):
        on_air, ending = service.live_stream(), service.live_stream()
        draft = service.call(
            "POST", "/streams", json={"title": "A", "owner_id": "creator", "space_id": "space"}, status=201
        )
        path = f"/streams/{on_air['id']}"
        service.grant("viewer", on_air["id"])
        old = service.token("viewer", on_air["id"])
        livekit.process.kill()
        livekit.process.wait()

        # Reading.
        assert service.call("GET", path)["status"] == "live"
        assert len(service.call("GET", "/streams")["items"]) == 3
        for read in ("stream-info", "chat/messages"):
            service.call("GET", f"{path}/{read}", service.user("viewer"))
        for read in ("participants", "bans", "analytics", "recordings", "stage/requests"):
            service.call("GET", f"{path}/{read}")
        assert _readiness(service) == (200, "unavailable")
        # Writing what LiveKit need not know, or is told later.
        service.grant("late", on_air["id"])
        service.token("late", on_air["id"])
        service.call("POST", f"{path}/chat/messages", service.user("late"), 201, json={"text": "anybody?"})
        service.call("POST", f"{path}/bans", status=201, json={"user_id": "viewer"})
        # And what it has to do.
        _unavailable(service, "POST", f"/streams/{draft['id']}/go-live")
        _unavailable(service, "POST", f"{path}/pause")
        _unavailable(service, "POST", f"/streams/{ending['id']}/end")
        _unavailable(service, "DELETE", f"{path}/participants/u:late")
        assert service.call("GET", f"/streams/{draft['id']}")["status"] == "draft"
        assert service.call("GET", path)["status"] == "live"

        def inside() -> bool:
            found = service.call("GET", f"{path}/participants")["items"]
            return "u:viewer" in {item["identity"] for item in found}

        # It is back, and with it the rooms that Redis kept.
        with livekit_server(tmp_path, redis_port=redis_port, port=livekit.port):
            await eventually(
                lambda: service.call("GET", f"/streams/{ending['id']}")["status"] == "ended",
                "the end that was asked for to happen by itself",
                within=_HEALED_SECONDS,
            )
            await eventually(
                lambda: service.ask("POST", f"/streams/{draft['id']}/go-live").status_code == 200,
                "going live to work again",
                within=_HEALED_SECONDS,
            )
            live = service.call("GET", f"/streams/{draft['id']}")
            assert await _rooms(livekit.url) == {live["room_name"], on_air["room_name"]}
            assert service.call("POST", f"{path}/pause")["status"] == "paused"
            assert _readiness(service) == (200, "available")
            # The ban of one whom LiveKit could not be told of: their old token leads in for a moment.
            await comes_back_for_a_moment(livekit.url, old, lambda: not inside(), within=10)
            assert not inside()
