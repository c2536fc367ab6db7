"""A PostgreSQL server of the tests' own, from Debian's package, on loopback and for one session."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import psycopg

from common.waiting import wait_until
from tests.ports import free_port
from tests.support.scratch import memory_directory
from token_api.database.migrate import migrate

# It refuses to run as root. Debian's package makes this user.
_USER = "postgres"
_VERSIONS = Path("/usr/lib/postgresql")
# The data may be lost in a crash, and tests read no statistics and query no large tables.
_FOR_THROWAWAY_DATA = (
    *("fsync=off", "synchronous_commit=off", "full_page_writes=off", "wal_level=minimal"),
    *("max_wal_senders=0", "autovacuum=off", "jit=off"),
)

DatabaseKind = Literal["sqlite", "postgresql"]


class Postgres:
    """A server on a data directory of its own; everybody on loopback is its superuser."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._template: str | None = None

    def start(self) -> None:
        """Start it, also again after `stop`; it answers when this returns."""
        with (self._directory / "log").open("a") as log:
            self._process = subprocess.Popen(
                [
                    *(str(_binaries() / "postgres"), "-D", str(self._directory / "data")),
                    *("-p", str(self.port), "-k", str(self._directory)),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"),
                    *(word for setting in _FOR_THROWAWAY_DATA for word in ("-c", setting)),
                ],
                stdout=log,
                stderr=log,
                cwd=self._directory,
                **_as_user(),
            )
        wait_until(
            self._answers,
            timeout=60,
            describe="PostgreSQL to answer",
            interval=0.02,
            tolerate=(psycopg.OperationalError,),
        )

    def stop(self) -> None:
        """Stop it, and cut all connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # "fast": it waits for no client
            self._process.wait(timeout=60)
            self._process = None

    def _answers(self) -> bool:
        psycopg.connect(self.url(), connect_timeout=2).close()
        return True

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def new_database(self, *, migrated: bool = False) -> str:
        """The URL of a new database: empty, or with all tables and no rows."""
        name = f"test_{uuid.uuid4().hex}"
        template = self._migrated_template() if migrated else "template0"
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def _migrated_template(self) -> str:
        """A template database that was migrated once. Copying it takes a twentieth of a migration's time."""
        if self._template is None:
            url = self.new_database()
            migrate(url)
            self._template = url.rpartition("/")[2]
        return self._template

    def drop(self, url: str) -> None:
        """Drop a database that `new_database` made, whoever is connected to it."""
        self._run(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def new_database(
    kind: DatabaseKind, server: Callable[[], Postgres], *, migrated: bool = False
) -> Iterator[str]:
    """The URL of a new database that exists during the block: empty, or with all tables and no rows.

    Args:
        server: gives the running server; called for PostgreSQL only.
    """
    if kind == "sqlite":
        with memory_directory("token-api-sqlite-") as directory:
            file = directory / "token-api.db"
            if migrated:
                write_migrated_sqlite(file)
            yield f"sqlite:///{file}"
        return
    running = server()
    url = running.new_database(migrated=migrated)
    yield url
    running.drop(url)


def write_migrated_sqlite(file: Path) -> None:
    """Make `file` an SQLite database with all tables and no rows."""
    file.write_bytes(_migrated_sqlite_file())


@cache
def _migrated_sqlite_file() -> bytes:
    """The content of an SQLite file that was migrated once."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "token-api.db"
        migrate(f"sqlite:///{file}")
        assert not list(file.parent.glob("*-wal")), "all is in the file once the last connection is closed"
        return file.read_bytes()


def _binaries() -> Path:
    found = sorted(_VERSIONS.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    assert found, f"no PostgreSQL under {_VERSIONS}: `make test` installs Debian's postgresql"
    return found[-1].parent


def _as_user() -> dict[str, Any]:
    """Whom to run the programs as, as arguments of subprocess."""
    return {"user": _USER, "group": _USER, "extra_groups": []} if os.geteuid() == 0 else {}


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Start a server on a new, empty data directory; stop it and remove all of it at the end."""
    # pytest's tmp_path does not work: other users cannot enter its parents, and socket paths must be short.
    with memory_directory("token-api-postgres-") as directory:
        as_user = _as_user()
        if as_user:
            shutil.chown(directory, _USER, pwd.getpwnam(_USER).pw_gid)
        words = ["-D", str(directory / "data"), "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync"]
        initdb = [str(_binaries() / "initdb"), *words]
        subprocess.run(initdb, check=True, capture_output=True, cwd=directory, **as_user)
        running = Postgres(directory, free_port())
        try:
            running.start()
            yield running
        finally:
            running.stop()
