"""How often a user, and an address, may call: a leaky bucket for each, in this process's memory.

Each replica counts for itself, and forgets when it ends: with n replicas up to n times as much is let
through. That is enough against a page that went wild, and costs no request to a database. What must hold
exactly (seats, slow mode) is decided in the database.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Class(StrEnum):
    """What kind of request it is; each kind is counted by itself."""

    TOKENS = "tokens"
    CHAT = "chat"
    TELEMETRY = "telemetry"
    WRITES = "writes"
    READS = "reads"
    # Requests whose credentials were refused, by address alone.
    REFUSED = "refused"


@dataclass(frozen=True)
class Quota:
    """`burst` requests at once, and one more every `per` / `burst` seconds."""

    burst: int
    per: float

    @property
    def policy(self) -> str:
        """As in the RateLimit-Policy header (draft-ietf-httpapi-ratelimit-headers)."""
        return f"q={self.burst};w={round(self.per)}"


# Of one user, in one minute. A player that reconnects asks for a token every few seconds, for a while;
# one that sends quality samples does so every 10 s.
USER_QUOTAS = {
    Class.TOKENS: Quota(30, 60),
    Class.CHAT: Quota(60, 60),
    Class.TELEMETRY: Quota(30, 60),
    Class.WRITES: Quota(120, 60),
    Class.READS: Quota(300, 60),
    Class.REFUSED: Quota(30, 60),
}
# Many users of one household, office or mobile network share an address.
ADDRESS_FACTOR = 20
ADDRESS_QUOTAS = {
    kind: quota if kind is Class.REFUSED else Quota(quota.burst * ADDRESS_FACTOR, quota.per)
    for kind, quota in USER_QUOTAS.items()
}
# A bucket is some 200 bytes; whoever has more addresses than this is no matter of a bucket.
MAX_BUCKETS = 100_000


@dataclass(frozen=True)
class Verdict:
    """Whether a request is let through, how many more are at once, and seconds until there is one."""

    allowed: bool
    remaining: int
    wait: float


class Buckets:
    """Counts by key. A bucket is one number: when it will be empty (GCRA)."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, limit: int = MAX_BUCKETS) -> None:
        self._monotonic = monotonic
        self._limit = limit
        self._empty_at: dict[tuple[str, str], float] = {}

    def __len__(self) -> int:
        return len(self._empty_at)

    def take(self, kind: Class, who: str, quota: Quota) -> Verdict:
        """Count one request of `who`. One that is refused is not counted."""
        now = self._monotonic()
        key = (kind.value, who)
        step = quota.per / quota.burst
        empty_at = max(self._empty_at.get(key, now), now) + step
        # A rounding error must not cost the last request of a burst.
        late = empty_at - now - quota.per
        if late > 1e-9:
            return Verdict(False, 0, late)
        if key not in self._empty_at and len(self._empty_at) >= self._limit:
            self._forget(now)
        self._empty_at[key] = empty_at
        return Verdict(True, int((quota.per - (empty_at - now)) / step + 1e-6), 0.0)

    def _forget(self, now: float) -> None:
        """Drop the buckets that are empty; where none is, all: better too much let through than no room."""
        kept = {key: empty_at for key, empty_at in self._empty_at.items() if empty_at > now}
        self._empty_at = kept if len(kept) < self._limit else {}


def class_of(method: str, path: str) -> Class:
    """The class of the route `path`, a template as in the OpenAPI document."""
    if method in {"GET", "HEAD"}:
        return Class.READS
    last = path.rpartition("/")[2]
    if last == "token" or last.endswith("-token"):
        return Class.TOKENS
    if last == "telemetry":
        return Class.TELEMETRY
    if path.endswith("/chat/messages") or path.endswith("/stage/requests"):
        return Class.CHAT
    return Class.WRITES


def headers_of(kind: Class, quota: Quota, verdict: Verdict) -> dict[str, str]:
    """What tells a caller how much is left (draft-ietf-httpapi-ratelimit-headers), and when to come back."""
    seconds = math.ceil(verdict.wait)
    headers = {
        "RateLimit-Policy": f'"{kind}";{quota.policy}',
        "RateLimit": f'"{kind}";r={verdict.remaining};t={seconds}',
    }
    return headers if verdict.allowed else {**headers, "Retry-After": str(max(seconds, 1))}
