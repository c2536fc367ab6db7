"""Connections to PostgreSQL that are gone by the time when they are wanted: nobody notices."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from tests.token_api.postgres import Postgres
from token_api.database import liveness
from token_api.database.engine import Database


class ForgetfulProxy:
    """Forwards to a server, until it forgets a connection: as a load balancer's state is gone after minutes.

    Neither end is told. Whoever sends more then gets a reset.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._forgotten: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()

    def forget(self) -> None:
        self._forgotten |= self._clients

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._clients.add(writer)

        async def back() -> None:
            while data := await from_server.read(65536):
                writer.write(data)

        answers = asyncio.create_task(back())
        while data := await reader.read(65536):
            if writer in self._forgotten:
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                break
            to_server.write(data)
        answers.cancel()
        writer.close()
        to_server.close()


@asynccontextmanager
async def forgetful_proxy(postgres: Postgres) -> AsyncIterator[tuple[ForgetfulProxy, str]]:
    """A proxy before a server, and the URL of the server by way of it."""
    proxy = ForgetfulProxy(postgres.port)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        yield proxy, str(make_url(postgres.url()).set(port=server.sockets[0].getsockname()[1]))


@asynccontextmanager
async def database_of(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        await database.aclose()


async def backend(database: Database) -> int:
    """The server's process behind the connection that a transaction gets."""
    async with database.read() as transaction:
        return int((await transaction.execute(text("SELECT pg_backend_pid()"))).scalar_one())


async def test_a_connection_that_the_server_ended_is_replaced(postgres: Postgres) -> None:
    async with database_of(postgres.url()) as database:
        before = await backend(database)
        assert await backend(database) == before
        with psycopg.connect(postgres.url(), autocommit=True) as another:
            # It returns once the process is gone.
            another.execute("SELECT pg_terminate_backend(%s, 10000)", (before,))
        assert await backend(database) != before


async def test_a_connection_that_rested_is_asked(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    async with forgetful_proxy(postgres) as (proxy, url), database_of(url) as database:
        before = await backend(database)
        proxy.forget()
        monkeypatch.setattr(liveness, "TRUSTED_SECONDS", 0.0)
        assert await backend(database) != before


async def test_one_that_was_used_a_moment_ago_is_not(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That spares a trip for each transaction. It may cost a failure, with the advice to try again."""
    monkeypatch.setattr(liveness, "TRUSTED_SECONDS", 60.0)
    async with forgetful_proxy(postgres) as (proxy, url), database_of(url) as database:
        before = await backend(database)
        proxy.forget()
        with pytest.raises(OperationalError):
            await backend(database)
        assert await backend(database) != before
