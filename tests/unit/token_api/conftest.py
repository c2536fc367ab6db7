from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import structlog
from fastapi import FastAPI

from livekit_platform.certificates import new_authority
from tests.support.scratch import memory_directory
from tests.token_api.postgres import (
    DatabaseKind,
    Postgres,
    new_database,
    postgres_server,
    write_migrated_sqlite,
)
from tests.unit.token_api.api import HOST_AUDIENCE, HOST_ISSUER, HOST_SECRET, Api, running_api
from tests.unit.token_api.getstream_stand_in import KEY as GETSTREAM_KEY
from tests.unit.token_api.getstream_stand_in import SECRET as GETSTREAM_SECRET
from tests.unit.token_api.getstream_stand_in import GetStreamStandIn, getstream_stand_in
from tests.unit.token_api.livekit_double import LiveKitDouble, livekit_double
from tests.unit.token_api.support import ENVIRONMENT, StandInServer, livekit_stand_in
from token_api import recent
from token_api.app import create_app
from token_api.endpoints import health
from token_api.livekit_api import gateway
from token_api.settings import Settings, load_settings, variables


@pytest.fixture(scope="session", autouse=True)
def plain_tracebacks() -> None:
    """structlog's own way of showing an exception takes seconds, in the service's event loop."""
    *processors, _ = structlog.get_config()["processors"]
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*processors, renderer])


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request: pytest.FixtureRequest) -> DatabaseKind:
    """A test that uses a database runs on SQLite and on PostgreSQL."""
    kind: DatabaseKind = request.param
    return kind


@pytest.fixture
def empty_database(request: pytest.FixtureRequest, database_kind: DatabaseKind) -> Iterator[str]:
    """The URL of a new database without tables."""
    with new_database(database_kind, partial(request.getfixturevalue, "postgres")) as url:
        yield url


@pytest.fixture(scope="session")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one certificate authority, which has signed nothing."""
    file = tmp_path_factory.mktemp("authorities") / "ca.pem"
    file.write_text(new_authority("").certificate)
    return file


@pytest.fixture
def data_directory() -> Iterator[Path]:
    """An empty directory for TOKEN_API_DATA_DIR."""
    with memory_directory("token-api-data-") as directory:
        yield directory


@pytest.fixture
def environment(
    monkeypatch: pytest.MonkeyPatch, data_directory: Path, authorities: Path
) -> pytest.MonkeyPatch:
    """A good environment, and nothing of the one that the tests run in."""
    for variable in variables():
        monkeypatch.delenv(variable, raising=False)
    for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(variable)
    for variable, value in ENVIRONMENT.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("TOKEN_API_DATA_DIR", str(data_directory))
    # Each service loads the authorities twice. With the machine's own, that took half of the time of a short
    # test. Tests of TLS give the authority that they mean.
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    # A busy machine may take longer than the kubelet or the service waits. These tests do not check that.
    monkeypatch.setattr(health, "DATABASE_SECONDS", 30.0)
    monkeypatch.setattr(gateway, "TIMEOUT_SECONDS", 60.0)
    # What these tests do within a second takes minutes by their clock.
    monkeypatch.setattr(recent, "FRESH_SECONDS", 0.0)
    return monkeypatch


@pytest.fixture
def settings(environment: pytest.MonkeyPatch) -> Settings:
    return load_settings()


@pytest.fixture
def livekit() -> Iterator[StandInServer]:
    with livekit_stand_in() as server:
        yield server


@pytest.fixture
def database(request: pytest.FixtureRequest, database_kind: DatabaseKind) -> Iterator[str]:
    """The URL of a new database with all tables."""
    server = partial(request.getfixturevalue, "postgres")
    with new_database(database_kind, server, migrated=True) as url:
        yield url


@pytest.fixture
def double() -> Iterator[LiveKitDouble]:
    with livekit_double() as made:
        yield made


@pytest.fixture
def connected(environment: pytest.MonkeyPatch, database: str, double: LiveKitDouble) -> pytest.MonkeyPatch:
    """An environment with a database, LiveKit and host JWTs."""
    environment.setenv("TOKEN_API_DATABASE_URL", database)
    environment.setenv("LIVEKIT_URL", double.url)
    environment.setenv("TOKEN_API_HOST_JWT_SECRET", HOST_SECRET)
    environment.setenv("TOKEN_API_HOST_JWT_ISSUER", HOST_ISSUER)
    environment.setenv("TOKEN_API_HOST_JWT_AUDIENCE", HOST_AUDIENCE)
    return environment


@pytest.fixture
async def api(connected: pytest.MonkeyPatch, double: LiveKitDouble) -> AsyncIterator[Api]:
    """The whole service, on SQLite and on PostgreSQL in turn."""
    async with running_api(load_settings(), double) as made:
        yield made


@pytest.fixture
def getstream() -> Iterator[GetStreamStandIn]:
    with getstream_stand_in() as made:
        yield made


@pytest.fixture
async def getstream_api(
    connected: pytest.MonkeyPatch, double: LiveKitDouble, getstream: GetStreamStandIn
) -> AsyncIterator[Api]:
    """The whole service, with GetStream's chat."""
    connected.setenv("TOKEN_API_CHAT_PROVIDER", "getstream")
    connected.setenv("TOKEN_API_GETSTREAM_URL", getstream.url)
    connected.setenv("TOKEN_API_GETSTREAM_KEY", GETSTREAM_KEY)
    connected.setenv("TOKEN_API_GETSTREAM_SECRET", GETSTREAM_SECRET)
    async with running_api(load_settings(), double) as made:
        yield made


@pytest.fixture
def app(environment: pytest.MonkeyPatch, double: LiveKitDouble) -> FastAPI:
    """The service on SQLite, where no database is given."""
    environment.setenv("LIVEKIT_URL", double.url)
    settings = load_settings()
    write_migrated_sqlite(Path(settings.database.removeprefix("sqlite:///")))
    return create_app(settings)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    # Errors are answers here, as they are to a caller on the network.
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://token-api.test") as made,
    ):
        yield made
