"""Results that many callers ask for at the same time: each is made once, for all of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from token_api.keyed_locks import KeyedLocks

# For so long a result is given to others, too.
FRESH_SECONDS = 1.0


@dataclass(frozen=True)
class _Made:
    result: bytes
    until: float


class Recent:
    """Results by key, each for FRESH_SECONDS. Within this process only."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._locks = KeyedLocks()
        self._made: dict[str, _Made] = {}

    def __len__(self) -> int:
        return len(self._made)

    async def get(self, key: str, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The result of `make`, or one that was made for `key` a moment ago. Raises what `make` raises."""
        async with self._locks.hold(key):
            found = self._made.get(key)
            if found is not None and found.until > self._monotonic():
                return found.result
            result = await make()
            self._forget()
            self._made[key] = _Made(result, self._monotonic() + FRESH_SECONDS)
            return result

    def _forget(self) -> None:
        now = self._monotonic()
        for key in [key for key, made in self._made.items() if made.until <= now]:
            del self._made[key]
