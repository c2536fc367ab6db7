"""How the database is reached: one engine, and transactions that either happen or do not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from sqlalchemy import URL, Engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from token_api.database import sqlite_driver
from token_api.database.columns import Base
from token_api.database.liveness import ping_where_in_doubt

# How long a transaction waits for another's lock, and a connection for the server.
BUSY_MILLISECONDS = 10_000
CONNECT_SECONDS = 5
CONNECTIONS = 10
# Of these, for tokens and for what LiveKit tells of joins: other transactions never hold the last ones.
RESERVED = 4
# Waiting longer for a free connection than a caller waits for an answer helps nobody.
POOL_SECONDS = 10

# Whether transactions of this task may use the reserved connections.
_MAY_USE_RESERVED: ContextVar[bool] = ContextVar("may_use_reserved", default=False)

AfterCommit = Callable[[set[str]], None]
# In a transaction's `info`: names of the workers that have something to do once it is committed.
WAKE = "wake"


def database_url(configured: str, *, driver: bool = True) -> URL:
    """The URL for SQLAlchemy of a `sqlite:///…` or `postgresql://…` URL.

    `driver` False: for the synchronous drivers, which migrations use.
    """
    url = make_url(configured)
    if url.get_backend_name() == "sqlite":
        return url.set(drivername="sqlite+aiosqlite" if driver else "sqlite")
    # psycopg is one driver for both.
    return url.set(drivername="postgresql+psycopg")


def prepare_sqlite(engine: Engine) -> None:
    """Make SQLite's transactions real, and its constraints hold, on every connection of `engine`."""

    @event.listens_for(engine, "connect")
    def _connected(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # The driver's own BEGIN comes late and leaves out DDL: `_begin` says it instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout = {BUSY_MILLISECONDS}",
            "journal_mode = WAL",
            # With WAL: a power cut may lose the last commits, and corrupts nothing. FULL loses none.
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and writes later cannot wait for another writer: it fails.
        reads = connection.get_execution_options().get("reads_only", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


class Database:
    """The service's database. `after_commit` is told what a committed transaction put into `info[WAKE]`."""

    def __init__(self, configured_url: str, *, after_commit: AfterCommit | None = None) -> None:
        url = database_url(configured_url)
        self.is_sqlite = url.get_backend_name() == "sqlite"
        arguments: dict[str, Any] = (
            {"async_creator_fn": sqlite_driver.connect}
            if self.is_sqlite
            else {"connect_timeout": CONNECT_SECONDS}
        )
        self.engine: AsyncEngine = create_async_engine(
            url,
            connect_args=arguments,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=POOL_SECONDS,
        )
        if self.is_sqlite:
            prepare_sqlite(self.engine.sync_engine)
        else:
            ping_where_in_doubt(self.engine.sync_engine)
        self._reading = self.engine.execution_options(reads_only=True)
        # SQLite has one writer. Its own waiting is by polling, and unfair: in one process a queue is better.
        self._writer = asyncio.Lock() if self.is_sqlite else None
        self._after_commit = after_commit
        self._unreserved = asyncio.Semaphore(CONNECTIONS - RESERVED)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """A transaction that may write: committed at the end of the block, rolled back by an exception.

        Never begin one within another: the second would wait for the first.
        """
        queue: AbstractAsyncContextManager[Any] = self._writer or nullcontext()
        async with (
            self._connection(),
            queue,
            AsyncSession(self.engine, expire_on_commit=False) as transaction,
            transaction.begin(),
        ):
            yield transaction
        if self._after_commit is not None and transaction.info.get(WAKE):
            self._after_commit(transaction.info[WAKE])

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A transaction that only reads, and waits for no writer."""
        async with (
            self._connection(),
            AsyncSession(self._reading, expire_on_commit=False) as transaction,
            transaction.begin(),
        ):
            yield transaction

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[None]:
        """The right to use one. Raises sqlalchemy.exc.TimeoutError, as the pool does."""
        if _MAY_USE_RESERVED.get():
            yield
            return
        try:
            async with asyncio.timeout(POOL_SECONDS):
                await self._unreserved.acquire()
        except TimeoutError as error:
            raise PoolTimeout(f"no connection to the database was free within {POOL_SECONDS} s") from error
        try:
            yield
        finally:
            self._unreserved.release()

    async def ping(self) -> None:
        """Ask the database for nothing. Raises what SQLAlchemy raises where it does not answer."""
        # Reading: with SQLite, whoever writes is not waited for.
        async with self._reading.connect() as connection:
            await connection.execute(text("SELECT 1"))

    def connections_in_use(self) -> int:
        """How many connections transactions hold now."""
        pool = self.engine.pool
        return pool.checkedout() if isinstance(pool, QueuePool) else 0

    async def aclose(self) -> None:
        await self.engine.dispose()


@contextmanager
def reserved_connections() -> Iterator[None]:
    """Let transactions in the block, in this task, use the connections that others leave free."""
    before = _MAY_USE_RESERVED.set(True)
    try:
        yield
    finally:
        _MAY_USE_RESERVED.reset(before)


def insert(transaction: AsyncSession, table: type[Base]) -> Any:
    """The database's own INSERT, which has `on_conflict_do_nothing` and `on_conflict_do_update`."""
    is_sqlite = transaction.get_bind().dialect.name == "sqlite"
    return sqlite.insert(table) if is_sqlite else postgresql.insert(table)


async def add_up(
    transaction: AsyncSession, table: type[Base], rows: Sequence[Mapping[str, Any]], column: str
) -> None:
    """Add `column` of each row to that of the row with the same primary key; insert rows that are missing.

    Args:
        rows: in an order that all callers share. Then two of them never wait for each other.
    """
    if not rows:
        return
    statement = insert(transaction, table).values(rows)
    await transaction.execute(
        statement.on_conflict_do_update(
            index_elements=list(table.__table__.primary_key),
            set_={column: table.__table__.c[column] + statement.excluded[column]},
        )
    )


def wake(transaction: AsyncSession, worker: str) -> None:
    """Have the worker called `worker` woken once `transaction` is committed."""
    transaction.info.setdefault(WAKE, set()).add(worker)
