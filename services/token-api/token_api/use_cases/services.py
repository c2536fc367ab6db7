"""What every use case works with; made once by the application factory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from token_api.database.engine import Database
from token_api.domain.clock import Clock
from token_api.livekit_api.gateway import Gateway
from token_api.metrics import Metrics
from token_api.settings import Settings
from token_api.tokens import ApiCredentials
from token_api.wakeups import Wakeups


class KeyedLocks:
    """A lock for each key, which exists as long as somebody wants it. Within this process only."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        lock, wanted = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, wanted + 1)
        try:
            async with lock:
                yield
        finally:
            lock, wanted = self._locks[key]
            if wanted == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, wanted - 1)


@dataclass(frozen=True)
class Services:
    """The means of the use cases."""

    settings: Settings
    clock: Clock
    database: Database
    livekit: Gateway
    metrics: Metrics
    wakeups: Wakeups
    # Those who want the same stream opened at once wait for one, rather than all asking LiveKit.
    locks: KeyedLocks = field(default_factory=KeyedLocks)

    @property
    def credentials(self) -> ApiCredentials:
        settings = self.settings
        return ApiCredentials(settings.livekit_api_key, settings.livekit_api_secret.get_secret_value())
