"""Connections to a database server that went away meanwhile are found before they are used.

SQLAlchemy's `pool_pre_ping` asks the server before each transaction: one trip more, where ours make five.
A connection that was used a moment ago, and of which the server has said nothing since, needs no question.
"""

from __future__ import annotations

import select
import time

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

# Whatever drops connections at rest without a word (load balancers, NAT) does so after minutes.
TRUSTED_SECONDS = 1.0
_LAST_USED = "last_used"


def ping_where_in_doubt(engine: Engine) -> None:
    """Ask the server before a connection of `engine` is used, unless it is known to live."""

    @event.listens_for(engine, "checkin")
    def _returned(_connection: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        entry.info[_LAST_USED] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _wanted(
        connection: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection
    ) -> None:
        now = time.monotonic()
        # One that was never returned has just been made.
        is_fresh = now - entry.info.get(_LAST_USED, now) < TRUSTED_SECONDS
        try:
            if not is_fresh or _was_told_something(connection):
                engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # Caught by the pool, which makes another.
            raise DisconnectionError(type(error).__name__) from error


def _was_told_something(connection: DBAPIConnection) -> bool:
    """Whether there is something to read on a connection at rest: the server says good-bye there."""
    poll = select.poll()
    poll.register(connection.driver_connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
