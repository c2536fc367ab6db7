"""The OpenAPI document against the running service: schemathesis sends what it allows, and what it does not.

Over real HTTP, because a client in this process would hide what uvicorn makes of a request.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from common.waiting import wait_until
from tests.ports import free_port
from tests.unit.token_api.api import HOST_AUDIENCE, HOST_ISSUER, HOST_SECRET
from tests.unit.token_api.livekit_double import livekit_double
from tests.unit.token_api.support import AUTHORIZED, ENVIRONMENT
from tests.unit.token_api.test_who_may import OPERATIONS, OTHERS
from token_api.app import create_app
from token_api.database.migrate import migrate
from token_api.endpoints.guard import ON_BEHALF_OF
from token_api.rate_limits import ADDRESS_QUOTAS, Class, Quota
from token_api.settings import Settings, load_settings, variables

CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
    unsupported_method,
    ignored_auth,
]
# Of each operation and each mode; the document has some fifty operations.
FEW, MANY = 2, 6


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """`app` on a port of loopback; its URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=free_port(), log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, timeout=20, describe="the service to listen", interval=0.05)
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join()


def _settings(monkeypatch: pytest.MonkeyPatch, directory: Path, livekit_url: str) -> Settings:
    for variable in variables():
        monkeypatch.delenv(variable, raising=False)
    given = {
        **ENVIRONMENT,
        "LIVEKIT_URL": livekit_url,
        "TOKEN_API_DATA_DIR": str(directory),
        "TOKEN_API_HOST_JWT_SECRET": HOST_SECRET,
        "TOKEN_API_HOST_JWT_ISSUER": HOST_ISSUER,
        "TOKEN_API_HOST_JWT_AUDIENCE": HOST_AUDIENCE,
    }
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    return load_settings()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service on SQLite, with LiveKit's double behind it."""
    with livekit_double() as double, pytest.MonkeyPatch.context() as monkeypatch:
        made = _settings(monkeypatch, tmp_path_factory.mktemp("token-api"), double.url)
        migrate(made.database)
        # Wrong credentials are sent for every operation.
        monkeypatch.setitem(ADDRESS_QUOTAS, Class.REFUSED, Quota(1_000_000, 60))
        with listening(create_app(made)) as at:
            yield at


def _live_stream(url: str) -> str:
    """The id of a stream that is live, so that more than 404 is answered."""
    wanted = {"title": "A stream", "owner_id": "creator", "space_id": "space"}
    with httpx.Client(base_url=f"{url}/v1", headers=AUTHORIZED, trust_env=False) as client:
        made = str(client.post("/streams", json=wanted).raise_for_status().json()["id"])
        client.post(f"/streams/{made}/go-live").raise_for_status()
    return made


def _operations(url: str) -> Iterator[Any]:
    document = httpx.get(f"{url}/v1/openapi.json", trust_env=False).json()
    # LiveKit's own: it is signed, and has a fuzz of its own.
    del document["paths"]["/v1/webhooks/livekit"]
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        yield result.ok()


def _examine(operation: Any, stream_id: str, mode: GenerationMode, examples: int) -> None:
    """Raises what schemathesis finds wrong, with the request that shows it."""

    @given(st.data())
    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate),
    )
    def examine(data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        if "stream_id" in case.path_parameters and mode is GenerationMode.POSITIVE:
            case.path_parameters["stream_id"] = stream_id
        case.call_and_validate(headers={**AUTHORIZED, ON_BEHALF_OF: "creator"}, checks=CHECKS)

    examine()


@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
def test_every_answer_is_one_that_the_document_has(url: str, examples: int) -> None:
    found: dict[tuple[str, str], str] = {}
    without: defaultdict[GenerationMode, set[str]] = defaultdict(set)
    examined = set()
    for operation in _operations(url):
        examined.add((operation.method.upper(), operation.path))
        stream_id = _live_stream(url)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                _examine(operation, stream_id, mode, examples)
            except Unsatisfiable:
                without[mode].add(operation.path)
            except Exception as error:
                found[operation.label, mode.value] = str(error)
    # These take no input that could be wrong.
    assert without == {GenerationMode.NEGATIVE: {"/healthz", "/readyz", "/metrics"}}
    # All that the service has, as the table of who may what has it.
    assert examined == {*OPERATIONS, *OTHERS} - {("POST", "/v1/webhooks/livekit")}
    assert not found, "\n\n".join(f"{label} ({mode})\n{text}" for (label, mode), text in found.items())
