"""Idempotency keys: a request that is sent again gets the answer that it got the first time.

A change that is one transaction remembers its answer in it (`claim`, then `remember`): both happen or
neither does, whenever the service dies. One that asks LiveKit in between is such that doing it twice is
doing it once; for it, `claim` alone looks, and the answer is remembered afterwards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.engine import insert
from token_api.database.tables import IdempotencyKey
from token_api.problems import Kind, ProblemError


@dataclass(frozen=True)
class Claim:
    """A request with a key: who sent it, and a digest of all that it asks."""

    caller: str
    key: str
    request_hash: str


@dataclass(frozen=True)
class Answer:
    """An answer as it was given."""

    status: int
    body: Any
    headers: Mapping[str, str]


def claim_of(caller: str, key: str, method: str, path: str, body: Any) -> Claim:
    """The claim of a request; `body` is its JSON."""
    asked = json.dumps([method, path, body], sort_keys=True, default=str)
    return Claim(caller, key, hashlib.sha256(asked.encode(errors="surrogatepass")).hexdigest())


async def claim(transaction: AsyncSession, wanted: Claim, now: datetime) -> Answer | None:
    """Claim the key for this transaction, waiting for another that holds it; the answer if there is one.

    Raises:
        ProblemError: IDEMPOTENCY_KEY_REUSED, for another request.
    """
    await transaction.execute(
        insert(transaction, IdempotencyKey)
        .values(
            caller=wanted.caller,
            key=wanted.key,
            request_hash=wanted.request_hash,
            status=0,
            headers="{}",
            body="",
            created_at=now,
        )
        .on_conflict_do_nothing()
    )
    return await recall(transaction, wanted)


async def recall(transaction: AsyncSession, wanted: Claim) -> Answer | None:
    """The answer that was remembered for this request. Raises as `claim`."""
    found = await transaction.scalar(
        select(IdempotencyKey)
        .where(IdempotencyKey.caller == wanted.caller, IdempotencyKey.key == wanted.key)
        .execution_options(populate_existing=True)
    )
    if found is None:
        return None
    if found.request_hash != wanted.request_hash:
        raise ProblemError(
            Kind.IDEMPOTENCY_KEY_REUSED, "This Idempotency-Key came with another request before."
        )
    if found.status == 0:
        return None
    return Answer(found.status, json.loads(found.body), json.loads(found.headers))


async def remember(transaction: AsyncSession, given: Claim, answer: Answer, now: datetime) -> None:
    """Keep the answer of a request."""
    values = {
        "status": answer.status,
        "body": json.dumps(answer.body),
        "headers": json.dumps(dict(answer.headers)),
    }
    await transaction.execute(
        insert(transaction, IdempotencyKey)
        .values(caller=given.caller, key=given.key, request_hash=given.request_hash, created_at=now, **values)
        .on_conflict_do_update(index_elements=["caller", "key"], set_=values)
    )
