"""A request reads no rows that are over or belong to others: thousands of them cost as much as none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import create_engine, insert, text
from sqlalchemy.ext.asyncio import AsyncSession

from tests.token_api.postgres import DatabaseKind, new_database
from tests.token_api.reads import Ask, reads_of
from token_api.callers import ServiceCaller, UserCaller
from token_api.database.columns import Base, new_id
from token_api.database.engine import Database, database_url
from token_api.database.tables import AccessGrant, Ban, Participant, Stream, StreamSession, TeamMember
from token_api.domain.paging import Cursor
from token_api.domain.roles import StreamRole
from token_api.domain.vocabulary import GrantScope, SessionState, StreamKind, StreamStatus, TeamRole
from token_api.settings import Settings
from token_api.use_cases import bans, chat_bans, seats, streams
from token_api.use_cases.bans import NewBan
from token_api.use_cases.standing import find_stream, relation_of, relations_of, standing_of
from token_api.use_cases.streams import Filters

NOW = datetime.now(UTC).replace(microsecond=0)
HOST = ServiceCaller()
VIEWER = UserCaller("viewer")
_MANY = 5_000
# With fewer, PostgreSQL reads all streams, because that is faster.
_MANY_STREAMS = 20_000
_CAPACITY = 50
_MOST_TIMES = 3
# Fewer rows, or steps, say nothing: an index that grows has another level.
_AT_LEAST = {"postgresql": 10, "sqlite": 100}


def row(table: type[Base], **values: Any) -> tuple[type[Base], dict[str, Any]]:
    return table, values


Rows = Sequence[tuple[type[Base], dict[str, Any]]]


@dataclass(frozen=True)
class Data:
    """A database with one stream that is live, and what it has to read."""

    kind: DatabaseKind
    url: str
    database: Database
    stream_id: str
    session_id: str

    def add(self, rows: Rows) -> None:
        """Write rows, and have PostgreSQL tidy up, as it does by itself elsewhere."""
        by_table: dict[type[Base], list[dict[str, Any]]] = {}
        for table, values in rows:
            by_table.setdefault(table, []).append(values)
        engine = create_engine(database_url(self.url, driver=False))
        with engine.begin() as connection:
            for table, found in by_table.items():
                connection.execute(insert(table), found)
        if self.kind == "postgresql":
            with closing(engine.connect().execution_options(isolation_level="AUTOCOMMIT")) as connection:
                connection.execute(text("VACUUM ANALYZE"))
        engine.dispose()

    async def grows_by(self, rows: Rows, *asks: Ask) -> list[tuple[int, int]]:
        """What each of `asks` reads before `rows` are there, and after that."""
        before = [await reads_of(self.database, self.url, ask) for ask in asks]
        self.add(rows)
        after = [await reads_of(self.database, self.url, ask) for ask in asks]
        return list(zip(before, after, strict=True))

    def is_even(self, found: Sequence[tuple[int, int]]) -> bool:
        least = _AT_LEAST[self.kind]
        return all(after <= _MOST_TIMES * max(before, least) for before, after in found)


def stream(**values: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": new_id(),
        "kind": StreamKind.STREAM,
        "title": "A stream",
        "status": StreamStatus.DRAFT,
    }
    made |= {"owner_id": "creator", "space_id": "space", "created_at": NOW, "updated_at": NOW}
    return {**made, "experience_id": None, "capacity": None, **values}


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> DatabaseKind:
    found: DatabaseKind = request.param
    return found


@pytest.fixture
def url(request: pytest.FixtureRequest, kind: DatabaseKind) -> Iterator[str]:
    with new_database(kind, partial(request.getfixturevalue, "postgres"), migrated=True) as made:
        yield made


@pytest.fixture
async def data(kind: DatabaseKind, url: str) -> AsyncIterator[Data]:
    database = Database(url)
    live = stream(status=StreamStatus.LIVE, capacity=_CAPACITY)
    session_id = new_id()
    made = Data(kind, url, database, live["id"], session_id)
    session = row(
        StreamSession,
        id=session_id,
        stream_id=live["id"],
        room_name="room",
        state=SessionState.OPEN,
        requested_at=NOW,
    )
    made.add([(Stream, live), session, _grant(GrantScope.STREAM, live["id"])])
    yield made
    await database.aclose()


def _grant(scope: GrantScope, scope_id: str, user_id: str = "viewer") -> tuple[type[Base], dict[str, Any]]:
    return row(AccessGrant, id=new_id(), user_id=user_id, scope=scope, scope_id=scope_id, created_at=NOW)


class Bans:
    """Rows of bans, made one after the other, of the stream and of its space in turn."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._made = 0

    def of(
        self, user_id: str, *, until: timedelta | None = None, lifted: bool = False
    ) -> tuple[type[Base], dict[str, Any]]:
        self._made += 1
        of_stream = self._made % 2 == 0
        return row(
            Ban,
            id=new_id(),
            stream_id=self._data.stream_id if of_stream else None,
            space_id=None if of_stream else "space",
            user_id=user_id,
            banned_by="service",
            by_host=self._made % 4 < 2,
            created_at=NOW - timedelta(days=300) + timedelta(seconds=self._made),
            until=NOW + until if until is not None else None,
            lifted_at=NOW - timedelta(days=2) if lifted else None,
        )


def _past(made: Bans, user_id: Callable[[int], str]) -> Rows:
    half = range(_MANY // 2)
    lifted = [made.of(user_id(number), lifted=True) for number in half]
    return lifted + [made.of(user_id(number), until=-timedelta(days=3)) for number in half]


def _asks_about_viewer(data: Data) -> list[Ask]:
    async def one(transaction: AsyncSession) -> None:
        found, session = await find_stream(transaction, data.stream_id)
        await relation_of(transaction, found, session, "viewer", NOW)

    async def many(transaction: AsyncSession) -> None:
        found, session = await find_stream(transaction, data.stream_id)
        await relations_of(transaction, found, session, ["viewer", "another"], NOW)

    return [
        one,
        many,
        lambda transaction: standing_of(transaction, VIEWER, data.stream_id, NOW),
        lambda transaction: streams.page(transaction, VIEWER, Filters(), cursor=None, limit=50, now=NOW),
        lambda transaction: bans.ban(
            transaction, HOST, data.stream_id, NewBan("viewer", False, None, ""), NOW
        ),
    ]


async def test_past_bans_of_a_user_are_read_by_no_request_of_theirs(data: Data) -> None:
    found = await data.grows_by(_past(Bans(data), lambda _: "viewer"), *_asks_about_viewer(data))
    assert data.is_even(found), found


async def test_bans_of_others_are_read_by_no_request_of_a_user(data: Data) -> None:
    made = Bans(data)
    rows = [
        made.of(f"user-{number}", until=timedelta(days=1) if number % 3 else None) for number in range(_MANY)
    ]
    settings = cast(Settings, SimpleNamespace(chat_provider="getstream"))
    found = await data.grows_by(
        rows,
        *_asks_about_viewer(data),
        lambda transaction: chat_bans.on_user(transaction, settings, "viewer", "space", NOW),
    )
    assert data.is_even(found), found


async def test_a_page_of_bans_reads_neither_past_bans_nor_other_pages(data: Data) -> None:
    made = Bans(data)
    data.add([made.of(f"first-{number}") for number in range(200)])
    data.add([made.of(f"second-{number}", until=timedelta(days=1)) for number in range(50)])

    def page(cursor: Cursor | None) -> Ask:
        return lambda transaction: bans.page(transaction, HOST, data.stream_id, NOW, cursor=cursor, limit=50)

    rows = [
        *_past(made, lambda number: f"user-{number}"),
        *(made.of(f"banned-{number}") for number in range(_MANY)),
    ]
    middle = Cursor(NOW - timedelta(days=300) + timedelta(seconds=1.5 * _MANY), new_id())
    found = await data.grows_by(rows, page(None), page(middle))
    assert data.is_even(found), found


def _lists(data: Data, *filters: Filters) -> list[Ask]:
    def page(wanted: Filters, cursor: Cursor | None) -> Ask:
        return lambda transaction: streams.page(transaction, VIEWER, wanted, cursor=cursor, limit=50, now=NOW)

    middle = Cursor(NOW + timedelta(seconds=_MANY // 2), new_id())
    return [page(wanted, cursor) for wanted in filters for cursor in (None, middle)]


def _streams_of_viewer() -> Rows:
    """Ten streams by each of the ways in which a user may see one."""
    ways: tuple[dict[str, str], ...] = (
        {"owner_id": "viewer"},
        {"space_id": "of-team"},
        {"space_id": "of-grant"},
        {"experience_id": "bought"},
        {},
    )
    made = [stream(**{"space_id": f"space-{number}", **way}) for way in ways for number in range(10)]
    return [
        *((Stream, one) for one in made),
        *(_grant(GrantScope.STREAM, one["id"]) for one in made[-10:]),
        _grant(GrantScope.SPACE, "of-grant"),
        _grant(GrantScope.EXPERIENCE, "bought"),
        row(TeamMember, space_id="of-team", user_id="viewer", role=TeamRole.MODERATOR, created_at=NOW),
    ]


def _newer(**values: str) -> Rows:
    return [
        (Stream, stream(created_at=NOW + timedelta(seconds=number), **values))
        for number in range(_MANY_STREAMS)
    ]


async def test_a_list_of_streams_reads_no_streams_and_grants_of_others(data: Data) -> None:
    data.add(_streams_of_viewer())
    others = [
        *_newer(owner_id="another", space_id="elsewhere", experience_id="not-bought"),
        *(_grant(GrantScope.SPACE, "elsewhere", f"user-{number}") for number in range(_MANY_STREAMS)),
        *(
            row(
                TeamMember,
                space_id="elsewhere",
                user_id=f"m-{number}",
                role=TeamRole.MODERATOR,
                created_at=NOW,
            )
            for number in range(_MANY_STREAMS)
        ),
    ]
    asks = _lists(data, Filters(), Filters(kind=StreamKind.STREAM), Filters(space_id="of-team"))
    found = await data.grows_by(others, *asks)
    assert data.is_even(found), found


@pytest.mark.parametrize(
    "own",
    [{"owner_id": "viewer"}, {"space_id": "of-team"}, {"space_id": "of-grant"}, {"experience_id": "bought"}],
    ids=lambda own: "-".join(own.values()),
)
async def test_a_list_of_streams_reads_no_other_pages(data: Data, own: dict[str, str]) -> None:
    data.add(_streams_of_viewer())
    found = await data.grows_by(_newer(**own), *_lists(data, Filters()))
    assert data.is_even(found), found


def _participant(data: Data, number: int, **values: Any) -> tuple[type[Base], dict[str, Any]]:
    before = NOW - timedelta(hours=1)
    made: dict[str, Any] = {
        "identity": f"u:user-{number}",
        "user_id": f"user-{number}",
        "role": StreamRole.VIEWER,
    }
    made |= {"reserved_until": before, "first_issued_at": before, "joined_at": before, "left_at": None}
    return row(Participant, session_id=data.session_id, **{**made, "removed_at": None, **values})


def _asks_for_seat(data: Data) -> list[Ask]:
    async def take(transaction: AsyncSession) -> None:
        found, session = await find_stream(transaction, data.stream_id)
        assert session is not None
        await seats.take(
            transaction,
            found,
            session,
            identity="u:viewer",
            user_id="viewer",
            name="",
            role=StreamRole.VIEWER,
            until=NOW + timedelta(minutes=10),
            now=NOW,
        )

    return [take]


async def test_a_seat_is_taken_without_a_look_at_all_who_ever_were_there(data: Data) -> None:
    data.add([_participant(data, number) for number in range(_CAPACITY // 2)])
    gone = [_participant(data, 100 + number, left_at=NOW) for number in range(_MANY // 2)]
    removed = [
        _participant(
            data,
            100 + number,
            left_at=NOW,
            removed_at=NOW,
            reserved_until=NOW + timedelta(minutes=9),
        )
        for number in range(_MANY // 2, _MANY)
    ]
    found = await data.grows_by([*gone, *removed], *_asks_for_seat(data))
    assert data.is_even(found), found


@pytest.mark.parametrize("present", [True, False], ids=["present", "reserved"])
async def test_no_more_are_counted_than_there_are_seats(data: Data, present: bool) -> None:
    data.add([_participant(data, number) for number in range(_CAPACITY)])
    values = {} if present else {"joined_at": None, "reserved_until": NOW + timedelta(minutes=9)}
    more = [_participant(data, 100 + number, **values) for number in range(_MANY)]
    found = await data.grows_by(more, *_asks_for_seat(data))
    assert data.is_even(found), found
