"""Tells the host application of passes that have come to their end: of each once, whoever looks."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BindParameter, ColumnElement, and_, select

from token_api.database.tables import AccessGrant
from token_api.use_cases.access import record_grant
from token_api.use_cases.services import Services

ACTOR = "enforcement"
# Of one transaction. A sale's passes end in one moment: their owners are put out meanwhile.
BATCH = 200


def is_news(now: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """Whether a pass has expired and its event was not sent yet."""
    return and_(
        AccessGrant.expires_at <= now,
        AccessGrant.expiry_told_at.is_(None),
        AccessGrant.cancelled_at.is_(None),
    )


async def tell_expired(services: Services) -> int:
    """Send `grant.expired` of all passes that are over and were not told of; how many those were.

    One that was cancelled before anybody looked is told of as cancelled alone. Replicas may do this at once.
    """
    count = 0
    while told := await _tell_some(services):
        count += told
    return count


async def _tell_some(services: Services) -> int:
    now = services.clock.now()
    async with services.database.begin() as transaction:
        expired = (
            await transaction.scalars(
                select(AccessGrant)
                .where(is_news(now))
                .order_by(AccessGrant.expires_at)
                .limit(BATCH)
                .with_for_update(skip_locked=True)
            )
        ).all()
        for grant in expired:
            grant.expiry_told_at = now
            record_grant(transaction, ACTOR, "grant.expired", grant, now)
        return len(expired)
