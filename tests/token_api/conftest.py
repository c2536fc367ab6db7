"""The service with a real LiveKit, Redis and databases: processes on loopback, without a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.token_api.livekit_server import LiveKitServer, livekit_server, redis_server
from tests.token_api.postgres import Postgres, postgres_server
from tests.token_api.service import WEBHOOK_PATH, Service, token_api


@dataclass(frozen=True)
class Platform:
    """A service, the LiveKit that it uses and that tells it what happens, and their Redis."""

    service: Service
    livekit: LiveKitServer
    redis_port: int


@contextmanager
def running_platform(
    directory: Path, redis_port: int, *, database_url: str | None = None, **variables: str
) -> Iterator[Platform]:
    """A LiveKit on that Redis and a service, each knowing the other; `variables` are the service's."""
    port = free_port()
    webhook_url = f"http://127.0.0.1:{port}{WEBHOOK_PATH}"
    with (
        livekit_server(directory, redis_port=redis_port, webhook_url=webhook_url) as livekit,
        token_api(directory, livekit.url, port=port, database_url=database_url, **variables) as service,
    ):
        yield Platform(service, livekit, redis_port)


@pytest.fixture(scope="session", autouse=True)
def _no_proxy() -> None:
    """Everything here is on loopback."""
    for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[variable]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with redis_server(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, redis_port: int) -> Iterator[Platform]:
    """One for all tests of a module: each makes streams of its own."""
    with running_platform(tmp_path_factory.mktemp("platform"), redis_port) as running:
        yield running
