"""What Prometheus scrapes: the documented series with their labels, each of which moves."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from livekit.protocol import models as proto
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.token_api.api import Api
from tests.unit.token_api.livekit_double import TwirpError
from tests.unit.token_api.receiver import Receiver, eventually, webhook_receiver
from tests.unit.token_api.test_inbox import event, send
from tests.unit.token_api.test_moderation import admit
from token_api.use_cases import healing

_README = Path(__file__).parents[3] / "services" / "token-api" / "README.md"
_ROW = re.compile(r"^\| `(token_api_\w+)` \| (counter|gauge|histogram) \|(.*?)\| .+ \|$", re.MULTILINE)


@dataclass(frozen=True)
class Series:
    """A metric, as documented or as exposed."""

    kind: str
    labels: frozenset[str]


@pytest.fixture(autouse=True)
def no_round_but_the_tests_own(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TOKEN_API_RECONCILE_SECONDS", "300")
    environment.setenv("TOKEN_API_WEBHOOK_ALLOW", "127.0.0.0/8")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as made:
        yield made


def documented() -> dict[str, Series]:
    return {
        name: Series(kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in _ROW.findall(_README.read_text())
    }


async def scrape(api: Api) -> str:
    return (await api.client.get("/metrics")).text


def exposed(text: str) -> dict[str, Series]:
    """What a scrape has, by the names that one asks Prometheus for; of a histogram, the common one."""
    found = {}
    for family in text_string_to_metric_families(text):
        if family.name.endswith("_created"):
            # When each series began: the library's own.
            continue
        labels = frozenset(name for sample in family.samples for name in sample.labels if name != "le")
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = Series(family.type, labels)
    return found


def value(text: str, name: str, **labels: str) -> float:
    """One sample of a scrape; 0 where it is not there."""
    return next(
        (
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ),
        0.0,
    )


async def everything_happens(api: Api, receiver: Receiver) -> None:
    """One of each thing that is counted."""
    endpoint = {"url": receiver.url, "event_types": ["stream.live"]}
    await api.call("POST", "/webhook-endpoints", json=endpoint, status=201)
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "creator", grant=False)
    await admit(api, stream_id, "viewer")
    grant_id = await api.grant("late", "stream", stream_id)
    await api.call("POST", f"/access-grants/{grant_id}/cancel")
    await api.call("POST", f"/streams/{stream_id}/video-token", api.user("late"), 403)
    told = {"samples": [{"rtt_ms": 20}, {"rtt_ms": 30}], "join_failures": ["ice"]}
    await api.call("POST", f"/streams/{stream_id}/telemetry", api.user("viewer"), 204, json=told)
    message = f"/streams/{stream_id}/chat/messages"
    await api.call("POST", message, api.user("viewer"), 201, json={"text": "hello"})
    await send(api, event("room_started", room, 0))
    await api.call("POST", "/webhooks/livekit", {"Authorization": "forged"}, 401, content=b"{}")
    api.livekit.participants[room]["stranger"] = proto.ParticipantInfo(identity="stranger", sid="PA_stranger")
    del api.livekit.rooms[(await live_room(api)).name]
    await healing.heal(api.services)


async def live_room(api: Api) -> proto.Room:
    """The room of another stream, that its creator is in: it is made again when LiveKit loses it."""
    stream_id = await api.live_stream()
    return api.livekit.rooms[await admit(api, stream_id, "creator", grant=False)]


MOVED: list[tuple[str, dict[str, str], float]] = [
    ("token_api_tokens_total", {"role": "creator"}, 2),
    ("token_api_tokens_total", {"role": "viewer"}, 1),
    ("token_api_join_failures_total", {"reason": "grant-cancelled"}, 1),
    ("token_api_join_failures_total", {"reason": "client-ice"}, 1),
    ("token_api_quality_samples_total", {}, 2),
    ("token_api_chat_messages_total", {"role": "viewer"}, 1),
    ("token_api_chat_relays_total", {"outcome": "sent"}, 1),
    ("token_api_ejections_total", {"reason": "unknown-identity"}, 1),
    ("token_api_webhooks_total", {"event": "room_started"}, 1),
    ("token_api_webhooks_refused_total", {"reason": "malformed"}, 1),
    ("token_api_inbox_events_total", {"outcome": "processed"}, 1),
    ("token_api_deliveries_total", {"outcome": "delivered"}, 2),
    ("token_api_reconciler_runs_total", {"outcome": "done"}, 1),
    ("token_api_reconciler_seconds_count", {}, 1),
    ("token_api_reconciler_healings_total", {"kind": "room-recreated"}, 1),
    ("token_api_problems_total", {"kind": "grant-cancelled"}, 1),
    ("token_api_problems_total", {"kind": "unauthenticated"}, 1),
    (
        "token_api_request_seconds_count",
        {"method": "POST", "route": "/v1/streams/{stream_id}/video-token", "status": "201"},
        3,
    ),
    (
        "token_api_request_seconds_count",
        {"method": "POST", "route": "/v1/streams/{stream_id}/video-token", "status": "403"},
        1,
    ),
]


async def test_every_documented_series_is_exposed_with_its_labels_and_moves(
    api: Api, receiver: Receiver
) -> None:
    await everything_happens(api, receiver)

    async def all_moved() -> bool:
        text = await scrape(api)
        return all(value(text, name, **labels) >= wanted for name, labels, wanted in MOVED)

    try:
        # The inbox, the outbox and the relay work beside the requests.
        await eventually(all_moved, "every series to have moved")
    finally:
        text = await scrape(api)
        still = [(name, labels) for name, labels, wanted in MOVED if value(text, name, **labels) != wanted]
        assert still == [], text
    assert exposed(text) == documented()


async def test_every_request_that_ends_in_a_problem_is_counted_wherever_it_is_refused(api: Api) -> None:
    """Also what the layers around the application refuse, before a route is looked for."""
    calls = [
        ("not-found", "GET", "/v1/nothing", {}, b""),
        ("method-not-allowed", "PATCH", "/v1/token", {}, b""),
        ("unauthenticated", "GET", "/v1/streams", {"Authorization": "Bearer nobody"}, b""),
        ("origin-forbidden", "POST", "/v1/streams", {"Origin": "https://evil.test"}, b"{}"),
        ("content-too-large", "POST", "/v1/token", {}, b" " * 100_000),
    ]
    for kind, method, path, headers, content in calls:
        before = value(await scrape(api), "token_api_problems_total", kind=kind)
        response = await api.client.request(method, path, headers=headers, content=content)
        assert response.json()["type"].endswith(f":{kind}")
        assert value(await scrape(api), "token_api_problems_total", kind=kind) == before + 1, kind


async def test_requests_in_flight_and_connections_in_use_are_those_of_the_moment(api: Api) -> None:
    # The scrape itself is one.
    assert value(await scrape(api), "token_api_requests_in_flight") == 1
    async with api.services.database.read() as transaction:
        await transaction.connection()
        held = value(await scrape(api), "token_api_database_connections_in_use")
    assert held >= 1
    released, slow = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(method: str) -> None:
        if method == "CreateRoom":
            loop.call_soon_threadsafe(slow.set)
            asyncio.run_coroutine_threadsafe(released.wait(), loop).result(20)

    api.livekit.before = hold
    stream_id = await api.stream()
    waiting = asyncio.create_task(api.call("POST", f"/streams/{stream_id}/go-live"))
    try:
        async with asyncio.timeout(20):
            await slow.wait()
        assert value(await scrape(api), "token_api_requests_in_flight") == 2
    finally:
        released.set()
        await waiting
    assert value(await scrape(api), "token_api_requests_in_flight") == 1


async def test_the_lags_say_for_how_long_something_has_waited(api: Api, receiver: Receiver) -> None:
    receiver.status = 500
    endpoint = {"url": receiver.url, "event_types": ["stream.live"]}
    await api.call("POST", "/webhook-endpoints", json=endpoint, status=201)
    stream_id = await api.live_stream()
    room = (await api.call("GET", f"/streams/{stream_id}"))["room_name"]
    api.livekit.failing["ListRooms"] = TwirpError("unavailable", 503)
    del api.livekit.rooms[room]
    await send(api, event("room_finished", room, 0))

    async def failed_once() -> bool:
        text = await scrape(api)
        return (
            value(text, "token_api_deliveries_total", outcome="failed") == 1
            and value(text, "token_api_inbox_events_total", outcome="put-back") == 1
        )

    await eventually(failed_once, "one delivery and one event to have failed")
    receiver.gate.clear()
    # The pause before the second try is over by then.
    api.clock.advance(seconds=600)
    api.services.wakeups.inbox.set()
    api.services.wakeups.outbox.set()

    async def lags() -> bool:
        text = await scrape(api)
        waited = value(text, "token_api_inbox_lag_seconds"), value(text, "token_api_outbox_lag_seconds")
        # The second try must end before the clock advances, or its pause would begin after the advance.
        tried_twice = value(text, "token_api_inbox_events_total", outcome="put-back") == 2
        return tried_twice and waited[0] >= 600 and 500 < waited[1] <= 600

    await eventually(lags, "both to lag behind")
    receiver.status = 204
    receiver.gate.set()
    api.livekit.failing.clear()
    api.clock.advance(seconds=600)
    api.services.wakeups.inbox.set()
    api.services.wakeups.outbox.set()

    async def caught_up() -> bool:
        text = await scrape(api)
        return (
            value(text, "token_api_inbox_lag_seconds") == 0
            and value(text, "token_api_outbox_lag_seconds") == 0
        )

    await eventually(caught_up, "nothing to wait anymore")
