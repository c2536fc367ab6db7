"""Brings the database to a version of its tables, one process at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text

from token_api.database.engine import CONNECT_SECONDS, database_url, prepare_sqlite

HEAD = "head"
# Any number, the same in every replica: PostgreSQL's advisory locks have no names.
_LOCK = 7_421_883_016


def migrate(configured_url: str, to: str = HEAD) -> tuple[str | None, str | None]:
    """Migrate up or down to revision `to` (`head`, `base`, or a number); the revisions before and after.

    Several processes may call it at once: one works, the others wait and find nothing to do.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: the database is not to be had, or refuses.
        alembic.util.CommandError: there is no such revision.
        OSError: the directory of an SQLite file cannot be written.
    """
    url = database_url(configured_url, driver=False)
    is_sqlite = url.get_backend_name() == "sqlite"
    arguments = {} if is_sqlite else {"connect_timeout": CONNECT_SECONDS}
    engine = create_engine(url, connect_args=arguments)
    if is_sqlite:
        prepare_sqlite(engine)
    try:
        with (
            _file_lock(url.database if is_sqlite else None),
            engine.connect() as connection,
            _advisory_lock(connection),
        ):
            before = _revision(connection)
            with connection.begin():
                _run(connection, to, before)
            return before, _revision(connection)
    finally:
        engine.dispose()


def _run(connection: Connection, to: str, before: str | None) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    # Revisions are numbers of one width: the order of the texts is that of the versions.
    if to == "base" or (to != HEAD and before is not None and to < before):
        command.downgrade(config, to)
    else:
        command.upgrade(config, to)


def _revision(connection: Connection) -> str | None:
    with connection.begin():
        return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def _advisory_lock(connection: Connection) -> Iterator[None]:
    if connection.dialect.name == "sqlite":
        yield
        return
    with connection.begin():
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
    try:
        yield
    finally:
        with connection.begin():
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})


@contextmanager
def _file_lock(database: str | None) -> Iterator[None]:
    if database is None:
        yield
        return
    path = Path(database)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The kernel lets go of it when the process ends, however it ends.
    with path.with_name(f"{path.name}.migrating").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
