"""An hour of a thousand viewers: its figures are read as fast as an empty stream's, and delay no token."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import uvloop
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from tests.token_api.benchmark import due, load, milliseconds, request
from tests.token_api.postgres import DatabaseKind, Postgres, new_database
from tests.token_api.service import Service, token_api
from tests.unit.token_api.livekit_double import livekit_double
from tests.unit.token_api.support import AUTHORIZED
from token_api.database.engine import Database
from token_api.database.tables import Participant, StreamSession
from token_api.domain.roles import StreamRole
from token_api.recent import FRESH_SECONDS
from token_api.use_cases import telemetry, visits
from token_api.use_cases.telemetry import Sample
from token_api.use_cases.visits import Sighting

_VIEWERS = 1000
# One in ten seconds, for an hour.
_SAMPLES = 360
_READERS = 12
# The mission's.
_TOKENS_PER_SECOND = 100
_CONNECTIONS = 16
_SECONDS = 8.0
_READ_SECONDS = 15.0
_TURNS = 3
# Samples of so many viewers are counted at once, to save time: the counts are the same.
_VIEWERS_AT_ONCE = 50
_MOST_TIMES_AN_EMPTY_STREAM = 3.0
_MOST_TIMES_WITHOUT_READERS = 1.5
# Ratios of times: other tests beside these would change them.
pytestmark = [pytest.mark.long, pytest.mark.alone]


@dataclass(frozen=True)
class Streams:
    """A service with two streams that are live: one with the viewers, one without."""

    service: Service
    full: str
    empty: str

    def read(self, stream_id: str) -> bytes:
        return request(self.service, "GET", f"/streams/{stream_id}/analytics", AUTHORIZED)

    def ask_for_token(self) -> bytes:
        headers = {**AUTHORIZED, "X-On-Behalf-Of": "buyer"}
        return request(self.service, "POST", f"/streams/{self.full}/video-token", headers)

    def times(
        self, what: Sequence[bytes], connections: int, rate: float | None, seconds: float
    ) -> Coroutine[None, None, list[float]]:
        """Seconds of each answer. Raises RuntimeError for one that is no success."""
        return load([(self.service.url, what)], connections, due(rate, seconds))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def streams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Streams]:
    directory: Path = tmp_path_factory.mktemp("many-viewers")
    kind: DatabaseKind = request.param
    postgres: Callable[[], Postgres] = lambda: request.getfixturevalue("postgres")  # noqa: E731
    with (
        new_database(kind, postgres, migrated=True) as url,
        livekit_double() as double,
        token_api(directory, double.url, database_url=url, TOKEN_API_RECONCILE_SECONDS="300") as service,
    ):
        full, empty = (service.live_stream()["id"] for _ in range(2))
        service.grant("buyer", full)
        asyncio.run(_watch(url, full))
        yield Streams(service, full, empty)


async def _watch(url: str, stream_id: str) -> None:
    """Have viewers come, tell what they see, and go, by the service's own code: HTTP would take an hour."""
    random_of = random.Random(1)  # noqa: S311
    database = Database(url)
    async with database.begin() as transaction:
        session = await transaction.scalar(select(StreamSession).where(StreamSession.stream_id == stream_id))
        assert session is not None
        session.requested_at -= timedelta(hours=1)
    for start in range(0, _VIEWERS, _VIEWERS_AT_ONCE):
        async with database.begin() as transaction:
            for number in range(start, start + _VIEWERS_AT_ONCE):
                joined = session.requested_at + timedelta(seconds=random_of.uniform(0, 1800))
                left = joined + timedelta(seconds=random_of.uniform(60, 1800))
                await _come_and_go(transaction, session, number, joined, left)
            samples = [_sample(random_of) for _ in range(_VIEWERS_AT_ONCE * _SAMPLES)]
            await telemetry.count(transaction, session.id, samples)
    await database.aclose()


async def _come_and_go(
    transaction: AsyncSession, session: StreamSession, number: int, joined: datetime, left: datetime
) -> None:
    participant = Participant(
        session_id=session.id,
        identity=f"u:v{number}",
        user_id=f"v{number}",
        role=StreamRole.VIEWER,
        reserved_until=joined,
        first_issued_at=joined,
    )
    transaction.add(participant)
    await transaction.flush()
    for end in (None, left):
        seen = Sighting(f"u:v{number}", f"PA_{number}", joined, end)
        await visits.see(transaction, session, seen, now=left, actor="test")


def _sample(random_of: random.Random) -> Sample:
    return Sample(
        rtt_ms=int(random_of.lognormvariate(4, 0.7)),
        loss_permille=random_of.randrange(30),
        freezes=random_of.randrange(3),
        freeze_ms=random_of.randrange(2000),
        bitrate_kbps=random_of.randrange(200, 4000),
        frames_per_second=random_of.randrange(10, 31),
        frame_height=random_of.choice([180, 360, 720]),
    )


def test_figures_of_many_viewers_are_read_as_fast_as_of_none(
    streams: Streams, record_property: Callable[[str, object], None]
) -> None:
    found = streams.service.call("GET", f"/streams/{streams.full}/analytics")
    [session] = found["sessions"]
    assert found["unique_viewers"] == _VIEWERS
    assert len(session["viewers"]) > 100
    assert session["quality"]["rtt_ms"]["samples"] == _VIEWERS * _SAMPLES
    # In turns, and seldom enough that each answer is made anew.
    reads = [streams.read(streams.full), streams.read(streams.empty)]
    rate = len(reads) * 0.9 / FRESH_SECONDS
    times = uvloop.run(streams.times(reads, 1, rate, _READ_SECONDS))
    full, empty = (milliseconds(sorted(times[number::2]), 0.5) for number in range(2))
    record_property("full_ms", full)
    record_property("empty_ms", empty)
    assert full <= _MOST_TIMES_AN_EMPTY_STREAM * empty, f"{full} ms of many viewers, {empty} ms of none"


def test_readers_delay_no_token(streams: Streams, record_property: Callable[[str, object], None]) -> None:
    without, beside = [], []
    for _ in range(_TURNS):
        without.append(_p99(uvloop.run(_tokens(streams, readers_per_second=0))))
        beside.append(_p99(uvloop.run(_tokens(streams, readers_per_second=_READERS))))
    # The median of the turns: a stall of the machine in one of them does not count.
    before, after = statistics.median(without), statistics.median(beside)
    record_property("p99_ms_without_readers", before)
    record_property("p99_ms_beside_readers", after)
    assert after <= _MOST_TIMES_WITHOUT_READERS * before, f"99 of 100: {before} ms, beside readers {after} ms"


def _p99(times: Sequence[float]) -> float:
    return milliseconds(sorted(times), 0.99)


def test_readers_that_ask_as_fast_as_they_can_keep_no_token_from_being_issued(streams: Streams) -> None:
    # Each answer that is no success raises.
    assert len(uvloop.run(_tokens(streams, readers_per_second=None))) > _SECONDS


async def _tokens(streams: Streams, *, readers_per_second: float | None) -> Sequence[float]:
    """How long tokens take, while readers ask. None: each asks again at once."""
    tokens = streams.times([streams.ask_for_token()], _CONNECTIONS, _TOKENS_PER_SECOND, _SECONDS)
    if readers_per_second == 0:
        return await tokens
    reading = streams.times([streams.read(streams.full)], _READERS, readers_per_second, _SECONDS)
    found, _ = await asyncio.gather(tokens, reading)
    return found
