"""Our events on their way to the host application: at least once each, also when we are killed in between.

A use case writes its event into the outbox in its own transaction. From there it is fanned out to a
delivery for each endpoint, in one transaction too. A delivery is sent under a lease: who dies holding it
lets go of it by the time. So nothing is lost, and what is sent twice has the same `webhook-id`.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.callers import ServiceCaller
from token_api.database.columns import UtcDateTime, new_id
from token_api.database.engine import insert, wake
from token_api.database.tables import Outbox, WebhookDelivery, WebhookEndpoint
from token_api.delivery.client import Outcome
from token_api.delivery.retry_after import pause_wanted
from token_api.domain.paging import Cursor, Page, before, page_of
from token_api.domain.vocabulary import DeliveryState
from token_api.use_cases.events import record
from token_api.use_cases.services import Services
from token_api.use_cases.standing import is_id, not_found

ACTOR = "outbox"
# After the first attempt, which is made at once: nine more within 75 hours, each up to a fifth later.
SCHEDULE = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
_JITTER = 0.2
# Longer than an attempt may take with the database's answers before and after it.
LEASE = timedelta(seconds=30)
# An endpoint to which nothing got through for so long is disabled.
DISABLE_AFTER = timedelta(days=5)
GONE = 410


@dataclass(frozen=True)
class Sending:
    """A delivery that this process holds, and all that is needed to send it."""

    delivery_id: str
    endpoint_id: str
    claimed_until: datetime
    attempts: int
    url: str
    message_id: str
    body: bytes
    keys: tuple[str, ...]


def pause_after(attempts: int) -> timedelta | None:
    """How long after the failed attempt of this number the next one comes; None where it was the last."""
    if attempts > len(SCHEDULE):
        return None
    return SCHEDULE[attempts - 1] * (1 + _JITTER * secrets.randbelow(1000) / 1000)


async def fan_out(services: Services, limit: int = 100) -> int:
    """Make the deliveries of events that have none yet; how many events it was."""
    now = services.clock.now()
    async with services.database.begin() as transaction:
        events = (
            await transaction.scalars(
                select(Outbox)
                .where(Outbox.fanned_out_at.is_(None))
                .order_by(Outbox.position)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
        ).all()
        if not events:
            return 0
        endpoints = (
            await transaction.execute(
                select(WebhookEndpoint.id, WebhookEndpoint.event_types).where(WebhookEndpoint.enabled)
            )
        ).all()
        filters = [(endpoint_id, frozenset(json.loads(wanted))) for endpoint_id, wanted in endpoints]
        rows = [
            {
                "id": new_id(),
                "outbox_id": event.id,
                "endpoint_id": endpoint_id,
                "state": DeliveryState.WAITING,
                "attempts": 0,
                "next_at": now,
                "last_error": "",
                "created_at": now,
            }
            for event in events
            for endpoint_id, wanted in filters
            if not wanted or event.event_type in wanted
        ]
        if rows:
            await transaction.execute(insert(transaction, WebhookDelivery).on_conflict_do_nothing(), rows)
        await transaction.execute(
            update(Outbox).where(Outbox.id.in_([event.id for event in events])).values(fanned_out_at=now)
        )
        return len(events)


def _is_due(now: datetime) -> ColumnElement[bool]:
    return and_(
        WebhookDelivery.state == DeliveryState.WAITING,
        WebhookDelivery.next_at <= now,
        or_(WebhookDelivery.claimed_until.is_(None), WebhookDelivery.claimed_until <= now),
    )


def _takes(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """That an endpoint wants to be sent to."""
    paused = WebhookEndpoint.paused_until
    return and_(WebhookEndpoint.enabled, or_(paused.is_(None), paused <= now))


async def endpoints_with_due(services: Services) -> list[str]:
    """Endpoints to which something is to be sent now."""
    now = services.clock.now()
    async with services.database.read() as transaction:
        return list(
            await transaction.scalars(
                select(WebhookEndpoint.id).where(
                    _takes(now),
                    exists().where(WebhookDelivery.endpoint_id == WebhookEndpoint.id, _is_due(now)),
                )
            )
        )


async def take(services: Services, endpoint_id: str, limit: int) -> list[Sending]:
    """Deliveries to one endpoint that are due, for this process alone until their lease ends."""
    now = services.clock.now()
    async with services.database.begin() as transaction:
        endpoint = await transaction.scalar(
            select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, _takes(now))
        )
        if endpoint is None:
            return []
        found = (
            await transaction.execute(
                select(WebhookDelivery, Outbox.payload)
                .join(Outbox, Outbox.id == WebhookDelivery.outbox_id)
                .where(WebhookDelivery.endpoint_id == endpoint_id, _is_due(now))
                .order_by(WebhookDelivery.next_at, Outbox.position)
                .limit(limit)
                .with_for_update(skip_locked=True, of=WebhookDelivery)
            )
        ).all()
        keys = [endpoint.secret]
        if (
            endpoint.previous_secret
            and endpoint.previous_secret_until
            and endpoint.previous_secret_until > now
        ):
            keys.append(endpoint.previous_secret)
        taken = []
        for delivery, payload in found:
            delivery.claimed_until = now + LEASE
            delivery.attempts += 1
            taken.append(
                Sending(
                    delivery_id=delivery.id,
                    endpoint_id=endpoint_id,
                    claimed_until=delivery.claimed_until,
                    attempts=delivery.attempts,
                    url=endpoint.url,
                    message_id=delivery.outbox_id,
                    body=payload.encode(),
                    keys=tuple(keys),
                )
            )
        return taken


async def settle(services: Services, sent: Sending, outcome: Outcome) -> str:
    """Write down what became of an attempt: delivered, failed, given-up, or gone (the endpoint's wish)."""
    now = services.clock.now()
    changes: dict[str, Any] = {
        "claimed_until": None,
        "last_status": outcome.status,
        "last_error": outcome.error,
    }
    mine = update(WebhookDelivery).where(
        WebhookDelivery.id == sent.delivery_id, WebhookDelivery.state == DeliveryState.WAITING
    )
    async with services.database.begin() as transaction:
        if outcome.delivered:
            await transaction.execute(mine.values(state=DeliveryState.DELIVERED, delivered_at=now, **changes))
            await transaction.execute(
                update(WebhookEndpoint)
                .where(WebhookEndpoint.id == sent.endpoint_id, WebhookEndpoint.failing_since.is_not(None))
                .values(failing_since=None)
            )
            return "delivered"
        wanted = pause_wanted(outcome.status, outcome.retry_after, now)
        pause = None if outcome.status == GONE else pause_after(sent.attempts)
        if pause is None:
            changes["state"] = DeliveryState.GIVEN_UP
        else:
            # Never before the schedule: who always wants a second's pause would use it up in ten.
            changes["next_at"] = now + max(pause, wanted or pause)
        # A failure that comes after the lease says nothing about the attempt of whoever has it now.
        await transaction.execute(
            mine.where(WebhookDelivery.claimed_until == sent.claimed_until).values(**changes)
        )
        await _failed(transaction, sent.endpoint_id, wanted, gone=outcome.status == GONE, now=now)
    if outcome.status == GONE:
        return "gone"
    return "failed" if pause is not None else "given-up"


async def _failed(
    transaction: AsyncSession, endpoint_id: str, pause: timedelta | None, *, gone: bool, now: datetime
) -> None:
    """Note of an endpoint that it fails, and that it wants nothing at all for the time of `pause`."""
    endpoint = await transaction.get(WebhookEndpoint, endpoint_id, with_for_update=True)
    if endpoint is None or not endpoint.enabled:
        return
    endpoint.failing_since = endpoint.failing_since or now
    if pause is not None:
        endpoint.paused_until = max(now + pause, endpoint.paused_until or now)
    if not gone and now - endpoint.failing_since < DISABLE_AFTER:
        return
    endpoint.enabled, endpoint.updated_at = False, now
    endpoint.disabled_reason = "gone" if gone else "failing"
    record(
        transaction,
        now=now,
        actor=ACTOR,
        action="webhook-endpoint.disabled",
        details={"webhook_endpoint_id": endpoint.id, "reason": endpoint.disabled_reason},
    )


async def page(
    transaction: AsyncSession,
    endpoint_id: str,
    *,
    state: DeliveryState | None,
    cursor: Cursor | None,
    limit: int,
) -> Page[tuple[WebhookDelivery, str]]:
    """Deliveries to an endpoint with their events' types, newest first."""
    wanted = (
        select(WebhookDelivery, Outbox.event_type)
        .join(Outbox, Outbox.id == WebhookDelivery.outbox_id)
        .where(WebhookDelivery.endpoint_id == endpoint_id)
        .order_by(WebhookDelivery.created_at.desc(), WebhookDelivery.id.desc())
        .limit(limit + 1)
    )
    if state is not None:
        wanted = wanted.where(WebhookDelivery.state == state)
    if cursor is not None:
        wanted = wanted.where(before(cursor, WebhookDelivery.created_at, WebhookDelivery.id))
    found = [(row[0], row[1]) for row in (await transaction.execute(wanted)).all()]
    return page_of(found, limit, lambda item: Cursor(item[0].created_at, item[0].id))


async def redeliver(
    transaction: AsyncSession, caller: ServiceCaller, endpoint_id: str, delivery_id: str, now: datetime
) -> tuple[WebhookDelivery, str]:
    """Send an event again, whatever became of it, with the whole schedule before it; but not in a pause.

    Raises:
        ProblemError: NOT_FOUND.
    """
    delivery = None
    if is_id(delivery_id):
        delivery = await transaction.get(WebhookDelivery, delivery_id, with_for_update=True)
    if delivery is None or delivery.endpoint_id != endpoint_id:
        raise not_found()
    delivery.state, delivery.attempts, delivery.next_at = DeliveryState.WAITING, 0, now
    delivery.claimed_until = delivery.delivered_at = None
    record(
        transaction,
        now=now,
        actor=caller.actor,
        action="webhook-delivery.redelivered",
        details={"webhook_endpoint_id": endpoint_id, "webhook_delivery_id": delivery_id},
    )
    wake(transaction, "outbox")
    event_type: str = (
        await transaction.scalars(select(Outbox.event_type).where(Outbox.id == delivery.outbox_id))
    ).one()
    return delivery, event_type


@dataclass(frozen=True)
class Waiting:
    """What is still to be done: when the oldest event without deliveries was written, when the first delivery
    to an endpoint that wants it is due, and when the first endpoint that wants a pause wants no more."""

    event_at: datetime | None
    due_at: datetime | None
    resumes_at: datetime | None

    @property
    def has_events(self) -> bool:
        return self.event_at is not None

    @property
    def next_at(self) -> datetime | None:
        """When there is something to do."""
        moments = (self.event_at, self.due_at, self.resumes_at)
        return min((moment for moment in moments if moment is not None), default=None)

    def is_due(self, now: datetime) -> bool:
        """Whether something is to be sent now."""
        return self.due_at is not None and self.due_at <= now

    def lag_seconds(self, now: datetime) -> float:
        """How late the most overdue event or delivery is."""
        moments = (self.event_at, self.due_at)
        return max((0.0, *((now - moment).total_seconds() for moment in moments if moment is not None)))


def _waiting() -> Select[datetime, datetime, datetime | None]:
    now = bindparam("now", type_=UtcDateTime)
    event_at = select(func.min(Outbox.created_at)).where(Outbox.fanned_out_at.is_(None))
    due_at = (
        select(func.min(WebhookDelivery.next_at))
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(_takes(now), WebhookDelivery.state == DeliveryState.WAITING)
    )
    resumes_at = select(func.min(WebhookEndpoint.paused_until)).where(
        WebhookEndpoint.enabled, WebhookEndpoint.paused_until > now
    )
    return select(event_at.scalar_subquery(), due_at.scalar_subquery(), resumes_at.scalar_subquery())


# Made once: it is asked in every round.
_WAITING = _waiting()


async def waiting(services: Services) -> Waiting:
    """What is still to be done, by this replica or another."""
    async with services.database.read() as transaction:
        event_at, due_at, resumes_at = (
            await transaction.execute(_WAITING, {"now": services.clock.now()})
        ).one()
    return Waiting(event_at, due_at, resumes_at)
