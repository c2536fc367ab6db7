"""aiosqlite, with one trip to its thread for each statement.

sqlite3 works in a thread of the connection's own. aiosqlite goes there four times for a statement: to make
a cursor, to execute, to fetch, and to close. Each trip costs more processor time than most of our statements.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import aiosqlite

# Of rows, for iterating over a cursor of aiosqlite's own: nobody does.
_CHUNK = 64


@dataclass(frozen=True)
class _Answer:
    """What a statement found, as DB-API cursors tell it."""

    rows: Sequence[Any] = ()
    description: Any = None
    rowcount: int = -1
    lastrowid: int | None = None


class OneTripConnection(aiosqlite.Connection):
    """A connection for SQLAlchemy's adapter: what that asks of one is in `sqlalchemy.connectors.asyncio`."""

    def cursor(self) -> OneTripCursor:  # type: ignore[override]
        return OneTripCursor(self)

    async def rollback(self) -> None:
        # Asked whenever a connection goes back to the pool, mostly after a commit. Nothing is under way
        # then: SQLAlchemy closes a connection whose statement was cancelled.
        if self.in_transaction:
            await super().rollback()

    async def answer(self, execute: Callable[[sqlite3.Cursor], object]) -> _Answer:
        """Execute a statement in the connection's thread, and fetch all that it finds."""
        found: _Answer = await self._execute(_answer, self._conn, execute)  # type: ignore[no-untyped-call]
        return found


class OneTripCursor:
    """A cursor that is closed, with all rows fetched, whenever nobody awaits it."""

    arraysize = 1

    def __init__(self, connection: OneTripConnection) -> None:
        self._connection = connection
        self._answer = _Answer()

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, operation: str, parameters: Any = ()) -> None:
        self._answer = await self._connection.answer(lambda cursor: cursor.execute(operation, parameters))

    async def executemany(self, operation: str, parameters: Any) -> None:
        self._answer = await self._connection.answer(lambda cursor: cursor.executemany(operation, parameters))

    async def fetchall(self) -> Sequence[Any]:
        return self._answer.rows

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def description(self) -> Any:
        return self._answer.description

    @property
    def rowcount(self) -> int:
        return self._answer.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._answer.lastrowid


async def connect(*arguments: Any, **options: Any) -> OneTripConnection:
    """A connection made with sqlite3's arguments: SQLAlchemy's `async_creator_fn`."""
    connection = OneTripConnection(partial(sqlite3.connect, *arguments, **options), _CHUNK)
    # As SQLAlchemy does: a connection that nobody closed must not keep the process from ending.
    connection._thread.daemon = True
    await connection
    return connection


def _answer(connection: sqlite3.Connection, execute: Callable[[sqlite3.Cursor], object]) -> _Answer:
    cursor = connection.cursor()
    try:
        execute(cursor)
        # The number of rows that a RETURNING changed is known once they are fetched.
        rows = cursor.fetchall()
        return _Answer(rows, cursor.description, cursor.rowcount, cursor.lastrowid)
    finally:
        cursor.close()
