"""One replica at a time: a lock of PostgreSQL's that lives as long as the connection that took it."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from token_api.database.engine import Database


class Leadership:
    """What one of several replicas holds. With SQLite there is one process, which always leads.

    A leader that dies, or loses its connection, loses the lock with it: the next that asks has it.
    """

    def __init__(self, database: Database, key: int) -> None:
        self._database = database
        self._key = key
        self._connection: AsyncConnection | None = None

    @property
    def leads(self) -> bool:
        """Whether this replica led when it was last asked."""
        return self._database.is_sqlite or self._connection is not None

    async def held(self) -> bool:
        """Whether this replica leads; it tries to, where nobody does. Raises what SQLAlchemy raises."""
        if self._database.is_sqlite:
            return True
        if self._connection is not None:
            try:
                await self._connection.execute(text("SELECT 1"))
                return True
            except SQLAlchemyError:
                await self.aclose()
        # Not idle in a transaction: that would keep the server from cleaning up.
        connection = await self._database.engine.connect()
        try:
            connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
            taken = await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key})
        except BaseException:
            await connection.close()
            raise
        if taken:
            self._connection = connection
            return True
        await connection.close()
        return False

    async def aclose(self) -> None:
        """Let go, for another replica to lead."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                # The server itself lets go only when it sees that the connection is closed: some time later.
                await connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": self._key})
            # Not back into the pool: whether it still holds the lock is not sure.
            with suppress(SQLAlchemyError):
                await connection.invalidate()
            await connection.close()
