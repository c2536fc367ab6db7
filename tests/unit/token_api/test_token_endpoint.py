from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.unit.token_api.livekit_double import LiveKitDouble
from tests.unit.token_api.support import AUTHORIZED, SECRET, SERVICE_KEY
from token_api.endpoints.token import MAX_BODY_BYTES

WANTED = {"room_name": "test_room", "participant_identity": "user-1"}


async def ask(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/v1/token", json={**WANTED, **fields}, headers=AUTHORIZED)


def claims_of(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 201, response.text
    return jwt.decode(response.json()["participant_token"], SECRET, algorithms=["HS256"])


async def test_the_answer_is_livekits_standard_one(client: httpx.AsyncClient, double: LiveKitDouble) -> None:
    response = await ask(client)
    assert response.status_code == 201
    assert set(response.json()) == {"server_url", "participant_token"}
    assert response.json()["server_url"] == double.url
    assert response.headers["cache-control"] == "no-store"


@pytest.fixture
def public_url(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("LIVEKIT_PUBLIC_URL", "https://sfu.example.test")


async def test_clients_are_told_the_public_url(public_url: None, client: httpx.AsyncClient) -> None:
    assert (await ask(client)).json()["server_url"] == "wss://sfu.example.test"


async def test_without_a_role_the_token_is_a_viewers_for_ten_minutes(client: httpx.AsyncClient) -> None:
    claims = claims_of(await ask(client))
    assert claims["video"]["canPublish"] is False
    assert claims["video"]["canPublishData"] is False
    assert claims["exp"] - claims["nbf"] == pytest.approx(600, abs=1)


async def test_every_standard_field_is_in_the_token(client: httpx.AsyncClient) -> None:
    claims = claims_of(
        await ask(
            client,
            participant_name="Zoë 🎥",
            participant_metadata='{"a": 1}',
            participant_attributes={"team": "red"},
            room_config=None,
            role="publisher",
            ttl_seconds=30,
        )
    )
    assert (claims["sub"], claims["name"], claims["metadata"]) == ("user-1", "Zoë 🎥", '{"a": 1}')
    assert claims["attributes"] == {"team": "red"}
    assert claims["video"]["room"] == "test_room"
    assert claims["video"]["canPublish"] is True
    assert claims["exp"] - claims["nbf"] == pytest.approx(30, abs=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("room_name", ""),
        ("room_name", "a" * 129),
        ("room_name", "with space"),
        ("room_name", "line\n"),
        ("room_name", "a/b"),
        ("room_name", "raum-ä"),
        ("room_name", 5),
        ("room_name", None),
        ("participant_identity", ""),
        ("participant_identity", "a" * 129),
        ("participant_identity", "a b"),
        ("participant_identity", "joe\x00"),
        ("participant_identity", ["joe"]),
        ("participant_name", "a" * 129),
        ("participant_name", "bell\x07"),
        ("participant_metadata", "é" * 1025),
        ("participant_metadata", {"a": 1}),
        ("participant_attributes", {"a": "b" * 2048}),
        ("participant_attributes", {"lk.publish_on_behalf": "someone"}),
        ("participant_attributes/a", 1),
        ("participant_attributes", "a=b"),
        ("room_config", {}),
        ("room_config", {"agents": [{"agent_name": "x"}]}),
        ("role", "admin"),
        ("role", None),
        ("ttl_seconds", 0),
        ("ttl_seconds", 601),
        ("ttl_seconds", "60"),
        ("ttl_seconds", 60.5),
        ("ttl_seconds", True),
        ("room_admin", True),
        ("roomName", "test_room"),
    ],
)
async def test_a_wrong_field_is_named_with_what_was_given(
    client: httpx.AsyncClient, field: str, value: object
) -> None:
    name, _, key = field.partition("/")
    response = await ask(client, **{name: {key: value} if key else value})
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    (error,) = response.json()["errors"]
    assert error["pointer"] == f"#/{field}"
    assert error["detail"]
    assert error["given"]


async def test_all_wrong_fields_are_named_at_once(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/token", json={"ttl_seconds": 0, "x/y z": 1}, headers=AUTHORIZED)
    pointers = [error["pointer"] for error in response.json()["errors"]]
    assert pointers == ["#/room_name", "#/ttl_seconds", "#/x~1y%20z"]


async def test_the_host_application_must_name_the_participant(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/token", json={"room_name": "test_a"}, headers=AUTHORIZED)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert (error["pointer"], error["detail"]) == ("#/participant_identity", "Field required")


async def test_a_wrong_attribute_key_is_pointed_at(client: httpx.AsyncClient) -> None:
    response = await ask(client, participant_attributes={"a b": "c"})
    assert [error["pointer"] for error in response.json()["errors"]] == ["#/participant_attributes/a%20b"]


async def test_a_thousand_wrong_fields_make_no_long_answer(client: httpx.AsyncClient) -> None:
    response = await ask(client, **{f"f{number}": 1 for number in range(1000)})
    assert response.status_code == 422
    assert len(response.content) < MAX_BODY_BYTES


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        SERVICE_KEY,
        f"Basic {SERVICE_KEY}",
        f"Bearer {SERVICE_KEY[:-1]}",
        f"Bearer {SERVICE_KEY}x",
        f"Bearer {SERVICE_KEY.upper()}",
        f"Bearer {SECRET}",
        "Bearer schlüssel",
    ],
)
@pytest.mark.parametrize("body", [b'{"room_name": "test_a", "participant_identity": "joe"}', b"{not json"])
async def test_without_the_service_key_there_is_401_whatever_the_body(
    client: httpx.AsyncClient, authorization: str | None, body: bytes
) -> None:
    headers = [(b"Content-Type", b"application/json")]
    if authorization is not None:
        headers.append((b"Authorization", authorization.encode()))
    response = await client.post("/v1/token", content=body, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["type"].endswith(":unauthenticated")


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
async def test_the_scheme_has_no_case(client: httpx.AsyncClient, scheme: str) -> None:
    response = await client.post(
        "/v1/token", json=WANTED, headers={"Authorization": f"{scheme} {SERVICE_KEY}"}
    )
    assert response.status_code == 201


@pytest.mark.parametrize("media_type", [None, "text/plain", "application/x-www-form-urlencoded", "json"])
async def test_only_json_is_taken(client: httpx.AsyncClient, media_type: str | None) -> None:
    headers = AUTHORIZED if media_type is None else {**AUTHORIZED, "Content-Type": media_type}
    response = await client.post(
        "/v1/token", content=b'{"room_name": "a", "participant_identity": "b"}', headers=headers
    )
    assert response.status_code == 415
    assert response.json()["type"].endswith(":unsupported-media-type")


async def test_json_with_a_charset_is_taken(client: httpx.AsyncClient) -> None:
    headers = {**AUTHORIZED, "Content-Type": "Application/JSON; charset=utf-8"}
    body = b'{"room_name": "a", "participant_identity": "b"}'
    assert (await client.post("/v1/token", content=body, headers=headers)).status_code == 201


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b"null", 422),
        (b'{"room_name": NaN, "participant_identity": "a"}', 422),
        (b'{"\\ud800": "\\udfff", "room_name": "\\ud800", "participant_identity": "a"}', 422),
        (b'{"room_name": "\xff"}', 400),
        (b"[" * 5000, 400),
        (b'{"ttl_seconds": ' + b"9" * 5000 + b"}", 400),
    ],
)
async def test_what_cannot_be_read_is_a_problem_of_the_callers(
    client: httpx.AsyncClient, body: bytes, status: int
) -> None:
    headers = {**AUTHORIZED, "Content-Type": "application/json"}
    response = await client.post("/v1/token", content=body, headers=headers)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_too_long_is_refused_declared_or_not(client: httpx.AsyncClient, declared: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 1024 + 1):
            yield b" " * 1024

    content = b" " * (MAX_BODY_BYTES + 1) if declared else chunks()
    headers = {**AUTHORIZED, "Content-Type": "application/json"}
    response = await client.post("/v1/token", content=content, headers=headers)
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"
    assert str(MAX_BODY_BYTES) in response.json()["detail"]


async def test_the_longest_allowed_body_is_read(client: httpx.AsyncClient) -> None:
    body = b'{"room_name": "a", "participant_identity": "b"}'.ljust(MAX_BODY_BYTES)
    headers = {**AUTHORIZED, "Content-Type": "application/json"}
    assert (await client.post("/v1/token", content=body, headers=headers)).status_code == 201


async def test_tokens_are_counted_by_role(client: httpx.AsyncClient) -> None:
    await ask(client)
    await ask(client, role="publisher")
    await ask(client, role="publisher")
    await ask(client, role="admin")
    counted = (await client.get("/metrics")).text
    assert 'token_api_tokens_total{role="viewer"} 1.0' in counted
    assert 'token_api_tokens_total{role="publisher"} 2.0' in counted


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=8,
)
fields = st.sampled_from(
    [
        *("room_name", "participant_identity", "participant_name", "participant_metadata"),
        *("participant_attributes", "room_config", "role", "ttl_seconds", "other"),
    ]
)


@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(body=st.dictionaries(fields, json_values, max_size=9))
async def test_whatever_is_sent_is_answered_with_a_token_or_422(app: FastAPI, body: dict[str, Any]) -> None:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://token-api.test") as client:
        response = await client.post(
            "/v1/token",
            content=_dumps({**WANTED, **body}),
            headers={**AUTHORIZED, "Content-Type": "application/json"},
        )
    assert response.status_code in {201, 422}
    response.json()


def _dumps(value: object) -> bytes:
    # ASCII escapes and NaN: what broken clients send, and httpx's own encoder refuses.
    return json.dumps(value).encode()
