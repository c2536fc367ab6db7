"""Many at once, by real requests: to one process on SQLite, and spread over two that share PostgreSQL.

Within one process locks of its own help; between two only what the database holds does.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from tests.token_api.clients import eventually
from tests.token_api.postgres import new_database
from tests.token_api.service import Service, token_api
from tests.unit.token_api.livekit_double import LiveKitDouble, livekit_double
from tests.unit.token_api.receiver import Receiver, webhook_receiver
from tests.unit.token_api.support import AUTHORIZED, sign
from tests.unit.token_api.test_inbox import visit

AT_ONCE = 50
_SETTLED_SECONDS = 60.0


@dataclass(frozen=True)
class Replicas:
    """Processes on one database, LiveKit's double behind them, and who is told of what happened."""

    services: Sequence[Service]
    livekit: LiveKitDouble
    receiver: Receiver
    secret: str

    @property
    def one(self) -> Service:
        """Any of them, where it does not matter which."""
        return self.services[0]

    async def all_at_once(
        self, count: int, request: Callable[[int], tuple[str, str, dict[str, Any]]]
    ) -> list[httpx.Response]:
        """Send `count` requests at once, in turn to each replica: method, path below /v1, arguments."""
        limits = httpx.Limits(max_connections=count)
        async with httpx.AsyncClient(trust_env=False, timeout=60, limits=limits) as client:
            calls = []
            for number in range(count):
                method, path, arguments = request(number)
                url = self.services[number % len(self.services)].url
                calls.append(client.request(method, f"{url}/v1{path}", **arguments))
            return await asyncio.gather(*calls)

    def told(self, event_type: str) -> list[dict[str, Any]]:
        """What the host application was told, each event once, whatever the attempts."""
        bodies = {}
        for message in list(self.receiver.messages):
            Webhook(self.secret).verify(message.body, message.headers)
            bodies[message.id] = json.loads(message.body)
        return [body["data"] for body in bodies.values() if body["type"] == event_type]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def replicas(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """SQLite has one process, PostgreSQL two."""
    directory: Path = tmp_path_factory.mktemp("replicas")
    with ExitStack() as stack:
        url = stack.enter_context(new_database(request.param, lambda: request.getfixturevalue("postgres")))
        livekit = stack.enter_context(livekit_double())
        receiver = stack.enter_context(webhook_receiver())
        services = [
            stack.enter_context(
                token_api(
                    directory,
                    livekit.url,
                    database_url=url,
                    TOKEN_API_WEBHOOK_ALLOW="127.0.0.0/8",
                    # Nobody is really in these rooms: the reconciler would say that all have left.
                    TOKEN_API_RECONCILE_SECONDS="300",
                )
            )
            for _ in range(1 if request.param == "sqlite" else 2)
        ]
        types = ["stream.live", "participant.joined", "participant.left"]
        endpoint = services[0].call(
            "POST", "/webhook-endpoints", status=201, json={"url": receiver.url, "event_types": types}
        )
        yield Replicas(services, livekit, receiver, endpoint["secret"])


def _draft(service: Service, **fields: Any) -> str:
    wanted = {"title": "A stream", "owner_id": "creator", "space_id": "space", **fields}
    return str(service.call("POST", "/streams", json=wanted, status=201)["id"])


async def test_fifty_go_live_at_once_and_there_is_one_room(replicas: Replicas) -> None:
    stream_id = _draft(replicas.one)
    answers = await replicas.all_at_once(
        AT_ONCE, lambda _: ("POST", f"/streams/{stream_id}/go-live", {"headers": AUTHORIZED})
    )
    assert Counter(answer.status_code for answer in answers) == {200: AT_ONCE}
    live = answers[0].json()
    assert all(answer.json() == live for answer in answers)
    assert [name for name in replicas.livekit.rooms if stream_id in name] == [live["room_name"]]

    def told() -> list[dict[str, Any]]:
        return [data for data in replicas.told("stream.live") if data["stream_id"] == stream_id]

    await eventually(told, "the host application to be told")
    # Then the other replica has also had its turn at the outbox.
    await eventually(lambda: _nothing_waits(replicas), "every delivery to be done")
    assert len(told()) == 1


def _nothing_waits(replicas: Replicas) -> bool:
    """Whether the newest hundred deliveries are all done."""
    service = replicas.one
    (endpoint,) = service.call("GET", "/webhook-endpoints")["items"]
    newest = service.call("GET", f"/webhook-endpoints/{endpoint['id']}/deliveries?limit=100")["items"]
    return {delivery["state"] for delivery in newest} == {"delivered"}


async def test_fifty_want_the_last_seats_and_as_many_get_one_as_there_are(replicas: Replicas) -> None:
    seats = 3
    stream_id = replicas.one.live_stream(capacity=seats)["id"]
    replicas.one.call(
        "POST",
        "/access-grants",
        status=201,
        json={"user_id": "late", "scope": "stream", "scope_id": stream_id},
    )
    grants = [
        {"user_id": f"viewer-{number}", "scope": "stream", "scope_id": stream_id} for number in range(AT_ONCE)
    ]
    made = await replicas.all_at_once(
        AT_ONCE, lambda number: ("POST", "/access-grants", {"headers": AUTHORIZED, "json": grants[number]})
    )
    assert Counter(answer.status_code for answer in made) == {201: AT_ONCE}
    token = f"/streams/{stream_id}/video-token"
    answers = await replicas.all_at_once(
        AT_ONCE,
        lambda number: ("POST", token, {"headers": replicas.one.user(f"viewer-{number}")}),
    )
    assert Counter(answer.status_code for answer in answers) == {201: seats, 409: AT_ONCE - seats}
    refused = [answer for answer in answers if answer.status_code == 409]
    assert all(answer.json()["type"].endswith(":room-full") for answer in refused)
    # Those who have one keep it, whichever replica they ask; nobody else gets in.
    kept = [answer.json()["identity"].removeprefix("u:") for answer in answers if answer.status_code == 201]
    again = await replicas.all_at_once(
        2 * seats,
        lambda number: ("POST", token, {"headers": replicas.one.user(kept[number // 2])}),
    )
    assert Counter(answer.status_code for answer in again) == {201: 2 * seats}
    late = replicas.one.ask("POST", token, replicas.one.user("late"))
    assert late.status_code == 409


async def test_a_storm_of_webhooks_leaves_each_effect_once(replicas: Replicas) -> None:
    people, visits = 8, 4
    stream = replicas.one.live_stream()
    room = stream["room_name"]
    for number in range(people):
        replicas.one.grant(f"v{number}", stream["id"])
    tokens = await replicas.all_at_once(
        people,
        lambda number: (
            "POST",
            f"/streams/{stream['id']}/video-token",
            {"headers": replicas.one.user(f"v{number}")},
        ),
    )
    assert Counter(answer.status_code for answer in tokens) == {201: people}
    storm: list[dict[str, Any]] = []
    for person in range(people):
        for number in range(visits):
            joined = number * 20.0
            storm += visit(room, f"u:v{person}", f"PA_{person}_{number}", joined, joined + person + 1)
    distinct = len(storm)
    storm *= 3
    random.Random(3).shuffle(storm)  # noqa: S311 (the same each time)

    def event(number: int) -> tuple[str, str, dict[str, Any]]:
        body = json.dumps(storm[number]).encode()
        return "POST", "/webhooks/livekit", {"content": body, "headers": {"Authorization": sign(body)}}

    answers = await replicas.all_at_once(len(storm), event)
    assert Counter(answer.status_code for answer in answers) == {200: len(storm)}

    def told(kind: str) -> Counter[str]:
        return Counter(data["visit_id"] for data in replicas.told(kind) if data["stream_id"] == stream["id"])

    def all_told() -> bool:
        return len(told("participant.joined")) + len(told("participant.left")) == distinct

    await eventually(all_told, "every coming and leaving to be told", within=_SETTLED_SECONDS)
    await eventually(lambda: _nothing_waits(replicas), "every delivery to be done")
    for kind in ("participant.joined", "participant.left"):
        assert set(told(kind).values()) == {1}
    found = replicas.one.call("GET", f"/streams/{stream['id']}/analytics")
    assert (found["unique_viewers"], found["peak_viewers"]) == (people, people)
    # LiveKit tells of a leaving by its whole second.
    told_seconds = visits * sum(range(1, people + 1))
    assert told_seconds <= found["watch_seconds"] <= told_seconds + visits * people
    assert found["sessions"][0]["viewers_now"] == 0
