"""What holds for every answer: problem details, headers, request ids, a true OpenAPI document."""

from __future__ import annotations

from typing import Any

import httpx
import jsonschema
import pytest
from fastapi import FastAPI, HTTPException
from structlog.testing import capture_logs

from tests.unit.token_api.support import AUTHORIZED, SECRET, sign
from token_api.problems import Kind, Problem, ProblemError

TOKEN_BODY = {"room_name": "test_a", "participant_identity": "joe"}
EVENT = b'{"event": "room_started", "id": "EV_1", "room": {"name": "test_a"}}'

REQUESTS: list[tuple[str, str, dict[str, Any], int]] = [
    ("GET", "/healthz", {}, 200),
    ("GET", "/readyz", {}, 200),
    ("GET", "/metrics", {}, 200),
    ("POST", "/v1/token", {"json": TOKEN_BODY, "headers": AUTHORIZED}, 201),
    ("POST", "/v1/token", {"json": TOKEN_BODY}, 401),
    ("POST", "/v1/token", {"json": {}, "headers": AUTHORIZED}, 422),
    ("POST", "/v1/token", {"content": b"{}", "headers": AUTHORIZED}, 415),
    ("POST", "/v1/token", {"content": b" " * 20000, "headers": AUTHORIZED}, 413),
    (
        "POST",
        "/v1/token",
        {"content": b"\xff", "headers": {**AUTHORIZED, "Content-Type": "application/json"}},
        400,
    ),
    ("POST", "/v1/webhooks/livekit", {"content": EVENT, "headers": {"Authorization": sign(EVENT)}}, 200),
    ("POST", "/v1/webhooks/livekit", {"content": EVENT}, 401),
    ("POST", "/v1/webhooks/livekit", {"content": b"{}", "headers": {"Authorization": sign(b"{}")}}, 422),
    ("POST", "/v1/webhooks/livekit", {"content": b" " * 600000}, 413),
]
UNKNOWN: list[tuple[str, str, dict[str, Any], int]] = [
    ("GET", "/", {}, 404),
    ("GET", "/v1/nothing", {}, 404),
    ("POST", "/v1/token/", {}, 404),
    ("GET", "/docs", {}, 404),
    ("GET", "/v1/token", {}, 405),
    ("DELETE", "/healthz", {}, 405),
]


@pytest.mark.parametrize(("method", "path", "arguments", "status"), [*REQUESTS, *UNKNOWN])
async def test_every_answer_has_the_headers_and_every_error_is_a_problem(
    client: httpx.AsyncClient, method: str, path: str, arguments: dict[str, Any], status: int
) -> None:
    response = await client.request(method, path, **arguments)
    assert response.status_code == status
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-request-id"]
    if status >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        problem = Problem.model_validate_json(response.content)
        assert problem.status == status
        assert problem.type in {kind.type for kind in Kind}
    if status == 405:
        assert response.headers["allow"]


@pytest.mark.parametrize(("method", "path", "arguments", "status"), REQUESTS)
async def test_the_openapi_document_has_the_status_and_the_shape_of_each_answer(
    client: httpx.AsyncClient, method: str, path: str, arguments: dict[str, Any], status: int
) -> None:
    document = (await client.get("/v1/openapi.json")).json()
    response = await client.request(method, path, **arguments)
    documented = document["paths"][path][method.lower()]["responses"][str(response.status_code)]
    if not response.content:
        assert "content" not in documented
        return
    media_type = response.headers["content-type"].partition(";")[0]
    schema = documented["content"][media_type]["schema"]
    answer = response.text if media_type == "text/plain" else response.json()
    jsonschema.validate(answer, {**schema, "components": document["components"]})


async def test_the_openapi_document_says_who_may_call(client: httpx.AsyncClient) -> None:
    document = (await client.get("/v1/openapi.json")).json()
    assert document["paths"]["/v1/token"]["post"]["security"] == [{"serviceKey": []}, {"hostJwt": []}]
    assert document["paths"]["/v1/access-grants"]["post"]["security"] == [{"serviceKey": []}]
    assert document["paths"]["/v1/webhooks/livekit"]["post"]["security"] == [{"livekitWebhook": []}]
    assert set(document["components"]["securitySchemes"]) == {
        *("serviceKey", "hostJwt", "chatToken", "livekitWebhook")
    }
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_a_failure_of_ours_is_a_problem_that_gives_nothing_away(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    @app.get("/fails")
    async def fails() -> None:
        raise RuntimeError(f"with {SECRET}")

    with capture_logs() as logs:
        response = await client.get("/fails", headers={"X-Request-Id": "request-0001"})
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert "request-0001" in response.json()["detail"]
    assert SECRET not in response.text
    assert [line["event"] for line in logs] == ["request_failed", "request"]


async def test_a_status_that_nobody_planned_for_is_a_problem_too(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "short and stout")

    @app.get("/planned")
    async def planned() -> None:
        raise ProblemError(Kind.NOT_FOUND, "No such thing.")

    assert (await client.get("/teapot")).status_code == 500
    assert (await client.get("/planned")).json()["detail"] == "No such thing."


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("request-0001", True),
        ("short", False),
        ("with space 1", False),
        ("x" * 65, False),
        ("a\x0bb" * 5, False),
    ],
)
async def test_a_callers_request_id_is_kept_where_it_is_harmless(
    client: httpx.AsyncClient, given: str, kept: bool
) -> None:
    response = await client.get("/healthz", headers={"X-Request-Id": given})
    assert (response.headers["x-request-id"] == given) is kept


async def test_a_request_is_logged_without_its_query(client: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        await client.get("/v1/nothing?access_token=abc")
    (line,) = logs
    assert (line["event"], line["path"], line["status"]) == ("request", "/v1/nothing", 404)
    assert "abc" not in str(line)
