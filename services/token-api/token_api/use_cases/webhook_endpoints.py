"""Where the host application wants our events sent to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.callers import ServiceCaller
from token_api.database.engine import wake
from token_api.database.tables import WebhookEndpoint
from token_api.delivery.signing import new_secret
from token_api.domain.paging import Cursor, Page, before, page_of
from token_api.problems import Kind, ProblemError
from token_api.use_cases.events import record
from token_api.use_cases.standing import is_id, not_found

# Each event is sent to all of them.
MAX_ENDPOINTS = 20


@dataclass(frozen=True)
class Changes:
    """What is to change of an endpoint; None stays as it is. `url` was checked."""

    url: str | None = None
    description: str | None = None
    event_types: Sequence[str] | None = None
    enabled: bool | None = None


async def create(
    transaction: AsyncSession,
    caller: ServiceCaller,
    *,
    url: str,
    description: str,
    event_types: Sequence[str],
    now: datetime,
) -> WebhookEndpoint:
    """Have events sent to `url`, which was checked, from this commit on.

    Raises:
        ProblemError: CONFLICT, where there are as many endpoints as there may be.
    """
    there_are = await transaction.scalar(select(func.count()).select_from(WebhookEndpoint))
    if (there_are or 0) >= MAX_ENDPOINTS:
        raise ProblemError(Kind.CONFLICT, f"There are {there_are} endpoints; allowed are {MAX_ENDPOINTS}.")
    endpoint = WebhookEndpoint(
        url=url,
        description=description,
        event_types=_stored(event_types),
        secret=new_secret(),
        enabled=True,
        created_at=now,
        updated_at=now,
    )
    transaction.add(endpoint)
    await transaction.flush()
    _record(transaction, caller, "created", endpoint, now)
    return endpoint


async def get(transaction: AsyncSession, endpoint_id: str, *, lock: bool = False) -> WebhookEndpoint:
    """An endpoint by its id. Raises ProblemError: NOT_FOUND."""
    found = None
    if is_id(endpoint_id):
        found = await transaction.get(WebhookEndpoint, endpoint_id, with_for_update=lock or None)
    if found is None:
        raise not_found()
    return found


async def page(transaction: AsyncSession, cursor: Cursor | None, limit: int) -> Page[WebhookEndpoint]:
    """All endpoints, newest first."""
    wanted = (
        select(WebhookEndpoint)
        .order_by(WebhookEndpoint.created_at.desc(), WebhookEndpoint.id.desc())
        .limit(limit + 1)
    )
    if cursor is not None:
        wanted = wanted.where(before(cursor, WebhookEndpoint.created_at, WebhookEndpoint.id))
    found = (await transaction.scalars(wanted)).all()
    return page_of(found, limit, lambda endpoint: Cursor(endpoint.created_at, endpoint.id))


async def change(
    transaction: AsyncSession, caller: ServiceCaller, endpoint_id: str, changes: Changes, now: datetime
) -> WebhookEndpoint:
    """Change an endpoint. One that is enabled again is sent what waits for it. Raises as `get`."""
    endpoint = await get(transaction, endpoint_id, lock=True)
    if changes.url is not None:
        endpoint.url = changes.url
        # It was another receiver that asked for it.
        endpoint.paused_until = None
        wake(transaction, "outbox")
    if changes.description is not None:
        endpoint.description = changes.description
    if changes.event_types is not None:
        endpoint.event_types = _stored(changes.event_types)
    if changes.enabled is not None and changes.enabled is not endpoint.enabled:
        endpoint.enabled = changes.enabled
        endpoint.disabled_reason = endpoint.failing_since = endpoint.paused_until = None
        wake(transaction, "outbox")
    endpoint.updated_at = now
    _record(transaction, caller, "updated", endpoint, now)
    return endpoint


async def rotate_secret(
    transaction: AsyncSession, caller: ServiceCaller, endpoint_id: str, both_for: timedelta, now: datetime
) -> WebhookEndpoint:
    """Give an endpoint a new secret; for `both_for`, messages carry a signature by each. Raises as `get`."""
    endpoint = await get(transaction, endpoint_id, lock=True)
    endpoint.previous_secret, endpoint.previous_secret_until = endpoint.secret, now + both_for
    endpoint.secret, endpoint.updated_at = new_secret(), now
    _record(transaction, caller, "secret-rotated", endpoint, now)
    return endpoint


async def remove(transaction: AsyncSession, caller: ServiceCaller, endpoint_id: str, now: datetime) -> None:
    """Send nothing to an endpoint anymore, also not what waits for it. Raises as `get`."""
    endpoint = await get(transaction, endpoint_id, lock=True)
    _record(transaction, caller, "deleted", endpoint, now)
    await transaction.delete(endpoint)


def _stored(event_types: Sequence[str]) -> str:
    return json.dumps(sorted(set(event_types)))


def _record(
    transaction: AsyncSession, caller: ServiceCaller, what: str, endpoint: WebhookEndpoint, now: datetime
) -> None:
    # Not the URL: its path or query may hold a secret of the receiver.
    record(
        transaction,
        now=now,
        actor=caller.actor,
        action=f"webhook-endpoint.{what}",
        details={"webhook_endpoint_id": endpoint.id, "enabled": endpoint.enabled},
    )
