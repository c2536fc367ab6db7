"""Which pages may call, and which headers tell a browser so."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from starlette.datastructures import Headers

from tests.unit.token_api.api import problem
from tests.unit.token_api.support import AUTHORIZED, sign
from token_api.origins import is_foreign

PAGE = "https://app.example.com"
OTHER = "https://evil.example"
EVENT = b'{"event": "room_started", "id": "EV_1"}'
BODY = {"room_name": "lobby", "participant_identity": "u"}


@pytest.fixture
def origins(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TOKEN_API_CORS_ORIGINS", f"{PAGE}, https://second.example:8443")


@pytest.fixture
async def calls(origins: None, app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.test") as made:
        yield made


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"origin": PAGE, "sec-fetch-site": "cross-site"}, False),
        ({"origin": PAGE.upper()}, False),
        ({"origin": "https://api.test", "sec-fetch-site": "same-origin"}, False),
        ({"origin": "https://api.test", "host": "api.test"}, False),
        ({"origin": "http://api.test", "host": "API.test"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({"origin": OTHER, "sec-fetch-site": "cross-site"}, True),
        ({"origin": OTHER, "host": "api.test"}, True),
        ({"origin": "null", "host": "api.test"}, True),
        ({"origin": f"{PAGE}.evil.example", "host": "api.test"}, True),
        ({"origin": f"{PAGE}:444", "host": "api.test"}, True),
        ({"origin": "http://app.example.com", "host": "api.test"}, True),
        ({"origin": "https://[", "host": "api.test"}, True),
        ({"origin": OTHER}, True),
        ({"origin": "null", "host": ""}, True),
    ],
)
def test_what_counts_as_a_foreign_page(headers: dict[str, str], foreign: bool) -> None:
    assert is_foreign(Headers(headers), frozenset({PAGE})) is foreign


async def test_a_page_of_an_allowed_origin_may_ask_call_and_read(calls: httpx.AsyncClient) -> None:
    asked = await calls.options(
        "/v1/token",
        headers={
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == PAGE
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert "Authorization" in asked.headers["access-control-allow-headers"]
    assert "on-behalf" not in asked.headers["access-control-allow-headers"].lower()
    answer = await calls.post("/v1/token", json=BODY, headers={**AUTHORIZED, "Origin": PAGE})
    assert answer.status_code == 201
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "Retry-After" in answer.headers["access-control-expose-headers"]
    assert "Origin" in answer.headers["vary"]
    assert "access-control-allow-credentials" not in answer.headers
    # Errors can be read, too.
    refused = await calls.post("/v1/token", json=BODY, headers={"Origin": PAGE})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)


async def test_a_page_of_another_origin_may_not(calls: httpx.AsyncClient) -> None:
    asked = await calls.options(
        "/v1/token", headers={"Origin": OTHER, "Access-Control-Request-Method": "POST"}
    )
    called = await calls.post("/v1/token", json=BODY, headers={**AUTHORIZED, "Origin": OTHER})
    for answer in (asked, called):
        assert problem(answer) == (403, "origin-forbidden")
        assert "access-control-allow-origin" not in answer.headers
        assert "Origin" in answer.headers["vary"]
        assert answer.headers["x-request-id"]
    # What only reads is for the browser to keep from it.
    read = await calls.get("/healthz", headers={"Origin": OTHER})
    assert read.status_code == 200
    assert "access-control-allow-origin" not in read.headers
    assert "Origin" in (await calls.get("/healthz")).headers["vary"]


async def test_without_configured_origins_no_page_may_change_anything(client: httpx.AsyncClient) -> None:
    for headers in ({"Origin": PAGE}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await client.post("/v1/token", json=BODY, headers={**AUTHORIZED, **headers})
        assert problem(answer) == (403, "origin-forbidden")


async def test_livekit_and_other_programs_say_no_origin_and_are_let_through(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/v1/webhooks/livekit", content=EVENT, headers={"Authorization": sign(EVENT)})
    assert answer.status_code == 200


async def test_headers_that_keep_answers_from_being_used_as_pages(calls: httpx.AsyncClient) -> None:
    headers = (await calls.get("/healthz")).headers
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    # Pages of this origin are the broadcaster's: they may ask for what a stream is made of, and for no more.
    assert headers["permissions-policy"] == (
        "camera=(self), microphone=(self), display-capture=(self), geolocation=()"
    )
