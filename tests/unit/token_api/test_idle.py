"""What the background workers of an unused service ask the database, over a time that a test makes pass."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.event import listen

from tests.unit.token_api.api import START, FrozenClock
from tests.unit.token_api.livekit_double import LiveKitDouble
from token_api.app import create_app, workers
from token_api.database.tables import Outbox
from token_api.settings import load_settings
from token_api.use_cases.events import record
from token_api.use_cases.services import Services
from token_api.workers.loop import IDLE_SECONDS, Worker, do_round, pause_until
from token_api.workers.outbox import OutboxWorker

_MINUTE = 60.0


@dataclass(frozen=True)
class Idle:
    """A service that nobody uses, whose workers have a round when the test's time has come to it."""

    services: Services
    clock: FrozenClock
    workers: dict[str, Worker]
    transactions: Counter[str]
    # When the next round of each is.
    due: dict[str, datetime]

    async def pass_time(self, seconds: float) -> None:
        """Have each worker do its rounds, as the loop would, of which no bell rings."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while self.due[name := min(self.due, key=lambda worker: self.due[worker])] < end:
            self.clock.time = self.due[name]
            self.transactions["now"] = 0
            self.due[name] += timedelta(seconds=await do_round(self.workers[name]))
            self.transactions[name] += self.transactions.pop("now")
        self.clock.time = end


@pytest.fixture
async def idle(environment: pytest.MonkeyPatch, database: str, double: LiveKitDouble) -> AsyncIterator[Idle]:
    environment.setenv("TOKEN_API_DATABASE_URL", database)
    environment.setenv("LIVEKIT_URL", double.url)
    clock = FrozenClock()
    # Its loops are not started: the test itself does the rounds.
    state = create_app(load_settings(), clock=clock).state.token_api
    made = workers(state.services, OutboxWorker(state.services, state.delivery))
    found = Idle(
        state.services,
        clock,
        {worker.name: worker for worker in made},
        Counter(),
        {worker.name: clock.now() for worker in made},
    )
    listen(
        state.services.database.engine.sync_engine,
        "begin",
        lambda _connection: found.transactions.update(["now"]),
    )
    yield found
    for worker in made:
        if worker.close is not None:
            await worker.close()
    await state.services.livekit.aclose()
    await state.services.database.aclose()


async def test_an_unused_service_seldom_asks_its_database(idle: Idle) -> None:
    await idle.pass_time(_MINUTE)
    # The first round of each has more to do: it deletes what is old.
    idle.transactions.clear()
    minutes = 2
    await idle.pass_time(minutes * _MINUTE)
    a_minute = {name: count / minutes for name, count in idle.transactions.items()}
    # By the interval of each: one query in each look.
    assert a_minute.pop("watch") <= 40
    assert a_minute.pop("outbox") <= 6.1
    assert a_minute.pop("inbox") <= 6.1
    assert a_minute.pop("chat") <= 6.1
    assert a_minute.pop("auto-recordings") <= 6.1
    # Those that compare with LiveKit do so by their setting.
    assert a_minute.keys() == {"reconciler", "recordings"}
    assert sum(a_minute.values()) <= 30


async def test_what_another_replica_left_behind_is_found_in_time(idle: Idle) -> None:
    # A round is a moment ago.
    await idle.pass_time(_MINUTE + 0.1)
    async with idle.services.database.begin() as transaction:
        record(transaction, now=idle.clock.now(), actor="test", action="a", event_type="stream.created")
    # Another replica's bell, which nobody here hears.
    idle.services.wakeups.outbox.clear()
    await idle.pass_time(10)
    async with idle.services.database.read() as transaction:
        assert await transaction.scalar(select(Outbox.fanned_out_at)) is not None


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [(None, IDLE_SECONDS), (-5.0, 2.0), (0.0, 2.0), (2.5, 2.5), (3600.0, IDLE_SECONDS)],
)
def test_a_pause_is_until_something_is_due(moment: float | None, seconds: float) -> None:
    due = START + timedelta(seconds=moment) if moment is not None else None
    assert pause_until(due, START, at_least=2.0) == seconds


async def test_a_worker_that_fails_is_tried_again_as_usual() -> None:
    async def fail() -> float:
        raise RuntimeError("the database is away")

    assert await do_round(Worker("test", fail, asyncio.Event(), 3.0)) == 3.0
