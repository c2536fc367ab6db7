"""`grant.expired`: told once of each pass that comes to its end, however many look, on both databases."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.unit.token_api.api import Api
from tests.unit.token_api.livekit_double import TwirpError
from tests.unit.token_api.receiver import eventually
from token_api.database.engine import Database
from token_api.database.tables import AuditEntry, Outbox
from token_api.use_cases import grant_expiry
from token_api.use_cases.grant_expiry import tell_expired


async def told(api: Api) -> list[dict[str, Any]]:
    """What the host is told of expired passes, in order."""
    wanted = select(Outbox.payload).where(Outbox.event_type == "grant.expired").order_by(Outbox.position)
    return [json.loads(payload) for payload in await api.rows(wanted)]


async def lasting(api: Api, *seconds: float) -> list[str]:
    """Passes that end so many seconds from now; their ids."""
    now = api.clock.now()
    ends = [(now + timedelta(seconds=length)).isoformat() for length in seconds]
    return [
        await api.grant(f"viewer-{number}", "space", "space", expires_at=end)
        for number, end in enumerate(ends)
    ]


async def all_told(api: Api, ids: Sequence[str]) -> None:
    async def are_told() -> bool:
        return {one["data"]["grant_id"] for one in await told(api)} == set(ids)

    await eventually(are_told, "the watch to tell of them")


async def test_the_watch_tells_of_a_pass_at_its_end_and_never_again(api: Api) -> None:
    # Of what is said here nothing needs LiveKit.
    api.livekit.failing["ListRooms"] = api.livekit.failing["ListParticipants"] = TwirpError(
        "unavailable", 503
    )
    short, long = await lasting(api, 60, 3600)
    await api.grant("viewer", "space", "space")
    api.clock.advance(seconds=59)
    assert await tell_expired(api.services) == 0
    api.clock.advance(seconds=1)
    await all_told(api, [short])
    (event,) = await told(api)
    assert event == {
        "type": "grant.expired",
        "version": 1,
        "timestamp": api.clock.now().isoformat(),
        "data": {
            "stream_id": None,
            "grant_id": short,
            "user_id": "viewer-0",
            "scope": "space",
            "scope_id": "space",
        },
    }
    entries = await api.rows(select(AuditEntry).where(AuditEntry.action == "grant.expired"))
    assert [entry.actor for entry in entries] == ["enforcement"]
    api.clock.advance(hours=2)
    await all_told(api, [short, long])
    api.clock.advance(days=1)
    assert await tell_expired(api.services) == 0
    assert len(await told(api)) == 2


async def test_replicas_that_look_at_once_tell_once(
    api: Api, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that they meet in the middle, several times.
    monkeypatch.setattr(grant_expiry, "BATCH", 3)
    ids = await lasting(api, *range(10, 50))
    others = [Database(database) for _ in range(3)]
    api.clock.advance(seconds=60)
    try:
        replicas = [api.services, *(replace(api.services, database=other) for other in others)]
        await asyncio.gather(*(tell_expired(replica) for replica in replicas))
    finally:
        for other in others:
            await other.aclose()
    await all_told(api, ids)
    assert len(await told(api)) == len(ids)


async def test_a_cancelled_pass_is_told_of_as_cancelled_alone(api: Api) -> None:
    cancelled, after = await lasting(api, 60, 60)
    await api.call("POST", f"/access-grants/{cancelled}/cancel")
    api.clock.advance(seconds=60)
    await all_told(api, [after])
    assert (await api.call("POST", f"/access-grants/{after}/cancel"))["status"] == "cancelled"
    api.clock.advance(hours=1)
    assert await tell_expired(api.services) == 0
    assert len(await told(api)) == 1
