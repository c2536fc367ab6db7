"""How much a database reads for what the service asks of it. It is the same in each run, on any machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import psycopg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.engine import Database
from token_api.problems import ProblemError

Ask = Callable[[AsyncSession], Awaitable[object]]
Statement = tuple[str, Any]
# Instructions of SQLite's machine that are counted as one: a row takes some more.
_INSTRUCTIONS = 10


class _Undone(Exception):
    """What a transaction did is not to stay."""


async def reads_of(database: Database, url: str, ask: Ask) -> int:
    """What the database reads for the queries of `ask`, whose changes are undone. A refusal is no failure.

    PostgreSQL's rows, also those that did not meet a condition; SQLite tells steps only.
    """
    asked = await _queries_of(database, ask)
    assert asked
    if database.is_sqlite:
        return sum(_steps(url.removeprefix("sqlite:///"), *query) for query in asked)
    with psycopg.connect(url, cursor_factory=psycopg.ClientCursor) as connection:
        return sum(_rows(connection, *query) for query in asked)


async def _queries_of(database: Database, ask: Ask) -> list[Statement]:
    found: list[Statement] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "WITH")):
            found.append((statement, parameters))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        with suppress(_Undone, ProblemError):
            async with database.begin() as transaction:
                await ask(transaction)
                raise _Undone
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return found


def _steps(file: str, statement: str, parameters: Any) -> int:
    connection = sqlite3.connect(file)
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, _INSTRUCTIONS)
    connection.execute(statement, parameters).fetchall()
    connection.close()
    return steps


def _rows(connection: psycopg.Connection[Any], statement: str, parameters: Any) -> int:
    explained = connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}".encode(), parameters)
    [(plans,)] = explained.fetchall()
    connection.rollback()
    return sum(_rows_of(plan["Plan"]) for plan in plans)


def _rows_of(node: Mapping[str, Any]) -> int:
    """The rows that a node of a plan reads from a table, and those of all nodes below it."""
    below = sum(_rows_of(child) for child in node.get("Plans", ()))
    if "Relation Name" not in node:
        return below
    refused = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    of_a_loop = node["Actual Rows"] + sum(node.get(name, 0) for name in refused)
    return below + int(of_a_loop * node["Actual Loops"])
