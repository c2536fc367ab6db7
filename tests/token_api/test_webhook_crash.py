"""What was answered with 2xx is sent to the host application, also when the service is killed meanwhile."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, select, update
from standardwebhooks import Webhook

from common.waiting import wait_until
from tests.support.speed import scaled
from tests.token_api.postgres import new_database
from tests.token_api.service import Service, token_api
from tests.unit.token_api.livekit_double import LiveKitDouble, livekit_double
from tests.unit.token_api.receiver import Receiver, webhook_receiver
from token_api.database.engine import database_url
from token_api.database.tables import WebhookDelivery
from token_api.use_cases.deliveries import LEASE

ALLOWED = "127.0.0.0/8"
RECOVERY_SECONDS = 30.0


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with new_database(request.param, lambda: request.getfixturevalue("postgres")) as made:
        yield made


@pytest.fixture
def livekit() -> Iterator[LiveKitDouble]:
    with livekit_double() as made:
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as made:
        yield made


def subscribe(service: Service, receiver: Receiver) -> str:
    """The secret of a new endpoint for new grants."""
    wanted = {"url": receiver.url, "event_types": ["grant.created"]}
    made: dict[str, Any] = service.call("POST", "/webhook-endpoints", json=wanted, status=201)
    return str(made["secret"])


def grant(service: Service, number: int) -> str:
    wanted = {"user_id": f"viewer-{number}", "scope": "space", "scope_id": "space"}
    return str(service.call("POST", "/access-grants", json=wanted, status=201)["id"])


def received(receiver: Receiver, secret: str) -> set[str]:
    """The grants that the receiver was told of, by messages whose signature holds."""
    found = set()
    for message in list(receiver.messages):
        Webhook(secret).verify(message.body, message.headers)
        found.add(json.loads(message.body)["data"]["grant_id"])
    return found


def _end_leases(url: str) -> None:
    """Move the end of each lease that the dead process holds to now: the test need not wait for it."""
    engine = create_engine(database_url(url, driver=False))
    held = WebhookDelivery.claimed_until.is_not(None)
    now = datetime.now(UTC)
    try:
        with engine.begin() as connection:
            ends = connection.scalars(select(WebhookDelivery.claimed_until).where(held)).all()
            assert ends, "no delivery is leased"
            in_time = [end is not None and end <= now + LEASE for end in ends]
            assert all(in_time), f"these leases would not end by themselves in time: {ends}"
            connection.execute(update(WebhookDelivery).where(held).values(claimed_until=now))
    finally:
        engine.dispose()


def test_a_kill_between_commit_and_send_loses_nothing(
    tmp_path: Path, url: str, livekit: LiveKitDouble, receiver: Receiver
) -> None:
    with token_api(tmp_path, livekit.url, database_url=url, TOKEN_API_WEBHOOK_ALLOW=ALLOWED) as service:
        secret = subscribe(service, receiver)
        # Sends are under way, and all others wait, at the moment of the kill.
        receiver.gate.clear()
        promised = {grant(service, number) for number in range(12)}
        wait_until(lambda: receiver.messages, timeout=30, describe="a send to be under way", interval=0.05)
        service.stop(signal.SIGKILL)
    under_way = {message.id for message in receiver.messages}
    assert len(under_way) < len(promised)
    _end_leases(url)
    receiver.messages.clear()
    receiver.gate.set()
    with token_api(tmp_path, livekit.url, database_url=url, TOKEN_API_WEBHOOK_ALLOW=ALLOWED):
        wait_until(
            lambda: received(receiver, secret) >= promised,
            timeout=scaled(RECOVERY_SECONDS),
            describe="all that was promised to arrive",
        )
    # What was under way came again under its own id: a receiver knows it by that.
    assert under_way <= set(receiver.ids)
    assert len(set(receiver.ids)) == len(promised)


def test_a_service_that_is_told_to_stop_ends_what_it_is_sending(
    tmp_path: Path, url: str, livekit: LiveKitDouble, receiver: Receiver
) -> None:
    with token_api(tmp_path, livekit.url, database_url=url, TOKEN_API_WEBHOOK_ALLOW=ALLOWED) as service:
        subscribe(service, receiver)
        receiver.gate.clear()
        grant(service, 1)
        wait_until(lambda: receiver.messages, timeout=30, describe="a send to be under way", interval=0.05)
        service.process.send_signal(signal.SIGTERM)
        wait_until(
            lambda: not _listens(service),
            timeout=20,
            describe="the service to take nothing more",
            interval=0.1,
        )
        assert service.process.poll() is None
        receiver.gate.set()
        assert service.process.wait(timeout=30) == 0
        assert '"result": "delivered"' in service.log.read_text()
    with token_api(tmp_path, livekit.url, database_url=url, TOKEN_API_WEBHOOK_ALLOW=ALLOWED) as again:
        (endpoint,) = again.call("GET", "/webhook-endpoints")["items"]
        (delivery,) = again.call("GET", f"/webhook-endpoints/{endpoint['id']}/deliveries")["items"]
        assert (delivery["state"], delivery["attempts"]) == ("delivered", 1)
    assert len(receiver.messages) == 1


def _listens(service: Service) -> bool:
    try:
        httpx.get(f"{service.url}/healthz", trust_env=False, timeout=2)
    except httpx.TransportError:
        return False
    return True
