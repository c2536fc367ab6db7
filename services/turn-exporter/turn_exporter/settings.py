"""The environment, read and judged once: every problem is found before anything is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")
_PORT_ALLOWED = "a port from 1 to 65535"
_PATH_ALLOWED = "an absolute path"


class BadEnvironment(Exception):
    """One line per problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class Settings:
    """What the exporter is told.

    Attributes:
        address: at which coturn listens, and at which the metrics are served.
        turn_port: coturn's, over UDP.
        metrics_port: of the metrics, over TCP.
        reports_socket: the Unix socket of the Redis that coturn reports to.
        draining_file: is there while coturn drains.
        allocations_limit: how many allocations coturn gives at the same time (`total-quota`).
    """

    address: IPv4Address
    turn_port: int
    metrics_port: int
    reports_socket: Path
    draining_file: Path
    allocations_limit: int


def read(environment: Mapping[str, str]) -> Settings:
    """What `environment` says.

    Raises:
        BadEnvironment: with every problem.
    """
    problems: list[str] = []

    def one(name: str, parse: Callable[[str], _T | None], allowed: str) -> _T:
        given = environment.get(name, "")
        value = parse(given)
        if value is None:
            problems.append(f"{name}: given {given!r}; allowed is {allowed}")
        # Nobody uses it where there is a problem.
        return value  # type: ignore[return-value]

    settings = Settings(
        address=one("TURN_ADDRESS", _address, "the IPv4 address at which the server listens"),
        turn_port=one("TURN_PORT", _port, _PORT_ALLOWED),
        metrics_port=one("METRICS_PORT", _port, _PORT_ALLOWED),
        reports_socket=one("REPORTS_SOCKET", _path, _PATH_ALLOWED),
        draining_file=one("DRAINING_FILE", _path, _PATH_ALLOWED),
        allocations_limit=one("ALLOCATIONS_LIMIT", _number, "a whole number from 1"),
    )
    if problems:
        raise BadEnvironment(problems)
    return settings


def _address(given: str) -> IPv4Address | None:
    try:
        return IPv4Address(given)
    except AddressValueError:
        return None


def _port(given: str) -> int | None:
    return int(given) if given.isascii() and given.isdigit() and 1 <= int(given) <= 65535 else None


def _number(given: str) -> int | None:
    return int(given) if given.isascii() and given.isdigit() and int(given) >= 1 else None


def _path(given: str) -> Path | None:
    return Path(given) if Path(given).is_absolute() else None
