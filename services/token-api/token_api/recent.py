"""Results that many callers request at the same time: each is made once, for all of them."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from token_api.keyed_locks import KeyedLocks

# For so long other callers get the same result.
FRESH_SECONDS = 1.0

T = TypeVar("T")


@dataclass(frozen=True)
class _Made(Generic[T]):
    result: T
    until: float


class Recent(Generic[T]):
    """Results by key, each for FRESH_SECONDS. Within this process only."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._locks = KeyedLocks()
        self._made: dict[str, _Made[T]] = {}

    def __len__(self) -> int:
        return len(self._made)

    def forget(self, key: str) -> None:
        """The result for `key` has changed: make it anew for the next caller."""
        self._made.pop(key, None)

    async def get(self, key: str, make: Callable[[], Awaitable[T]]) -> T:
        """The result of `make`, or one that was made for `key` a moment ago. Raises what `make` raises."""
        async with self._locks.hold(key):
            found = self._made.get(key)
            if found is not None and found.until > self._monotonic():
                return found.result
            result = await make()
            self._forget_old()
            self._made[key] = _Made(result, self._monotonic() + FRESH_SECONDS)
            return result

    def _forget_old(self) -> None:
        now = self._monotonic()
        for key in [key for key, made in self._made.items() if made.until <= now]:
            del self._made[key]
