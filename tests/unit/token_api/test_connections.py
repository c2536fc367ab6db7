"""Connections to the database: some are left for tokens and for what LiveKit tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from sqlalchemy import select, text

from tests.unit.token_api.api import Api, problem
from tests.unit.token_api.test_inbox import event, send
from token_api.database import engine
from token_api.database.tables import StreamSession


@pytest.fixture(autouse=True)
def no_rounds(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TOKEN_API_RECONCILE_SECONDS", "300")


@pytest.fixture
async def stream_id(api: Api) -> str:
    made = await api.live_stream()
    await api.grant("viewer", "stream", made)
    return made


@pytest.fixture
async def all_taken(api: Api, stream_id: str) -> AsyncIterator[None]:
    """Every connection that others may use is used, as by slow readers."""
    async with AsyncExitStack() as held:
        for _ in range(engine.CONNECTIONS - engine.RESERVED):
            transaction = await held.enter_async_context(api.services.database.read())
            await transaction.execute(text("SELECT 1"))
        yield


async def test_a_token_does_not_wait_for_readers(api: Api, stream_id: str, all_taken: None) -> None:
    async with asyncio.timeout(5):
        await api.call("POST", f"/streams/{stream_id}/video-token", api.user("viewer"), 201)
        body = {"room_name": "lobby", "participant_identity": "a"}
        await api.call("POST", "/token", json=body, status=201)
        await send(api, event("participant_joined", "lobby", 0))


async def test_a_reader_waits_and_is_told_to_come_again(
    api: Api, stream_id: str, all_taken: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "POOL_SECONDS", 0.2)
    path = f"/v1/streams/{stream_id}/analytics"
    answers: list[httpx.Response] = await asyncio.gather(
        *(api.client.get(path, headers=api.user("creator")) for _ in range(3))
    )
    assert [problem(answer) for answer in answers] == [(503, "database-unavailable")] * 3


async def test_who_waits_for_a_seat_delays_no_token_of_another_stream(api: Api, stream_id: str) -> None:
    limited = await api.live_stream(capacity=5)
    for number in range(20):
        await api.grant(f"viewer-{number}", "stream", limited)
    async with AsyncExitStack() as held:
        if not api.services.database.is_sqlite:
            # As a transaction of another replica does.
            transaction = await held.enter_async_context(api.services.database.begin())
            row = select(StreamSession.id).where(StreamSession.stream_id == limited)
            await transaction.execute(row.with_for_update())
        path = f"/v1/streams/{limited}/video-token"
        waiting = [
            asyncio.create_task(api.client.post(path, headers=api.user(f"viewer-{number}")))
            for number in range(20)
        ]
        async with asyncio.timeout(5):
            for _ in range(3):
                await api.call("POST", f"/streams/{stream_id}/video-token", api.user("viewer"), 201)
    answers = await asyncio.gather(*waiting)
    assert sorted(answer.status_code for answer in answers) == [201] * 5 + [409] * 15
