"""Our own events on their way to the host application, as it sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from standardwebhooks import Webhook

from tests.unit.token_api.api import Api, problem
from tests.unit.token_api.receiver import Message, Receiver, eventually, webhook_receiver
from token_api.database.tables import AuditEntry, WebhookDelivery, WebhookEndpoint
from token_api.delivery.client import Outcome
from token_api.domain.vocabulary import DeliveryState
from token_api.use_cases import deliveries, webhook_endpoints

ENDPOINTS = "/webhook-endpoints"


@pytest.fixture(autouse=True)
def loopback_is_allowed(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TOKEN_API_WEBHOOK_ALLOW", "127.0.0.0/8")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as made:
        yield made


async def endpoint(api: Api, receiver: Receiver, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = await api.call("POST", ENDPOINTS, json={"url": receiver.url, **fields}, status=201)
    return made


async def arrived(receiver: Receiver, count: int) -> list[Message]:
    await eventually(lambda: len(receiver.messages) >= count, f"{count} messages at the receiver")
    assert len(receiver.messages) == count
    return receiver.messages


async def all_deliveries(api: Api, made: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.call("GET", f"{ENDPOINTS}/{made['id']}/deliveries{query}"))[
        "items"
    ]
    return found


async def settled(api: Api, made: dict[str, Any], attempts: int) -> dict[str, Any]:
    """The one delivery, once the attempt of this number was written down."""

    async def is_written() -> bool:
        return [
            row.claimed_until is None
            for row in await api.rows(select(WebhookDelivery))
            if row.attempts == attempts
        ] == [True]

    await eventually(is_written, f"attempt {attempts} to be written down")
    (found,) = await all_deliveries(api, made)
    return found


def set_to_real_time(api: Api) -> None:
    """The verifier of signatures compares with the real clock, and the tests' own stands since they began."""
    api.clock.time = datetime.now(UTC).replace(microsecond=0)


def ring(api: Api) -> None:
    api.services.wakeups.outbox.set()


async def test_an_event_arrives_signed_and_says_what_happened(api: Api, receiver: Receiver) -> None:
    set_to_real_time(api)
    made = await endpoint(api, receiver, event_types=["stream.live"])
    stream_id = await api.live_stream()
    (message,) = await arrived(receiver, 1)
    content = Webhook(made["secret"]).verify(message.body, message.headers)
    assert content == {
        "type": "stream.live",
        "version": 1,
        "timestamp": api.clock.now().isoformat(),
        "data": {"stream_id": stream_id, "from": "draft", "status": "live", "version": 2},
    }
    found = await settled(api, made, 1)
    assert (found["state"], found["last_status"], found["last_error"]) == ("delivered", 204, None)
    assert found["message_id"] == message.id
    assert found["event_type"] == "stream.live"
    counted = (await api.client.get("/metrics")).text
    assert 'token_api_deliveries_total{outcome="delivered"} 1.0' in counted


async def test_every_event_goes_to_each_endpoint_that_wants_it_and_to_no_other(
    api: Api, receiver: Receiver
) -> None:
    everything = await endpoint(api, receiver)
    ended = await endpoint(api, receiver, event_types=["stream.ended", "stream.failed"])
    disabled = await endpoint(api, receiver)
    await api.call("PATCH", f"{ENDPOINTS}/{disabled['id']}", json={"enabled": False})
    stream_id = await api.live_stream()
    await api.call("POST", f"/streams/{stream_id}/end")

    async def are_delivered() -> bool:
        done = select(func.count()).select_from(WebhookDelivery)
        (count,) = await api.rows(done.where(WebhookDelivery.state == DeliveryState.DELIVERED))
        return bool(count == 4)

    await eventually(are_delivered, "4 deliveries")
    types: dict[str, list[str]] = {made["id"]: [] for made in (everything, ended, disabled)}
    for made_id, found in types.items():
        found += [one["event_type"] for one in await all_deliveries(api, {"id": made_id})]
    assert sorted(types[everything["id"]]) == ["stream.created", "stream.ended", "stream.live"]
    assert types[ended["id"]] == ["stream.ended"]
    assert types[disabled["id"]] == []
    assert len(receiver.messages) == 4


async def test_what_fails_is_tried_again_by_the_schedule_with_the_same_id(
    api: Api, receiver: Receiver
) -> None:
    made = await endpoint(api, receiver, event_types=["grant.created"])
    receiver.status = 500
    await api.grant("viewer", "space", "space")
    began = api.clock.now()
    for attempt, pause in enumerate(deliveries.SCHEDULE, start=1):
        found = await settled(api, made, attempt)
        assert (found["state"], found["last_status"]) == ("waiting", 500)
        wait = datetime.fromisoformat(found["next_attempt_at"]) - api.clock.now()
        assert pause <= wait <= pause * 1.2
        # Not a moment earlier.
        api.clock.advance(seconds=wait.total_seconds() - 1)
        assert await deliveries.endpoints_with_due(api.services) == []
        api.clock.advance(seconds=1)
        ring(api)
    found = await settled(api, made, len(deliveries.SCHEDULE) + 1)
    assert found["state"] == "given-up"
    assert timedelta(days=3) < api.clock.now() - began < timedelta(days=4)
    assert len(set(receiver.ids)) == 1
    assert len(receiver.messages) == len(deliveries.SCHEDULE) + 1


async def test_what_was_given_up_is_sent_again_when_asked_for(api: Api, receiver: Receiver) -> None:
    made = await endpoint(api, receiver, event_types=["grant.created"])
    await api.grant("viewer", "space", "space")
    first = await settled(api, made, 1)
    again = await api.call("POST", f"{ENDPOINTS}/{made['id']}/deliveries/{first['id']}/redeliver", status=202)
    assert (again["state"], again["message_id"]) == ("waiting", first["message_id"])
    await arrived(receiver, 2)
    assert len(set(receiver.ids)) == 1
    other = await endpoint(api, receiver, event_types=["stream.ended"])
    for wrong in (f"{other['id']}/deliveries/{first['id']}", f"{made['id']}/deliveries/{other['id']}"):
        response = await api.client.post(f"/v1{ENDPOINTS}/{wrong}/redeliver", headers=api.service())
        assert problem(response) == (404, "not-found")


async def test_an_endpoint_that_answers_410_is_disabled_until_it_is_enabled(
    api: Api, receiver: Receiver
) -> None:
    made = await endpoint(api, receiver, event_types=["grant.created"])
    receiver.status = 410
    await api.grant("viewer", "space", "space")
    assert (await settled(api, made, 1))["state"] == "given-up"
    path = f"{ENDPOINTS}/{made['id']}"
    found = await api.call("GET", path)
    assert (found["enabled"], found["disabled_reason"]) == (False, "gone")
    audited = await api.rows(select(AuditEntry.action))
    assert "webhook-endpoint.disabled" in audited
    receiver.status = 204
    await api.grant("viewer", "space", "other")
    # Who is enabled is looked at when an event is fanned out, which the worker may not have done yet.
    await deliveries.fan_out(api.services)
    found = await api.call("PATCH", path, json={"enabled": True})
    assert (found["enabled"], found["disabled_reason"], found["failing_since"]) == (True, None, None)
    # What happened while it was disabled was not for it.
    await api.grant("viewer", "space", "third")
    await arrived(receiver, 2)


async def test_an_endpoint_that_fails_for_five_days_is_disabled_and_keeps_what_waits(
    api: Api, receiver: Receiver
) -> None:
    made = await endpoint(api, receiver, event_types=["grant.created"])
    receiver.status = 503
    await api.grant("viewer", "space", "space")
    await settled(api, made, 1)
    path = f"{ENDPOINTS}/{made['id']}"
    assert (await api.call("GET", path))["failing_since"] is not None
    api.clock.advance(days=5)
    ring(api)
    await settled(api, made, 2)
    assert (await api.call("GET", path))["disabled_reason"] == "failing"
    receiver.status = 204
    api.clock.advance(days=1)
    await api.call("PATCH", path, json={"enabled": True})
    assert (await settled(api, made, 3))["state"] == "delivered"
    assert (await api.call("GET", path))["failing_since"] is None


@pytest.mark.parametrize(("status", "pause"), [(429, 7200), (503, 7200), (500, None), (503, 1)])
async def test_a_receiver_that_wants_a_pause_gets_it_from_all_events(
    api: Api, receiver: Receiver, status: int, pause: int | None
) -> None:
    made = await endpoint(api, receiver, event_types=["grant.created"])
    path = f"{ENDPOINTS}/{made['id']}"
    receiver.status, receiver.headers = status, {"Retry-After": str(pause or 7200)}
    await api.grant("viewer", "space", "space")
    found = await settled(api, made, 1)
    until = api.clock.now() + timedelta(seconds=pause) if pause else None
    shown = (await api.call("GET", path))["paused_until"]
    assert (datetime.fromisoformat(shown) if shown else None) == until
    # What it was about is not tried before the schedule says so, however short the pause is.
    next_at = datetime.fromisoformat(found["next_attempt_at"])
    assert next_at == until if pause == 7200 else next_at >= api.clock.now() + deliveries.SCHEDULE[0]
    if until is None:
        return
    receiver.status, receiver.headers = 204, {}
    await api.grant("viewer", "space", "other")
    await deliveries.fan_out(api.services)
    api.clock.advance(seconds=(pause or 0) - 0.5)
    assert await deliveries.endpoints_with_due(api.services) == []
    assert await deliveries.take(api.services, made["id"], 4) == []
    assert (await deliveries.waiting(api.services)).lag_seconds(api.clock.now()) == 0
    assert len(receiver.messages) == 1
    api.clock.advance(seconds=0.5)
    ring(api)
    await arrived(receiver, 3 if pause == 7200 else 2)


@pytest.mark.parametrize("change", [{"enabled": True}, {"url": "another"}])
async def test_a_pause_is_not_that_of_another_receiver(
    api: Api, receiver: Receiver, change: dict[str, Any]
) -> None:
    made = await endpoint(api, receiver, event_types=["grant.created"])
    receiver.status, receiver.headers = 503, {"Retry-After": "7200"}
    await api.grant("viewer", "space", "space")
    await settled(api, made, 1)
    receiver.status, receiver.headers = 204, {}
    await api.grant("viewer", "space", "other")
    await deliveries.fan_out(api.services)
    path = f"{ENDPOINTS}/{made['id']}"
    if "url" in change:
        change = {"url": f"{receiver.url}&other"}
    else:
        await api.call("PATCH", path, json={"enabled": False})
    found = await api.call("PATCH", path, json=change)
    assert (found["paused_until"], found["enabled"]) == (None, True)
    await arrived(receiver, 2)


async def test_both_secrets_sign_while_one_replaces_the_other(api: Api, receiver: Receiver) -> None:
    set_to_real_time(api)
    made = await endpoint(api, receiver, event_types=["grant.created"])
    path = f"{ENDPOINTS}/{made['id']}"
    rotated = await api.call("POST", f"{path}/rotate-secret", json={"both_for_seconds": 60})
    assert rotated["secret"] != made["secret"]
    await api.grant("viewer", "space", "space")
    (message,) = await arrived(receiver, 1)
    for secret in (made["secret"], rotated["secret"]):
        Webhook(secret).verify(message.body, message.headers)
    api.clock.advance(seconds=61)
    await api.grant("viewer", "space", "other")
    await arrived(receiver, 2)
    assert len(receiver.messages[1].headers["webhook-signature"].split()) == 1
    assert len(message.headers["webhook-signature"].split()) == 2


async def test_a_secret_is_shown_once(api: Api, receiver: Receiver) -> None:
    made = await endpoint(api, receiver)
    path = f"{ENDPOINTS}/{made['id']}"
    seen = [
        await api.call("GET", path),
        await api.call("GET", ENDPOINTS),
        await api.call("PATCH", path, json={"description": "ours"}),
    ]
    assert made["secret"].startswith("whsec_")
    assert "whsec_" not in json.dumps(seen)
    assert not any("whsec_" in details for details in await api.rows(select(AuditEntry.details)))


async def test_a_lease_that_ended_is_taken_over_and_a_late_failure_does_not_count(
    api: Api, receiver: Receiver
) -> None:
    made = await endpoint(api, receiver, event_types=["grant.created"])
    receiver.gate.clear()
    await api.grant("viewer", "space", "space")
    # Held by the worker, whose receiver does not answer.
    await arrived(receiver, 1)
    services = api.services
    assert await deliveries.take(services, made["id"], 4) == []
    api.clock.advance(seconds=deliveries.LEASE.total_seconds())
    (second,) = await deliveries.take(services, made["id"], 4)
    receiver.status = 500
    receiver.gate.set()
    await eventually(lambda: _sent(api) == 1, "the first attempt to end")
    (row,) = await api.rows(select(WebhookDelivery))
    assert (row.claimed_until, row.attempts, row.last_status) == (second.claimed_until, 2, None)
    assert await deliveries.settle(services, second, Outcome(204)) == "delivered"


def _sent(api: Api) -> float:
    text = api.services.metrics.render().decode()
    return sum(
        float(line.split()[-1]) for line in text.splitlines() if line.startswith("token_api_deliveries_total")
    )


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "http://hooks.test/"},
        {"url": "https://10.0.0.1/"},
        {"url": "https://169.254.169.254/latest"},
        {"url": "https://[::ffff:127.0.0.1]/"},
        {"url": "https://name-that-is-not.invalid/"},
        {"url": 5},
        {"url": "http://127.0.0.1:9/", "event_types": ["stream.invented"]},
        {"url": "http://127.0.0.1:9/", "secret": "whsec_mine"},
        {"url": "http://127.0.0.1:9/", "description": "a\x00b"},
    ],
)
async def test_what_is_no_endpoint_is_refused(api: Api, body: dict[str, Any]) -> None:
    response = await api.client.post(f"/v1{ENDPOINTS}", json=body, headers=api.service())
    assert problem(response) == (422, "validation")
    assert await api.rows(select(WebhookEndpoint)) == []


async def test_the_url_is_judged_when_changed_too(api: Api, receiver: Receiver) -> None:
    made = await endpoint(api, receiver)
    response = await api.client.patch(
        f"/v1{ENDPOINTS}/{made['id']}", json={"url": "https://10.0.0.1/"}, headers=api.service()
    )
    assert problem(response) == (422, "validation")
    assert (await api.call("GET", f"{ENDPOINTS}/{made['id']}"))["url"] == receiver.url


async def test_endpoints_are_the_host_applications_alone(api: Api, receiver: Receiver) -> None:
    made = await endpoint(api, receiver)
    for method, path in (("GET", ""), ("POST", ""), ("GET", f"/{made['id']}"), ("DELETE", f"/{made['id']}")):
        response = await api.client.request(method, f"/v1{ENDPOINTS}{path}", headers=api.user("creator"))
        assert problem(response) == (403, "role-forbidden")
    await api.call("DELETE", f"{ENDPOINTS}/{made['id']}", status=204)
    for path in (made["id"], "no-id", f"{made['id']}/deliveries"):
        response = await api.client.get(f"/v1{ENDPOINTS}/{path}", headers=api.service())
        assert problem(response) == (404, "not-found")


async def test_a_repeated_request_makes_one_endpoint_and_there_is_a_limit(
    api: Api, receiver: Receiver
) -> None:
    headers = {**api.service(), "Idempotency-Key": "the-same-key"}
    first, second = [
        await api.call("POST", ENDPOINTS, headers, json={"url": receiver.url}, status=201) for _ in range(2)
    ]
    assert first == second
    for _ in range(webhook_endpoints.MAX_ENDPOINTS - 1):
        await endpoint(api, receiver)
    response = await api.client.post(f"/v1{ENDPOINTS}", json={"url": receiver.url}, headers=api.service())
    assert problem(response) == (409, "conflict")
    pages, cursor = [], ""
    while True:
        page = await api.call("GET", f"{ENDPOINTS}?limit=7{cursor}")
        pages += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(set(pages)) == len(pages) == webhook_endpoints.MAX_ENDPOINTS
