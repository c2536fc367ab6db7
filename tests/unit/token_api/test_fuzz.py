"""Whatever bytes are sent: an answer that is planned for, never 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.token_api.api import HOST_AUDIENCE, HOST_ISSUER, HOST_SECRET
from tests.unit.token_api.support import AUTHORIZED, ENVIRONMENT, digest, sign
from token_api.app import create_app
from token_api.database.migrate import migrate
from token_api.problems import Kind, Problem
from token_api.rate_limits import ADDRESS_QUOTAS, USER_QUOTAS, Class, Quota
from token_api.settings import load_settings, variables

pytestmark = pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
fuzz = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
KINDS = {kind.type for kind in Kind}


class Caller:
    """Calls the service within one loop, as hypothesis' tests have none of their own."""

    def __init__(self, runner: asyncio.Runner, client: httpx.AsyncClient) -> None:
        self._runner = runner
        self._client = client

    def post(self, path: str, content: bytes, headers: dict[str, Any]) -> httpx.Response:
        request = self._client.build_request("POST", path, content=content, headers=headers)
        return self._runner.run(self._client.send(request))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """The service on each database: what one keeps, the other may refuse, such as a NUL."""
    url = f"sqlite:///{tmp_path_factory.mktemp('token-api') / 'token-api.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").new_database()
    with pytest.MonkeyPatch.context() as monkeypatch, asyncio.Runner() as runner:
        for variable in variables():
            monkeypatch.delenv(variable, raising=False)
        given_variables = {
            **ENVIRONMENT,
            "TOKEN_API_DATABASE_URL": url,
            "TOKEN_API_HOST_JWT_SECRET": HOST_SECRET,
            "TOKEN_API_HOST_JWT_ISSUER": HOST_ISSUER,
            "TOKEN_API_HOST_JWT_AUDIENCE": HOST_AUDIENCE,
        }
        for variable, value in given_variables.items():
            monkeypatch.setenv(variable, value)
        for quotas in (USER_QUOTAS, ADDRESS_QUOTAS):
            for kind in Class:
                monkeypatch.setitem(quotas, kind, Quota(1_000_000, 60))
        made = load_settings()
        migrate(made.database)
        app = create_app(made)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://token-api.test")
        yield Caller(runner, client)
        runner.run(client.aclose())
        runner.run(app.state.token_api.services.database.aclose())


def planned(response: httpx.Response) -> int:
    """The status of an answer; one of an error must be a problem that is not ours."""
    if response.status_code >= 400:
        assert response.status_code < 500, response.text
        assert response.headers["content-type"] == "application/problem+json"
        assert Problem.model_validate_json(response.content).type in KINDS
    return response.status_code


TOKEN_FIELDS = (
    *("room_name", "participant_identity", "participant_name", "participant_metadata"),
    *("participant_attributes", "room_config", "role", "ttl_seconds"),
)
TOKEN_BODIES = st.dictionaries(st.sampled_from(TOKEN_FIELDS) | st.text(max_size=8), JSON_VALUES, max_size=8)


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


@fuzz
@given(st.binary(max_size=300) | TOKEN_BODIES.map(as_json) | JSON_VALUES.map(as_json))
def test_bodies_of_the_token_endpoint(service: Caller, body: bytes) -> None:
    status = planned(service.post("/v1/token", body, {**AUTHORIZED, "Content-Type": "application/json"}))
    assert status in {201, 400, 409, 404, 422}


@fuzz
@given(
    st.fixed_dictionaries({"room_name": st.text(max_size=12), "participant_identity": st.text(max_size=12)})
)
def test_names_that_are_nearly_right(service: Caller, body: dict[str, str]) -> None:
    planned(service.post("/v1/token", as_json(body), {**AUTHORIZED, "Content-Type": "application/json"}))


HEADER_VALUES = st.binary(max_size=80).filter(lambda value: not {0, 10, 13} & set(value))
PARTS = st.text("ABCabc019-_=", max_size=40)


@fuzz
@given(HEADER_VALUES | st.tuples(PARTS, PARTS, PARTS).map(lambda parts: ".".join(parts).encode()))
def test_bearers(service: Caller, bearer: bytes) -> None:
    for path in ("/v1/token", "/v1/webhooks/livekit"):
        answer = service.post(path, b"{}", {"Authorization": b"Bearer " + bearer})
        assert planned(answer) == 401


@fuzz
@given(st.dictionaries(st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "name"]), JSON_VALUES))
def test_claims_of_host_jwts_that_are_well_signed(service: Caller, claims: dict[str, Any]) -> None:
    good = {"iss": HOST_ISSUER, "aud": HOST_AUDIENCE, "sub": "u", "exp": 4_000_000_000}
    token = _signed({**good, **claims}, HOST_SECRET)
    answer = service.post("/v1/streams/none/video-token", b"", {"Authorization": f"Bearer {token}"})
    assert planned(answer) in {401, 404}


@fuzz
@given(
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5u"]), JSON_VALUES)
)
def test_headers_of_host_jwts(service: Caller, header: dict[str, Any]) -> None:
    claims = {"iss": HOST_ISSUER, "aud": HOST_AUDIENCE, "sub": "u", "exp": 4_000_000_000}
    parts = [jwt.utils.base64url_encode(as_json(part)).decode() for part in (header, claims)]
    answer = service.post(
        "/v1/streams/none/video-token", b"", {"Authorization": f"Bearer {'.'.join(parts)}.AA"}
    )
    assert planned(answer) == 401


def _signed(claims: dict[str, Any], secret: str) -> str:
    """A JWT over whatever claims: PyJWT itself refuses to sign some."""
    return jwt.api_jws.encode(as_json(claims), secret, "HS256", headers={"typ": "JWT"})


EVENT_FIELDS = st.sampled_from(["event", "id", "room", "participant", "track", "createdAt", "egressInfo"])
INNER = st.dictionaries(
    st.sampled_from(["name", "sid", "identity", "metadata", "state", "joinedAt", "permission", "status"]),
    JSON_VALUES,
    max_size=6,
)
EVENTS = st.dictionaries(EVENT_FIELDS, JSON_VALUES | INNER, max_size=6)


@fuzz
@given(st.binary(max_size=300) | EVENTS.map(as_json) | JSON_VALUES.map(as_json))
def test_bodies_of_webhooks_that_are_well_signed(service: Caller, body: bytes) -> None:
    answer = service.post("/v1/webhooks/livekit", body, {"Authorization": sign(body)})
    assert planned(answer) in {200, 422}


@fuzz
@given(st.dictionaries(st.sampled_from(["iss", "nbf", "exp", "sha256", "iat"]), JSON_VALUES))
def test_claims_of_webhooks(service: Caller, claims: dict[str, Any]) -> None:
    body = b'{"event": "room_started", "id": "EV_fuzz"}'
    good = {"iss": ENVIRONMENT["LIVEKIT_API_KEY"], "nbf": 1, "exp": 4_000_000_000, "sha256": digest(body)}
    token = _signed({**good, **claims}, ENVIRONMENT["LIVEKIT_API_SECRET"])
    assert planned(service.post("/v1/webhooks/livekit", body, {"Authorization": token})) in {200, 401}
