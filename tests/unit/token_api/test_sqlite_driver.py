"""SQLite through the service's own driver: what SQLAlchemy expects of a connection, and what it costs."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from token_api.database import sqlite_driver
from token_api.database.engine import Database

INSERT = text("INSERT INTO things VALUES (:id)")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "things.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE things (id INTEGER PRIMARY KEY)")
        connection.commit()
    return path


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{path}")
    yield database
    await database.aclose()


@contextmanager
def another_writer(path: Path) -> Iterator[None]:
    """Another process's write lock, for the block."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def write(database: Database, *numbers: int) -> None:
    """Each by a statement, in one transaction."""
    async with database.begin() as transaction:
        for number in numbers:
            await transaction.execute(INSERT, {"id": number})


async def ids(database: Database) -> list[int]:
    async with database.read() as transaction:
        return list((await transaction.scalars(text("SELECT id FROM things ORDER BY id"))).all())


async def test_rows_counts_and_what_returning_says(database: Database) -> None:
    async with database.begin() as transaction:
        await transaction.execute(INSERT, [{"id": 1}, {"id": 2}, {"id": 3}])
        gone = await transaction.execute(text("DELETE FROM things WHERE id > 1"))
        assert gone.rowcount == 2  # type: ignore[attr-defined]
        made = await transaction.execute(text("INSERT INTO things VALUES (7) RETURNING id"))
        assert made.all() == [(7,)]
    assert await ids(database) == [1, 7]


async def test_an_error_is_sqlalchemys_and_undoes_the_transaction(database: Database) -> None:
    with pytest.raises(IntegrityError):
        await write(database, 1, 1)
    await write(database, 2)
    assert await ids(database) == [2]


async def test_whoever_is_cancelled_while_waiting_for_the_lock_does_not_keep_it(
    database: Database, path: Path
) -> None:
    """Their BEGIN goes on in the connection's thread, and gets the lock when they are gone."""
    assert await ids(database) == []
    begun = asyncio.Event()
    event.listen(database.engine.sync_engine, "checkout", lambda *_: begun.set())
    with another_writer(path):
        waiting = asyncio.create_task(write(database, 1))
        await asyncio.wait_for(begun.wait(), 10)
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(write(database, 2), 5)
    with another_writer(path):
        assert await ids(database) == [2]


async def test_a_statement_is_one_trip_to_the_connections_thread(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[str] = []
    go = sqlite_driver.OneTripConnection._execute

    async def counted(
        connection: sqlite_driver.OneTripConnection, function: object, *arguments: object
    ) -> object:
        trips.append(getattr(function, "__name__", repr(function)))
        return await go(connection, function, *arguments)  # type: ignore[no-untyped-call]

    await ids(database)
    monkeypatch.setattr(sqlite_driver.OneTripConnection, "_execute", counted)
    async with database.begin() as transaction:
        await transaction.execute(INSERT, {"id": 1})
        await transaction.execute(text("SELECT id FROM things"))
    # BEGIN, two statements, COMMIT.
    assert trips == ["_answer", "_answer", "_answer", "commit"]
