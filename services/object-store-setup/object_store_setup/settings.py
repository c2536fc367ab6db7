"""The environment, read and judged once: every problem is found before anything is asked of the store."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from object_store_setup.client import Key, Store
from object_store_setup.rights import RIGHTS

_T = TypeVar("_T")
_ENDPOINT = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?")
# A browser's Origin; any port where it is `*`.
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(:([0-9]{1,5}|\*))?")
_ENDPOINT_ALLOWED = "http:// or https:// with a host and optionally a port, and nothing after it"


class BadEnvironment(Exception):
    """One line per problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Preflight:
    """A store of somebody else's to be tried out; the library finds the key."""

    store: Store
    patience: float


@dataclass(frozen=True)
class EnsureBucket:
    """The embedded store to be set up."""

    store: Store
    admin_endpoint: str
    root: Key
    accounts: Mapping[str, Key]
    origins: tuple[str, ...]
    patience: float


class _Reader:
    """Reads variables and gathers what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def read(self, name: str, parse: Callable[[str], _T | None], allowed: str, *, secret: bool = False) -> _T:
        given = self._environment.get(name, "")
        value = parse(given) if given else None
        if value is None:
            shown = "nothing" if not given else f"{len(given)} characters" if secret else repr(given)
            self.problems.append(f"{name}: given {shown}; allowed is {allowed}")
        # Nobody uses it where there is a problem.
        return value  # type: ignore[return-value]

    def store(self) -> Store:
        return Store(
            endpoint=self.read("OBJECT_STORE_ENDPOINT", _endpoint, _ENDPOINT_ALLOWED),
            region=self.read("OBJECT_STORE_REGION", str, "a region's name"),
            bucket=self.read("OBJECT_STORE_BUCKET", str, "a bucket's name"),
            path_style={"true": True, "false": False}[
                self.read("OBJECT_STORE_PATH_STYLE", _switch, "true or false") or "true"
            ],
        )

    def patience(self) -> float:
        return self.read("OBJECT_STORE_PATIENCE_SECONDS", _seconds, "a number of seconds from 1")

    def done(self) -> None:
        if self.problems:
            raise BadEnvironment(self.problems)


def preflight(environment: Mapping[str, str]) -> Preflight:
    """What `preflight` is told.

    Raises:
        BadEnvironment: with every problem.
    """
    reader = _Reader(environment)
    settings = Preflight(reader.store(), reader.patience())
    reader.done()
    return settings


def ensure_bucket(environment: Mapping[str, str]) -> EnsureBucket:
    """What `ensure-bucket` is told.

    Raises:
        BadEnvironment: with every problem.
    """
    reader = _Reader(environment)
    settings = EnsureBucket(
        store=reader.store(),
        admin_endpoint=reader.read("OBJECT_STORE_ADMIN_ENDPOINT", _endpoint, _ENDPOINT_ALLOWED),
        root=Key(
            reader.read("OBJECT_STORE_ROOT_ACCESS_KEY_ID", str, "the root account's key"),
            reader.read("OBJECT_STORE_ROOT_SECRET_ACCESS_KEY", str, "the root account's secret", secret=True),
        ),
        accounts=reader.read(
            "OBJECT_STORE_ACCOUNTS_FILE",
            _accounts,
            f"the path of versitygw's users file, with the accounts {', '.join(RIGHTS)}",
        ),
        origins=reader.read(
            "OBJECT_STORE_ALLOWED_ORIGINS", _origins, "origins such as https://api.example.com, by commas"
        ),
        patience=reader.patience(),
    )
    reader.done()
    return settings


def _endpoint(given: str) -> str | None:
    return given if _ENDPOINT.fullmatch(given) else None


def _switch(given: str) -> str | None:
    return given if given in ("true", "false") else None


def _seconds(given: str) -> float | None:
    return float(given) if given.isdigit() and int(given) else None


def _origins(given: str) -> tuple[str, ...] | None:
    origins = tuple(given.split(","))
    return origins if all(_ORIGIN.fullmatch(origin) for origin in origins) else None


def _accounts(path: str) -> dict[str, Key] | None:
    try:
        known = json.loads(Path(path).read_text())["accessAccounts"]
        return {name: Key(known[name]["access"], known[name]["secret"]) for name in RIGHTS}
    except (OSError, ValueError, KeyError, TypeError):
        return None
