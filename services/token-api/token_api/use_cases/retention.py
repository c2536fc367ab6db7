"""How long the rows of each table are kept, and the removal of those that are older.

Every table has a rule, so that no table grows without bound by requests of clients. A new table needs a rule
too: `tests/unit/token_api/test_retention.py` compares this list with the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, and_, delete, or_, select, tuple_

from token_api.database import tables
from token_api.database.columns import Base
from token_api.domain.vocabulary import InboxState
from token_api.use_cases.services import Services

# How often rows that are too old are removed.
EVERY_SECONDS = 3600.0
# Rows that one transaction removes: others write meanwhile, and SQLite has one writer.
_AT_ONCE = 2000

log = structlog.get_logger()


@dataclass(frozen=True)
class Pruned:
    """Rows are removed `after` the time in `since`, if they meet `only`."""

    since: Any
    after: timedelta
    only: ColumnElement[bool] | None = None

    def is_over(self, now: datetime) -> ColumnElement[bool]:
        too_old: ColumnElement[bool] = self.since < now - self.after
        return too_old if self.only is None else and_(too_old, self.only)


@dataclass(frozen=True)
class GoesWith:
    """Rows are removed together with the row of `parent` that they belong to."""

    parent: type[Base]


@dataclass(frozen=True)
class Kept:
    """Rows are kept until the host application removes them; `why` it decides."""

    why: str


Rule = Pruned | GoesWith | Kept

_ENDED_INBOX = tables.WebhookInbox.state.in_((InboxState.DONE, InboxState.IGNORED))

# LiveKit repeats an event for half a minute, so after an hour no duplicate comes. A participant causes any
# number of events by publishing and unpublishing a track.
_PROCESSED = Pruned(tables.WebhookInbox.received_at, timedelta(hours=1), _ENDED_INBOX)
_PARKED = Pruned(
    tables.WebhookInbox.received_at, timedelta(days=30), tables.WebhookInbox.state == InboxState.FAILED
)

RULES: Mapping[type[Base], tuple[Rule, ...]] = {
    tables.Stream: (Kept("it plans streams, and deletes them with DELETE /v1/streams/{id}"),),
    tables.StreamSession: (GoesWith(tables.Stream),),
    tables.AccessGrant: (Kept("it sells passes; each purchase is one row"),),
    tables.TeamMember: (Kept("it keeps teams"),),
    tables.Ban: (
        Pruned(tables.Ban.lifted_at, timedelta(days=365)),
        Pruned(tables.Ban.until, timedelta(days=365)),
    ),
    tables.Participant: (GoesWith(tables.StreamSession),),
    tables.Visit: (GoesWith(tables.StreamSession),),
    tables.AudienceStep: (GoesWith(tables.StreamSession),),
    tables.Removal: (GoesWith(tables.StreamSession),),
    tables.StageRequest: (GoesWith(tables.StreamSession),),
    # Also deleted by age, each with its file: see `use_cases.recording_deletion`.
    tables.Recording: (Kept("it deletes recordings with DELETE /v1/recordings/{id}"),),
    tables.AutoRecording: (GoesWith(tables.StreamSession),),
    tables.ChatMessage: (GoesWith(tables.Stream),),
    tables.ChatRelay: (GoesWith(tables.StreamSession),),
    tables.WebhookInbox: (_PROCESSED, _PARKED),
    # Of a process that died while it worked on the last event of a room.
    tables.InboxClaim: (Pruned(tables.InboxClaim.claimed_until, timedelta(days=1)),),
    tables.CallRoom: (Pruned(tables.CallRoom.wanted_until, timedelta(days=1)),),
    # GetStream has refused it for so long.
    tables.ChatBanDue: (GoesWith(tables.Stream), Pruned(tables.ChatBanDue.since, timedelta(days=30))),
    # An event that is not fanned out yet stays, whatever its age.
    tables.Outbox: (
        Pruned(tables.Outbox.created_at, timedelta(days=30), tables.Outbox.fanned_out_at.is_not(None)),
    ),
    tables.WebhookEndpoint: (Kept("it registers endpoints, and deletes them"),),
    tables.WebhookDelivery: (GoesWith(tables.Outbox),),
    tables.AuditEntry: (Pruned(tables.AuditEntry.at, timedelta(days=365)),),
    tables.IdempotencyKey: (Pruned(tables.IdempotencyKey.created_at, timedelta(days=1)),),
    tables.QualityCount: (GoesWith(tables.StreamSession),),
    tables.TelemetrySender: (Pruned(tables.TelemetrySender.last_at, timedelta(days=1)),),
    tables.JoinFailure: (GoesWith(tables.Stream),),
}


async def prune(services: Services) -> None:
    """Remove all rows that are older than they are kept. Any replica may do so, also several at once."""
    for table, rules in RULES.items():
        over = [rule.is_over(services.clock.now()) for rule in rules if isinstance(rule, Pruned)]
        if over and (removed := await _remove(services, table, or_(*over))):
            log.info("rows_removed", table=table.__tablename__, rows=removed)


async def _remove(services: Services, table: type[Base], over: ColumnElement[bool]) -> int:
    """Remove the rows that are `over`, some at a time; returns how many."""
    key = tuple(table.__table__.primary_key)
    total = 0
    while True:
        some = select(*key).where(over).limit(_AT_ONCE)
        condition = key[0].in_(some) if len(key) == 1 else tuple_(*key).in_(some)
        async with services.database.begin() as transaction:
            removed = (await transaction.execute(delete(table).where(condition).returning(key[0]))).all()
        total += len(removed)
        if len(removed) < _AT_ONCE:
            return total
