"""PostgreSQL goes and comes back under a running service: it says so, loses nothing, and needs no restart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from common.waiting import wait_until
from tests.support.speed import scaled
from tests.token_api.postgres import Postgres, postgres_server
from tests.token_api.service import Service, token_api
from tests.unit.token_api.livekit_double import livekit_double

# The probe waits 2 s for the database, and the kubelet a little longer for the probe.
_PROBE_SECONDS = 4.0
# Every worker has had its turn by then: the reconciler comes each second here.
_BACK_SECONDS = 30.0


@pytest.fixture
def database() -> Iterator[Postgres]:
    """A server of this test's own, which it stops."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def service(database: Postgres, tmp_path: Path) -> Iterator[Service]:
    with (
        livekit_double() as double,
        token_api(
            tmp_path, double.url, database_url=database.new_database(), TOKEN_API_RECONCILE_SECONDS="1"
        ) as running,
    ):
        yield running


def _get(service: Service, path: str) -> httpx.Response:
    return httpx.get(f"{service.url}{path}", trust_env=False, timeout=30)


def _ready(service: Service) -> bool:
    return _get(service, "/readyz").status_code == 200


def _refused(response: httpx.Response) -> None:
    """As it should be while the database is away."""
    assert response.status_code == 503, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"].endswith(":database-unavailable")
    assert response.headers["retry-after"]
    # Neither where it is nor as whom we come.
    assert "127.0.0.1" not in response.text
    assert "postgres" not in response.text.lower()


def test_a_database_that_goes_away_is_told_and_nothing_is_lost(service: Service, database: Postgres) -> None:
    assert _ready(service)
    stream = service.live_stream()
    service.grant("viewer", stream["id"])
    token = f"/streams/{stream['id']}/video-token"
    database.stop()
    begun = time.monotonic()
    _refused(_get(service, "/readyz"))
    assert time.monotonic() - begun < scaled(_PROBE_SECONDS)
    # Alive nevertheless: a restart would bring no database back.
    assert _get(service, "/healthz").status_code == 200
    _refused(service.ask("GET", f"/streams/{stream['id']}"))
    _refused(service.ask("POST", token, service.user("viewer")))
    _refused(service.ask("POST", f"/streams/{stream['id']}/end"))
    # Counted, and without it: LiveKit sends its events again.
    assert service.metric("token_api_problems_total", kind="database-unavailable") >= 4
    database.start()
    wait_until(
        lambda: _ready(service),
        timeout=scaled(_BACK_SECONDS),
        describe="the service to be ready",
        interval=0.2,
    )
    # No connection of the pool is a dead one: many at once have all of them.
    for _ in range(30):
        service.call("GET", f"/streams/{stream['id']}")
    assert service.call("GET", f"/streams/{stream['id']}") == stream
    service.call("POST", token, service.user("viewer"), 201)
    rounds = service.metric("token_api_reconciler_runs_total", outcome="done")
    wait_until(
        lambda: service.metric("token_api_reconciler_runs_total", outcome="done") > rounds,
        timeout=scaled(_BACK_SECONDS),
        describe="the reconciler to lead again, by a lock that it took anew",
        interval=0.2,
    )
    # What waits to be sent, and is nobody's anymore, goes on too.
    service.call("POST", f"/streams/{stream['id']}/end")
    assert service.call("GET", f"/streams/{stream['id']}")["status"] == "ended"
    assert service.process.poll() is None


def test_a_service_that_starts_without_its_database_says_so(tmp_path: Path, database: Postgres) -> None:
    """It ends: who started it starts it again, until the database is there."""
    url = database.new_database()
    database.stop()
    with (
        livekit_double() as double,
        pytest.raises(AssertionError, match="the database cannot be migrated"),
        token_api(tmp_path, double.url, database_url=url),
    ):
        pytest.fail("it listens")
