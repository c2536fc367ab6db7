"""Two processes on one PostgreSQL: one leads, either is enough, and a killed one leaves nothing undone."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from livekit.protocol import room as proto_room

from common.waiting import wait_until
from tests.ports import free_port
from tests.support.speed import scaled
from tests.token_api.clients import client, comes_back_for_a_moment, eventually
from tests.token_api.livekit_server import LiveKitServer, livekit_server
from tests.token_api.postgres import Postgres
from tests.token_api.service import WEBHOOK_PATH, Service, token_api
from tests.unit.token_api.livekit_double import LiveKitDouble, livekit_double

# From what happens to the way out, without LiveKit's webhook: the watch comes every 1.5 s.
_SOON = 4.0
# PostgreSQL sees a killed client's connection end at once; the next round of the other takes the lock.
_TAKEN_OVER = 20.0
_STRAY = f"stream_{'0' * 8}-0000-4000-8000-{{:012}}_{'0' * 12}"


@dataclass(frozen=True)
class Pair:
    """Two processes, each with its part of the callers."""

    first: Service
    second: Service

    def rounds(self) -> tuple[float, float]:
        """How many whole rounds each has made."""
        first, second = (
            service.metric("token_api_reconciler_runs_total", outcome="done")
            for service in (self.first, self.second)
        )
        return first, second

    def leader(self) -> tuple[Service, Service]:
        """The one that leads, and the other."""
        wait_until(
            lambda: any(self.rounds()),
            timeout=scaled(_TAKEN_OVER),
            describe="one of them to lead",
            interval=0.2,
        )
        return (self.first, self.second) if self.rounds()[0] else (self.second, self.first)


def _pair(
    stack: ExitStack, directory: Path, postgres: Postgres, livekit_url: str, first_port: int | None = None
) -> Pair:
    url = postgres.new_database()
    stack.callback(postgres.drop, url)
    first, second = (
        stack.enter_context(
            token_api(directory, livekit_url, port=port, database_url=url, TOKEN_API_RECONCILE_SECONDS="1")
        )
        for port in (first_port, None)
    )
    return Pair(first, second)


@pytest.fixture
def double() -> Iterator[LiveKitDouble]:
    with livekit_double() as made:
        yield made


@pytest.fixture
def pair(tmp_path: Path, postgres: Postgres, double: LiveKitDouble) -> Iterator[Pair]:
    with ExitStack() as stack:
        yield _pair(stack, tmp_path, postgres, double.url)


def _stray(double: LiveKitDouble, number: int) -> str:
    """A room of ours that no session knows."""
    name = _STRAY.format(number)
    double.room_create(proto_room.CreateRoomRequest(name=name))
    return name


def test_one_of_them_reconciles_and_when_it_is_killed_the_other(pair: Pair, double: LiveKitDouble) -> None:
    leader, other = pair.leader()
    stray = _stray(double, 1)
    wait_until(
        lambda: stray not in double.rooms, timeout=scaled(20), describe="the stray room to go", interval=0.1
    )
    begun = leader.metric("token_api_reconciler_runs_total", outcome="done")
    wait_until(
        lambda: leader.metric("token_api_reconciler_runs_total", outcome="done") > begun + 2,
        timeout=scaled(20),
        describe="three more rounds",
        interval=0.2,
    )
    assert other.metric("token_api_reconciler_runs_total", outcome="done") == 0
    # One asked for it to be removed, once.
    assert Counter(double.calls)["DeleteRoom"] == 1
    healed = {"kind": "room-without-session"}
    assert leader.metric("token_api_reconciler_healings_total", **healed) == 1
    leader.stop(signal.SIGKILL)
    stray = _stray(double, 2)
    wait_until(
        lambda: stray not in double.rooms,
        timeout=scaled(_TAKEN_OVER),
        describe="the other to lead",
        interval=0.1,
    )
    # LiveKit has removed the room a moment before the service counts it.
    wait_until(
        lambda: other.metric("token_api_reconciler_healings_total", **healed) == 1,
        timeout=scaled(20),
        describe="the other to count what it healed",
        interval=0.1,
    )
    assert Counter(double.calls)["DeleteRoom"] == 2


def test_one_that_is_told_to_stop_hands_over_at_once(pair: Pair, double: LiveKitDouble) -> None:
    leader, other = pair.leader()
    assert leader.stop() == 0
    begun = time.monotonic()
    stray = _stray(double, 3)
    wait_until(
        lambda: stray not in double.rooms,
        timeout=scaled(_TAKEN_OVER),
        describe="the other to lead",
        interval=0.1,
    )
    wait_until(
        lambda: other.metric("token_api_reconciler_runs_total", outcome="done") >= 1,
        timeout=scaled(_TAKEN_OVER),
        describe="its round to end",
        interval=0.1,
    )
    # A round of the other's, and a busy machine.
    assert time.monotonic() - begun < scaled(10)


@pytest.fixture
def livekit_and_pair(
    tmp_path: Path, postgres: Postgres, redis_port: int
) -> Iterator[tuple[LiveKitServer, Pair]]:
    """A real LiveKit, whose events go to the first of the two alone, as a Service sends each to one."""
    port = free_port()
    webhook_url = f"http://127.0.0.1:{port}{WEBHOOK_PATH}"
    with ExitStack() as stack:
        livekit = stack.enter_context(
            livekit_server(tmp_path, redis_port=redis_port, webhook_url=webhook_url)
        )
        yield livekit, _pair(stack, tmp_path, postgres, livekit.url, port)


def _viewers(service: Service, stream_id: str) -> int:
    info = service.call("GET", f"/streams/{stream_id}/stream-info", service.user("creator"))
    return int(info["viewer_count"])


async def test_what_one_changes_the_other_enforces_and_goes_on_when_it_is_alone(
    livekit_and_pair: tuple[LiveKitServer, Pair],
) -> None:
    """In one test, for in the end there is one of them only."""
    livekit, pair = livekit_and_pair
    told, untold = pair.first, pair.second
    stream_id = told.live_stream()["id"]
    for user_id in ("banned", "cancelled"):
        told.grant(user_id, stream_id)
    tokens = {user_id: told.token(user_id, stream_id) for user_id in ("banned", "cancelled")}
    async with (
        client(livekit.url, tokens["banned"]) as banned,
        client(livekit.url, tokens["cancelled"]) as cancelled,
    ):
        await eventually(lambda: _viewers(untold, stream_id) == 2, "the other to know of both")
        bans = f"/streams/{stream_id}/bans"
        untold.call("POST", bans, status=201, json={"user_id": "banned"})
        await banned.put_out(within=_SOON)
        grants = untold.call("GET", "/access-grants?user_id=cancelled")["items"]
        untold.call("POST", f"/access-grants/{grants[0]['id']}/cancel")
        await cancelled.put_out(within=_SOON)
    for user_id, token in tokens.items():
        await comes_back_for_a_moment(
            livekit.url, token, lambda: _viewers(untold, stream_id) == 0, within=_SOON
        )
        refused = told.ask("POST", f"/streams/{stream_id}/video-token", told.user(user_id))
        assert refused.status_code == 403
    # LiveKit's events are lost from now on, and so is whatever the first held: perhaps the lead.
    told.stop(signal.SIGKILL)
    ends = datetime.now(UTC) + timedelta(seconds=6)
    untold.grant("expires", stream_id, expires_at=ends.isoformat())
    token = untold.token("expires", stream_id)
    async with client(livekit.url, token) as viewer:
        await eventually(lambda: viewer.refreshed, "a refreshed token")
        await eventually(
            lambda: _viewers(untold, stream_id) == 1, "the viewer to be known", within=_TAKEN_OVER
        )
        await viewer.put_out(within=6 + _SOON)
        assert datetime.now(UTC) >= ends
        assert viewer.refreshed
        await comes_back_for_a_moment(
            livekit.url, viewer.refreshed, lambda: _viewers(untold, stream_id) == 0, within=_SOON
        )
    assert untold.metric("token_api_ejections_total", reason="grant-expired") >= 1
