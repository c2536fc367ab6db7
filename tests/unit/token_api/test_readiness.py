from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from sqlalchemy import update

from tests.unit.token_api.api import Api
from tests.unit.token_api.support import KEY, OTHER_SECRET, SECRET, StandInServer
from token_api.app import create_app
from token_api.database.tables import Stream
from token_api.endpoints import health
from token_api.livekit_probe import LiveKitProbe, Verdict, judge
from token_api.settings import load_settings
from token_api.tokens import ApiCredentials


@asynccontextmanager
async def service(environment: pytest.MonkeyPatch, url: str) -> AsyncIterator[httpx.AsyncClient]:
    environment.setenv("LIVEKIT_URL", url)
    transport = httpx.ASGITransport(create_app(load_settings()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://token-api.test") as client:
        yield client


@asynccontextmanager
async def probe_of(
    url: str, key: str = KEY, secret: str = SECRET, *, patience: float = 2.0, fresh_for: float = 2.0
) -> AsyncIterator[LiveKitProbe]:
    probe = LiveKitProbe(
        url.replace("ws:", "http:"), ApiCredentials(key, secret), timeout=patience, fresh_for=fresh_for
    )
    try:
        yield probe
    finally:
        await probe.aclose()


async def test_ready_while_livekit_answers_and_takes_the_key(
    environment: pytest.MonkeyPatch, livekit: StandInServer
) -> None:
    async with service(environment, livekit.url) as client:
        response = await client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"status": "ready", "livekit": "available"})


async def test_ready_for_what_needs_no_livekit_while_it_is_away(environment: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        async with service(environment, f"ws://{address}") as client:
            ready = await client.get("/readyz")
            alive = await client.get("/healthz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "livekit": "unavailable"})
    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})


async def test_not_ready_while_livekit_refuses_our_key(
    environment: pytest.MonkeyPatch, livekit: StandInServer
) -> None:
    environment.setenv("LIVEKIT_API_SECRET", OTHER_SECRET)
    async with service(environment, livekit.url) as client:
        ready = await client.get("/readyz")
    assert ready.status_code == 503
    assert ready.headers["content-type"] == "application/problem+json"
    assert ready.headers["retry-after"] == "2"
    assert ready.json()["type"].endswith(":livekit-unavailable")
    assert livekit.url.removeprefix("ws://") not in ready.text


@pytest.mark.parametrize(
    ("key", "secret", "verdict"),
    [
        (KEY, SECRET, Verdict.OK),
        ("APIother", SECRET, Verdict.KEY_UNKNOWN),
        (KEY, OTHER_SECRET, Verdict.SECRET_WRONG),
    ],
)
async def test_a_wrong_key_and_a_wrong_secret_are_told_apart(
    livekit: StandInServer, key: str, secret: str, verdict: Verdict
) -> None:
    async with probe_of(livekit.url, key, secret) as probe:
        assert (await probe.finding()).verdict is verdict


# Texts of livekit-server 1.13.5; the token that it quotes is replaced.
@pytest.mark.parametrize(
    ("status", "media_type", "body", "verdict"),
    [
        (200, "application/json", '{"rooms":[]}', Verdict.OK),
        (200, "text/html", "<html>", Verdict.NOT_LIVEKIT),
        (301, "text/html", "", Verdict.NOT_LIVEKIT),
        (404, "text/plain", "404 page not found", Verdict.NOT_LIVEKIT),
        (401, "text/html", "<html>Log in", Verdict.NOT_LIVEKIT),
        (401, "text/plain", "invalid API key: APIother", Verdict.KEY_UNKNOWN),
        (
            401,
            "text/plain",
            "invalid token: T.T.T, error: token has invalid claims: token is not valid yet",
            Verdict.CLOCK_SKEW,
        ),
        (
            401,
            "text/plain",
            "invalid token: T.T.T, error: token has invalid claims: token is expired",
            Verdict.CLOCK_SKEW,
        ),
        (
            401,
            "text/plain",
            "invalid token: T.T.T, error: token signature is invalid: signature is invalid",
            Verdict.SECRET_WRONG,
        ),
        (500, "application/json", '{"code":"internal","msg":"dial tcp: refused"}', Verdict.UNHEALTHY),
        (503, "text/html", "<html>", Verdict.UNHEALTHY),
    ],
)
def test_answers_are_judged(status: int, media_type: str, body: str, verdict: Verdict) -> None:
    found = judge(httpx.Response(status, headers={"content-type": media_type}, text=body))
    assert found.verdict is verdict
    assert found.ok == (verdict is Verdict.OK)
    assert "T.T.T" not in found.detail


async def test_a_server_that_never_answers_does_not_hold_readiness_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with probe_of(f"http://127.0.0.1:{silent.getsockname()[1]}", patience=0.2) as probe:
            found = await asyncio.wait_for(probe.finding(), timeout=5)
    assert found.verdict is Verdict.UNREACHABLE
    assert "in time" in found.detail


async def test_many_questions_at_once_are_one_call_of_livekit(livekit: StandInServer) -> None:
    async with probe_of(livekit.url, fresh_for=60) as probe:
        found = await asyncio.gather(*(probe.finding() for _ in range(20)))
    assert all(finding.ok for finding in found)
    assert livekit.calls == 1


async def test_a_finding_ages(livekit: StandInServer) -> None:
    async with probe_of(livekit.url, fresh_for=0) as probe:
        assert (await probe.finding()).ok
        livekit.answer = (500, "application/json", "{}")
        assert (await probe.finding()).verdict is Verdict.UNHEALTHY
        livekit.answer = None
        assert (await probe.finding()).ok


async def test_a_change_that_takes_long_makes_it_no_less_ready(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite has one writer at a time; whether it answers is asked beside it."""
    monkeypatch.setattr(health, "DATABASE_SECONDS", 2.0)
    async with api.services.database.begin() as transaction:
        await transaction.execute(update(Stream).values(title="changed"))
        response = await api.client.get("/readyz")
    assert response.status_code == 200, response.text
