"""Seats that are limited are taken in turn: who waits for one holds no connection to the database."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tests.token_api.postgres import DatabaseKind
from tests.unit.token_api.api import Api
from tests.unit.token_api.receiver import eventually
from token_api.database.engine import reserved_connections
from token_api.database.tables import Participant, StreamSession
from token_api.domain.roles import StreamRole
from token_api.problems import Kind, ProblemError
from token_api.use_cases import seats
from token_api.use_cases.standing import find_stream

_SEATS = 5
# The test's, that of the one whose turn it is, and those of the service's workers.
_IN_USE = 4


@dataclass
class Asking:
    """One who asks for a seat of a stream, and what they were told: whether it was their turn."""

    api: Api
    stream_id: str
    name: str
    told: list[bool] = field(default_factory=list)

    async def __call__(self, is_turn: bool) -> str:
        self.told.append(is_turn)
        services = self.api.services
        async with services.database.begin() as transaction:
            now = services.clock.now()
            stream, session = await find_stream(transaction, self.stream_id)
            assert session is not None
            await seats.take(
                transaction,
                stream,
                session,
                identity=f"u:{self.name}",
                user_id=self.name,
                name=self.name,
                role=StreamRole.VIEWER,
                until=now + timedelta(minutes=10),
                now=now,
                is_turn=is_turn,
            )
        return self.name

    async def asks(self) -> str:
        return await seats.in_turn(self.api.services, self.stream_id, self)


def asking(api: Api, stream_id: str, count: int) -> list[Asking]:
    return [Asking(api, stream_id, f"viewer-{number}") for number in range(count)]


class TestOnPostgres:
    """SQLite has no locks of rows."""

    @pytest.fixture
    def database_kind(self) -> DatabaseKind:
        return "postgresql"

    async def test_who_waits_for_a_seat_holds_no_connection(self, api: Api) -> None:
        stream_id = await api.live_stream(capacity=_SEATS)
        viewers = asking(api, stream_id, 20)
        database = api.services.database
        async with database.begin() as transaction:
            # As a transaction of another replica does.
            row = select(StreamSession.id).where(StreamSession.stream_id == stream_id)
            await transaction.execute(row.with_for_update())
            with reserved_connections():
                tasks = [asyncio.create_task(viewer.asks()) for viewer in viewers]
            await eventually(lambda: any(True in viewer.told for viewer in viewers), "one to have its turn")
            await eventually(lambda: all(viewer.told for viewer in viewers), "all to ask")
            await eventually(lambda: database.connections_in_use() <= _IN_USE, "the others to let go")
            assert sum(True in viewer.told for viewer in viewers) == 1
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, ProblemError)]
        assert [answer.kind for answer in refused] == [Kind.ROOM_FULL] * 15
        assert len(await api.rows(select(Participant))) == _SEATS


async def test_where_seats_are_not_limited_nobody_waits_for_a_turn(api: Api) -> None:
    stream_id = await api.live_stream()
    viewers = asking(api, stream_id, 3)
    async with api.services.locks.hold(f"seats {stream_id}"):
        assert await asyncio.gather(*(viewer.asks() for viewer in viewers)) == [
            viewer.name for viewer in viewers
        ]
    assert [viewer.told for viewer in viewers] == [[False]] * 3


async def test_a_turn_that_does_not_come_in_time_is_an_outage(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seats, "POOL_SECONDS", 0.1)
    stream_id = await api.live_stream(capacity=_SEATS)
    (viewer,) = asking(api, stream_id, 1)
    async with api.services.locks.hold(f"seats {stream_id}"):
        with pytest.raises(PoolTimeout):
            await viewer.asks()
    assert await viewer.asks() == viewer.name


async def test_a_seat_counts_once_whether_its_holder_is_in_has_a_token_or_both(api: Api) -> None:
    stream_id = await api.live_stream(capacity=3)
    (first, second, third, fourth) = asking(api, stream_id, 4)
    for viewer in (first, second):
        await viewer.asks()
    async with api.services.database.begin() as transaction:
        for row in await transaction.scalars(select(Participant)):
            row.joined_at = api.clock.now()
            if row.user_id == "viewer-0":
                row.reserved_until = api.clock.now()
    await third.asks()
    with pytest.raises(ProblemError, match="All 3 seats"):
        await fourth.asks()
    async with api.services.database.begin() as transaction:
        for row in await transaction.scalars(select(Participant).where(Participant.user_id == "viewer-2")):
            row.removed_at = api.clock.now()
    await fourth.asks()
    with pytest.raises(ProblemError, match="All 3 seats"):
        await third.asks()
