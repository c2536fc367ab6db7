"""Whatever bytes are sent: an answer that is planned for, never 500."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import httpx
import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.token_api.postgres import new_database
from tests.unit.token_api.api import HOST_AUDIENCE, HOST_ISSUER, HOST_SECRET
from tests.unit.token_api.livekit_double import livekit_double
from tests.unit.token_api.support import AUTHORIZED, ENVIRONMENT, digest, sign
from token_api.app import create_app
from token_api.problems import Kind, Problem
from token_api.rate_limits import ADDRESS_QUOTAS, USER_QUOTAS, Class, Quota
from token_api.settings import load_settings, variables

pytestmark = pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
lengths = pytest.mark.parametrize(
    "examples", [pytest.param(30, id="short"), pytest.param(500, id="long", marks=pytest.mark.long)]
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
T = TypeVar("T")
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
def service(request: pytest.FixtureRequest) -> Iterator[Caller]:
    """The service on each database: what one keeps, the other may refuse, such as a NUL."""
    server = partial(request.getfixturevalue, "postgres")
    with (
        new_database(request.param, server, migrated=True) as url,
        livekit_double() as double,
        pytest.MonkeyPatch.context() as monkeypatch,
        asyncio.Runner() as runner,
    ):
        for variable in variables():
            monkeypatch.delenv(variable, raising=False)
        given_variables = {
            **ENVIRONMENT,
            "LIVEKIT_URL": double.url,
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
        app = create_app(made)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://token-api.test")
        yield Caller(runner, client)
        runner.run(client.aclose())
        runner.run(app.state.token_api.services.database.aclose())


def check_each(examples: int, strategy: st.SearchStrategy[T], check: Callable[[T], None]) -> None:
    """Call `check` with this many examples of `strategy`."""
    limits = settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    limits(given(strategy)(check))()


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


@lengths
def test_bodies_of_the_token_endpoint(service: Caller, examples: int) -> None:
    def check(body: bytes) -> None:
        status = planned(service.post("/v1/token", body, {**AUTHORIZED, "Content-Type": "application/json"}))
        assert status in {201, 400, 409, 404, 422}

    check_each(
        examples, st.binary(max_size=300) | TOKEN_BODIES.map(as_json) | JSON_VALUES.map(as_json), check
    )


@lengths
def test_names_that_are_nearly_right(service: Caller, examples: int) -> None:
    def check(body: dict[str, str]) -> None:
        planned(service.post("/v1/token", as_json(body), {**AUTHORIZED, "Content-Type": "application/json"}))

    check_each(
        examples,
        st.fixed_dictionaries(
            {"room_name": st.text(max_size=12), "participant_identity": st.text(max_size=12)}
        ),
        check,
    )


HEADER_VALUES = st.binary(max_size=80).filter(lambda value: not {0, 10, 13} & set(value))
PARTS = st.text("ABCabc019-_=", max_size=40)


@lengths
def test_bearers(service: Caller, examples: int) -> None:
    def check(bearer: bytes) -> None:
        for path in ("/v1/token", "/v1/webhooks/livekit"):
            answer = service.post(path, b"{}", {"Authorization": b"Bearer " + bearer})
            assert planned(answer) == 401

    check_each(
        examples,
        HEADER_VALUES | st.tuples(PARTS, PARTS, PARTS).map(lambda parts: ".".join(parts).encode()),
        check,
    )


@lengths
def test_claims_of_host_jwts_that_are_well_signed(service: Caller, examples: int) -> None:
    def check(claims: dict[str, Any]) -> None:
        good = {"iss": HOST_ISSUER, "aud": HOST_AUDIENCE, "sub": "u", "exp": 4_000_000_000}
        token = _signed({**good, **claims}, HOST_SECRET)
        answer = service.post("/v1/streams/none/video-token", b"", {"Authorization": f"Bearer {token}"})
        assert planned(answer) in {401, 404}

    check_each(
        examples,
        st.dictionaries(st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "name"]), JSON_VALUES),
        check,
    )


@lengths
def test_headers_of_host_jwts(service: Caller, examples: int) -> None:
    def check(header: dict[str, Any]) -> None:
        claims = {"iss": HOST_ISSUER, "aud": HOST_AUDIENCE, "sub": "u", "exp": 4_000_000_000}
        parts = [jwt.utils.base64url_encode(as_json(part)).decode() for part in (header, claims)]
        answer = service.post(
            "/v1/streams/none/video-token", b"", {"Authorization": f"Bearer {'.'.join(parts)}.AA"}
        )
        assert planned(answer) == 401

    check_each(
        examples,
        st.dictionaries(
            st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "jku", "x5u"]), JSON_VALUES
        ),
        check,
    )


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


@lengths
def test_bodies_of_webhooks_that_are_well_signed(service: Caller, examples: int) -> None:
    def check(body: bytes) -> None:
        answer = service.post("/v1/webhooks/livekit", body, {"Authorization": sign(body)})
        assert planned(answer) in {200, 422}

    check_each(examples, st.binary(max_size=300) | EVENTS.map(as_json) | JSON_VALUES.map(as_json), check)


@lengths
def test_claims_of_webhooks(service: Caller, examples: int) -> None:
    def check(claims: dict[str, Any]) -> None:
        body = b'{"event": "room_started", "id": "EV_fuzz"}'
        good = {"iss": ENVIRONMENT["LIVEKIT_API_KEY"], "nbf": 1, "exp": 4_000_000_000, "sha256": digest(body)}
        token = _signed({**good, **claims}, ENVIRONMENT["LIVEKIT_API_SECRET"])
        assert planned(service.post("/v1/webhooks/livekit", body, {"Authorization": token})) in {200, 401}

    check_each(
        examples, st.dictionaries(st.sampled_from(["iss", "nbf", "exp", "sha256", "iat"]), JSON_VALUES), check
    )
