from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator

import httpx
import jwt
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.unit.token_api.support import KEY, OTHER_SECRET, SECRET, digest, sign
from token_api.endpoints.webhooks import LIVEKIT_WEBHOOK_PATH, MAX_BODY_BYTES
from token_api.webhooks import BadSignature, Reason, verify

# As LiveKit 1.13.5 sends it: protojson, 64-bit numbers as text.
BODY = json.dumps(
    {
        "event": "participant_joined",
        "room": {"sid": "RM_x", "name": "test_room", "creationTime": "1700000000"},
        "participant": {"sid": "PA_x", "identity": "joe", "state": "ACTIVE"},
        "id": "EV_abc",
        "createdAt": "1700000001",
    }
).encode()
MEDIA_TYPE = "application/webhook+json"
CHUNK = 65536


async def send(
    client: httpx.AsyncClient, body: bytes = BODY, authorization: str | None = None
) -> httpx.Response:
    headers = {"Content-Type": MEDIA_TYPE}
    if authorization is not None:
        headers["Authorization"] = authorization
    return await client.post(LIVEKIT_WEBHOOK_PATH, content=body, headers=headers)


async def test_livekits_event_is_taken_logged_and_counted(client: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        response = await send(client, authorization=sign(BODY))
    assert (response.status_code, response.content) == (200, b"")
    (line,) = [line for line in logs if line["event"] == "webhook_received"]
    assert (line["event_id"], line["event_type"], line["room"]) == (
        "EV_abc",
        "participant_joined",
        "test_room",
    )
    counted = (await client.get("/metrics")).text
    assert 'token_api_webhooks_total{event="participant_joined"} 1.0' in counted


async def test_an_event_that_no_one_knows_is_taken_and_makes_no_label(client: httpx.AsyncClient) -> None:
    body = b'{"event": "invented_later", "id": "EV_1", "somethingNew": {"a": []}}'
    assert (await send(client, body, sign(body))).status_code == 200
    counted = (await client.get("/metrics")).text
    assert 'token_api_webhooks_total{event="other"} 1.0' in counted
    assert "invented_later" not in counted


NOW = int(time.time())


# A signature contains its creation time. In a test's name, it would differ between pytest's workers.
REFUSED: dict[str, tuple[str | None, Reason]] = {
    "no header": (None, Reason.MISSING),
    "empty header": ("", Reason.MISSING),
    "no token": ("garbage", Reason.MALFORMED),
    "not ASCII": ("ä.b.c", Reason.MALFORMED),
    "another secret": (sign(BODY, secret=OTHER_SECRET), Reason.SIGNATURE),
    "another key": (sign(BODY, iss="APIother"), Reason.KEY_UNKNOWN),
    "no key": (sign(BODY, without="iss"), Reason.KEY_UNKNOWN),
    "expired": (sign(BODY, nbf=NOW - 400, exp=NOW - 100), Reason.EXPIRED),
    "not yet valid": (sign(BODY, nbf=NOW + 3600, exp=NOW + 3900), Reason.NOT_YET_VALID),
    "no exp": (sign(BODY, without="exp"), Reason.MALFORMED),
    "no nbf": (sign(BODY, without="nbf"), Reason.MALFORMED),
    "no sha256": (sign(BODY, without="sha256"), Reason.MALFORMED),
    "sha256 is not base64": (sign(BODY, sha256="not base64!"), Reason.MALFORMED),
    "sha256 is not ASCII": (sign(BODY, sha256="é"), Reason.MALFORMED),
    "sha256 is a number": (sign(BODY, sha256=7), Reason.BODY),
    "sha256 is empty": (sign(BODY, sha256=""), Reason.BODY),
    "another body": (sign(BODY + b" "), Reason.BODY),
}


@pytest.mark.parametrize(("authorization", "reason"), list(REFUSED.values()), ids=list(REFUSED))
async def test_what_livekit_did_not_sign_is_refused(
    client: httpx.AsyncClient, authorization: str | None, reason: Reason
) -> None:
    with pytest.raises(BadSignature) as caught:
        verify(BODY, authorization, {KEY: SECRET})
    assert caught.value.reason is reason
    with capture_logs() as logs:
        headers = [(b"Content-Type", MEDIA_TYPE.encode())]
        if authorization is not None:
            headers.append((b"Authorization", authorization.encode()))
        response = await client.post(LIVEKIT_WEBHOOK_PATH, content=BODY, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    # All refusals look the same from outside; the log knows more.
    assert response.json()["detail"] == "The signature does not hold."
    assert any(line["event"] == "webhook_refused" for line in logs)


@pytest.mark.parametrize("algorithm", ["none", "HS384", "HS512"])
def test_only_hs256_is_a_signature(algorithm: str) -> None:
    claims = {"iss": KEY, "nbf": NOW, "exp": NOW + 300, "sha256": digest(BODY)}
    key = "" if algorithm == "none" else SECRET * 2
    token = jwt.encode(claims, key, algorithm=algorithm)
    with pytest.raises(BadSignature) as caught:
        verify(BODY, token, {KEY: SECRET * 2})
    assert caught.value.reason is Reason.SIGNATURE


def base64url(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


@pytest.mark.parametrize("header", [b"[" * 9000, b'{"alg": "HS256", "typ": "JWT"}'])
def test_a_token_that_nests_too_deep_is_refused(header: bytes) -> None:
    token = f"{base64url(header)}.{base64url(b'[' * 9000)}.{base64url(b'x')}"
    with pytest.raises(BadSignature) as caught:
        verify(BODY, token, {KEY: SECRET})
    assert caught.value.reason is Reason.MALFORMED


def test_the_key_is_chosen_by_issuer_and_both_hold_during_a_rotation() -> None:
    secrets = {KEY: SECRET, "APInew": OTHER_SECRET}
    verify(BODY, sign(BODY), secrets)
    verify(BODY, sign(BODY, iss="APInew", secret=OTHER_SECRET), secrets)
    with pytest.raises(BadSignature):
        verify(BODY, sign(BODY, iss="APInew", secret=SECRET), secrets)


@pytest.mark.parametrize("skew", [-45, 45])
def test_clocks_may_differ_by_less_than_a_minute(skew: int) -> None:
    now = int(time.time()) + skew
    verify(BODY, sign(BODY, nbf=now, exp=now + 1 if skew < 0 else now + 300), {KEY: SECRET})


def test_a_bearer_prefix_is_allowed() -> None:
    verify(BODY, f"Bearer {sign(BODY)}", {KEY: SECRET})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b"{}",
        b'{"event": "room_started"}',
        b'{"event": "", "id": "EV_1"}',
        b'{"id": "EV_1", "event": 5}',
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
async def test_what_is_signed_but_no_event_is_refused_and_not_repeated(
    client: httpx.AsyncClient, body: bytes
) -> None:
    # 4xx: on 5xx LiveKit would send it again, and hold up what comes after.
    assert (await send(client, body, sign(body))).status_code == 422


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY_BYTES, 200), (MAX_BODY_BYTES + 1, 413)])
async def test_the_size_is_capped_well_above_the_token_endpoints(
    client: httpx.AsyncClient, size: int, status: int
) -> None:
    body = BODY.ljust(size)
    assert (await send(client, body, sign(body))).status_code == status


@pytest.mark.parametrize(("declared", "read"), [(True, 0), (False, MAX_BODY_BYTES + CHUNK)])
async def test_of_a_body_too_long_no_more_is_read_than_the_cap(
    client: httpx.AsyncClient, declared: bool, read: int
) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        # Four times the cap, and no endless stream: a broken cap must not take the machine's memory.
        for _ in range(4 * MAX_BODY_BYTES // CHUNK):
            sent += CHUNK
            yield b" " * CHUNK

    headers = {"Authorization": sign(BODY)}
    if declared:
        headers["Content-Length"] = str(4 * MAX_BODY_BYTES)
    response = await client.post(LIVEKIT_WEBHOOK_PATH, content=chunks(), headers=headers)
    assert response.status_code == 413
    assert sent == read


@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    body=st.binary(max_size=200), authorization=st.binary(max_size=200).filter(lambda raw: b"\n" not in raw)
)
async def test_no_forged_webhook_makes_an_error_of_ours(
    app: FastAPI, body: bytes, authorization: bytes
) -> None:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://token-api.test") as client:
        headers = [(b"Authorization", authorization)]
        response = await client.post(LIVEKIT_WEBHOOK_PATH, content=body, headers=headers)
    assert response.status_code == 401
