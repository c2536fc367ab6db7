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
from pathlib import Path
from typing import Any, Literal

import psycopg

from common.waiting import wait_until
from tests.ports import free_port

# It refuses to run as root. Debian's package makes this user.
_USER = "postgres"
_VERSIONS = Path("/usr/lib/postgresql")


class Postgres:
    """A server on a data directory of its own; everybody on loopback is its superuser."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, also again after `stop`; it answers when this returns."""
        with (self._directory / "log").open("a") as log:
            self._process = subprocess.Popen(
                [
                    *(str(_binaries() / "postgres"), "-D", str(self._directory / "data")),
                    *("-p", str(self.port), "-k", str(self._directory)),
                    # What a crash would lose is of no worth here.
                    *("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=200"),
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
            interval=0.1,
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

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{uuid.uuid4().hex}"
        self._run(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drop a database that `new_database` made, whoever is connected to it."""
        self._run(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement.encode())


@contextmanager
def empty_database(
    kind: Literal["sqlite", "postgresql"], directory: Path, server: Callable[[], Postgres]
) -> Iterator[str]:
    """The URL of a database without tables, for as long as the block runs.

    Args:
        directory: where SQLite's file is.
        server: the running server; asked for PostgreSQL only.
    """
    if kind == "sqlite":
        yield f"sqlite:///{directory / 'token-api.db'}"
        return
    running = server()
    url = running.new_database()
    yield url
    running.drop(url)


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
    # Not pytest's tmp_path: its parents are closed to other users. Sockets' paths must be short, too.
    directory = Path(tempfile.mkdtemp(prefix="token-api-postgres-"))
    as_user = _as_user()
    if as_user:
        shutil.chown(directory, _USER, pwd.getpwnam(_USER).pw_gid)
    words = ["-D", str(directory / "data"), "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync"]
    running = Postgres(directory, free_port())
    try:
        subprocess.run(
            [str(_binaries() / "initdb"), *words], check=True, capture_output=True, cwd=directory, **as_user
        )
        running.start()
        yield running
    finally:
        running.stop()
        shutil.rmtree(directory)
