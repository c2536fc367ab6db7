"""The Redis that coturn reports to."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import redis

from turn_exporter.reports import ALLOCATION_KEYS, CHANNELS, NotUnderstood, Transport, transport_of

_ANSWER_SECONDS = 2.0
_PAUSE_SECONDS = 1.0
_KEYS_AT_ONCE = 1000


class Store:
    """Reached by its Unix socket, at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._asked = self._client(socket_timeout=_ANSWER_SECONDS)

    def _client(self, *, socket_timeout: float | None) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self._path),
            socket_timeout=socket_timeout,
            decode_responses=True,
            # Users' names are anybody's bytes, and of no interest.
            encoding_errors="replace",
        )

    def allocations(self) -> list[Transport] | None:
        """The transport of each allocation that there is; None where nobody can tell."""
        try:
            # A scan may give a key twice.
            keys = set(self._asked.scan_iter(match=ALLOCATION_KEYS, count=_KEYS_AT_ONCE))
            # What ended since has no value any more.
            values = self._asked.mget(keys) if keys else []
            return [transport_of(value) for value in values if isinstance(value, str)]
        except (redis.RedisError, NotUnderstood) as error:
            print(f"the store at {self._path} gives no allocations: {error}", flush=True)
            return None

    def follow(self, record: Callable[[str, str], None]) -> NoReturn:
        """Give `record` every channel and message that coturn publishes, for ever."""
        client = self._client(socket_timeout=None)
        while True:
            try:
                with client.pubsub(ignore_subscribe_messages=True) as published:  # type: ignore[no-untyped-call]
                    published.psubscribe(CHANNELS)
                    for message in published.listen():
                        record(message["channel"], message["data"])
            except redis.RedisError as error:
                print(f"the store at {self._path} is away: {error}", flush=True)
                time.sleep(_PAUSE_SECONDS)
