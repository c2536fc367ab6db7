"""How fast tokens are made: by themselves, and over HTTP with the access check.

    python3 -m local run -- python -m tests.token_api.benchmark

prints one line of JSON for each measurement. The service has its defaults, and as many processes as
`--replicas` says where PostgreSQL keeps the data. The load comes from this process, over `--connections`:
each asks again as soon as it is answered, or, with `--rate`, all of them so often in a second. All share the
machine's cores: on another machine, or with a busy neighbour, the figures are others. `cpu` is what changes
least.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

import uvloop
from livekit.api import AccessToken, VideoGrants

from tests.token_api.postgres import postgres_server
from tests.token_api.service import Service, token_api
from tests.unit.token_api.livekit_double import livekit_double
from tests.unit.token_api.support import AUTHORIZED, KEY, SECRET
from token_api.tokens import ApiCredentials, Participant, Role, mint

ROUNDS = 9
TOKENS_PER_ROUND = 500
USERS = 400
WARM_UP_SECONDS = 1.0


@dataclass(frozen=True)
class Minting:
    """Microseconds of one token: livekit-api's bare one, ours, and how many times as long ours takes."""

    bare: float
    ours: float
    ratio: float


@dataclass(frozen=True)
class Endpoint:
    """What callers saw, in milliseconds; `cpu` is the service's own processor time for one request."""

    database: str
    callers: str
    replicas: int
    connections: int
    rate: float | None
    requests: int
    per_second: float
    p50: float
    p99: float
    slowest: float
    cpu: float


def _bare(number: int) -> str:
    return (
        AccessToken(KEY, SECRET)
        .with_identity(f"u:{number}")
        .with_name("A name")
        .with_ttl(timedelta(seconds=600))
        .with_grants(VideoGrants(room_join=True, room="lobby"))
        .to_jwt()
    )


def _ours(number: int) -> str:
    return mint(
        ApiCredentials(KEY, SECRET),
        Participant(f"u:{number}", "A name"),
        room="lobby",
        role=Role.VIEWER,
        ttl_seconds=600,
    )


def _seconds(make: Callable[[int], str], count: int) -> float:
    started = time.perf_counter()
    for number in range(count):
        make(number)
    return time.perf_counter() - started


def minting() -> Minting:
    """Both in turn, so that a busy moment meets both; the median of the rounds."""
    rounds = [(_seconds(_bare, TOKENS_PER_ROUND), _seconds(_ours, TOKENS_PER_ROUND)) for _ in range(ROUNDS)]
    bare, ours = (statistics.median(times) / TOKENS_PER_ROUND * 1e6 for times in zip(*rounds, strict=True))
    ratio = statistics.median(ours_of / bare_of for bare_of, ours_of in rounds)
    return Minting(round(bare, 1), round(ours, 1), round(ratio, 2))


@contextmanager
def services(database: str, replicas: int) -> Iterator[list[Service]]:
    if database == "sqlite" and replicas > 1:
        raise ValueError(f"replicas: {replicas} given; allowed: 1 with SQLite, any number with PostgreSQL")
    with ExitStack() as stack:
        double = stack.enter_context(livekit_double())
        url = stack.enter_context(postgres_server()).new_database() if database == "postgresql" else None
        yield [
            stack.enter_context(
                token_api(
                    Path(stack.enter_context(tempfile.TemporaryDirectory())),
                    double.url,
                    database_url=url,
                    TOKEN_API_TRUSTED_PROXIES="127.0.0.0/8",
                )
            )
            for _ in range(replicas)
        ]


def endpoint(
    database: str,
    *,
    connections: int,
    seconds: float,
    rate: float | None = None,
    replicas: int = 1,
    callers: str = "host",
) -> Endpoint:
    """`POST /v1/streams/{id}/video-token` for users with passes for a live stream.

    Args:
        connections: in all; each goes to one of the replicas.
        seconds: for how long.
        rate: requests in a second, each measured from when it was due; None for as many as are answered.
        callers: "host", the host application that acts for a user; or "users" themselves, each by a JWT and
            from an address of their own, as they would otherwise reach the rate limit of one.
    """
    with services(database, replicas) as running:
        first = running[0]
        stream_id = first.live_stream()["id"]
        for number in range(USERS):
            first.grant(f"user-{number}", stream_id)
        headers = [_HEADERS[callers](number) for number in range(USERS)]
        targets = [
            (
                service.url,
                [
                    request(service, "POST", f"/streams/{stream_id}/video-token", headers_of)
                    for headers_of in headers
                ],
            )
            for service in running
        ]
        processes = [service.process.pid for service in running]
        uvloop.run(load(targets, connections, due(None, WARM_UP_SECONDS)))
        started, used = time.perf_counter(), sum(map(_cpu_seconds, processes))
        times = sorted(uvloop.run(load(targets, connections, due(rate, seconds))))
        took = time.perf_counter() - started
        used = sum(map(_cpu_seconds, processes)) - used
    return Endpoint(
        database=database,
        callers=callers,
        replicas=replicas,
        connections=connections,
        rate=rate,
        requests=len(times),
        per_second=round(len(times) / took, 1),
        p50=milliseconds(times, 0.5),
        p99=milliseconds(times, 0.99),
        slowest=milliseconds(times, 1),
        cpu=round(used / len(times) * 1000, 2),
    )


def _cpu_seconds(pid: int) -> float:
    """Processor time that a process took so far: proc(5), fields 14 and 15 of stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _host_headers(number: int) -> dict[str, str]:
    return {**AUTHORIZED, "X-On-Behalf-Of": f"user-{number}"}


def _user_headers(number: int) -> dict[str, str]:
    return {**Service.user(f"user-{number}"), "X-Forwarded-For": str(IPv4Address("198.18.0.0") + number)}


_HEADERS = {"host": _host_headers, "users": _user_headers}


def milliseconds(times: Sequence[float], share: float) -> float:
    return round(times[min(int(len(times) * share), len(times) - 1)] * 1000, 1)


def request(service: Service, method: str, path: str, headers: dict[str, str]) -> bytes:
    """The bytes of a request: a client library would take more of the cores than the service."""
    lines = [
        f"{method} /v1{path} HTTP/1.1",
        f"Host: {urlsplit(service.url).netloc}",
        "Content-Length: 0",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def due(rate: float | None, seconds: float) -> Iterator[float]:
    """When requests are due, for `seconds` from now on: as soon as somebody asks, or at a rate."""
    started = time.perf_counter()
    for number in itertools.count():
        due = time.perf_counter() if rate is None else started + number / rate
        if due >= started + seconds:
            return
        yield due


async def load(
    targets: Sequence[tuple[str, Sequence[bytes]]], connections: int, due: Iterator[float]
) -> list[float]:
    """Seconds that each answer took, from when it was due. `targets`: URLs, and what to send there."""
    parts = await asyncio.gather(
        *(
            _connection(*targets[number % len(targets)], first=number * USERS // connections, due=due)
            for number in range(connections)
        )
    )
    return [took for part in parts for took in part]


async def _connection(
    url: str, requests: Sequence[bytes], *, first: int, due: Iterator[float]
) -> list[float]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    times: list[float] = []
    try:
        for at in due:
            await asyncio.sleep(at - time.perf_counter())
            writer.write(requests[(first + len(times)) % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            if not head.startswith(b"HTTP/1.1 20"):
                raise RuntimeError(f"{head[:40]!r}: {body[:500]!r}")
            times.append(time.perf_counter() - at)
    finally:
        writer.close()
    return times


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    parser.add_argument(
        "--rate", type=float, help="requests in a second; without it, as many as are answered"
    )
    parser.add_argument("--replicas", type=int, default=1, help="processes, on PostgreSQL")
    parser.add_argument("--callers", choices=list(_HEADERS), default="host")
    arguments = parser.parse_args()
    print(json.dumps(asdict(minting())))
    for database in arguments.database or ["sqlite", "postgresql"]:
        found = endpoint(
            database,
            connections=arguments.connections,
            seconds=arguments.seconds,
            rate=arguments.rate,
            replicas=arguments.replicas,
            callers=arguments.callers,
        )
        print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
