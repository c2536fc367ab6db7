"""How fast tokens are made: by themselves, and over HTTP with the access check.

    python3 -m local run -- python -m tests.token_api.benchmark

prints one line of JSON for each measurement. The service is one process with its defaults; the load comes
from this one, over as many connections as `--connections` says, each of which asks again as soon as it is
answered. Both, and PostgreSQL, share the machine's cores: on another machine, or with a busy neighbour,
the figures are others.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

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
    connections: int
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
def _service(database: str) -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as directory, livekit_double() as double:
        if database == "sqlite":
            with token_api(Path(directory), double.url) as service:
                yield service
        else:
            with (
                postgres_server() as server,
                token_api(Path(directory), double.url, database_url=server.new_database()) as service,
            ):
                yield service


def endpoint(database: str, *, connections: int, seconds: float) -> Endpoint:
    """`POST /v1/streams/{id}/video-token` by users with passes for a live stream.

    The host application names them, with X-On-Behalf-Of: users from one address would reach its rate limit.
    The access check is the same.
    """
    with _service(database) as service:
        stream_id = service.live_stream()["id"]
        for number in range(USERS):
            service.grant(f"user-{number}", stream_id)
        requests = [
            _request(service, stream_id, service_headers(f"user-{number}")) for number in range(USERS)
        ]
        asyncio.run(_load(service.url, requests, connections, WARM_UP_SECONDS))
        started, used = time.perf_counter(), _cpu_seconds(service.process.pid)
        times = sorted(asyncio.run(_load(service.url, requests, connections, seconds)))
        took = time.perf_counter() - started
        used = _cpu_seconds(service.process.pid) - used
    return Endpoint(
        database=database,
        connections=connections,
        requests=len(times),
        per_second=round(len(times) / took, 1),
        p50=_milliseconds(times, 0.5),
        p99=_milliseconds(times, 0.99),
        slowest=_milliseconds(times, 1),
        cpu=round(used / len(times) * 1000, 2),
    )


def _cpu_seconds(pid: int) -> float:
    """Processor time that a process took so far: proc(5), fields 14 and 15 of stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def service_headers(user_id: str) -> dict[str, str]:
    """Headers of the host application that acts for a user."""
    return {**AUTHORIZED, "X-On-Behalf-Of": user_id}


def _milliseconds(times: Sequence[float], share: float) -> float:
    return round(times[min(int(len(times) * share), len(times) - 1)] * 1000, 1)


def _request(service: Service, stream_id: str, headers: dict[str, str]) -> bytes:
    """The bytes of a request: a client library would take more of the cores than the service."""
    lines = [
        f"POST /v1/streams/{stream_id}/video-token HTTP/1.1",
        f"Host: {urlsplit(service.url).netloc}",
        "Content-Length: 0",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _load(url: str, requests: Sequence[bytes], connections: int, seconds: float) -> list[float]:
    """Seconds that each answer took."""
    until = time.perf_counter() + seconds
    parts = await asyncio.gather(
        *(_connection(url, requests[first::connections], until) for first in range(connections))
    )
    return [took for part in parts for took in part]


async def _connection(url: str, requests: Sequence[bytes], until: float) -> list[float]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    times: list[float] = []
    try:
        while (started := time.perf_counter()) < until:
            writer.write(requests[len(times) % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            if not head.startswith(b"HTTP/1.1 201 "):
                raise RuntimeError(f"{head[:40]!r}: {body[:500]!r}")
            times.append(time.perf_counter() - started)
    finally:
        writer.close()
    return times


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    arguments = parser.parse_args()
    print(json.dumps(asdict(minting())))
    for database in arguments.database or ["sqlite", "postgresql"]:
        found = endpoint(database, connections=arguments.connections, seconds=arguments.seconds)
        print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
