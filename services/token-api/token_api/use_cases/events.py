"""What happened, written down in the transaction of the change itself: for the audit, and for the host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.columns import new_id
from token_api.database.engine import wake
from token_api.database.tables import AuditEntry, Outbox

# Every `event_type` that the host application can be sent.
EVENT_TYPES = frozenset(
    {
        *("stream.created", "stream.updated", "stream.deleted"),
        *("stream.live", "stream.paused", "stream.resumed", "stream.ended", "stream.failed"),
        *("grant.created", "grant.cancelled", "grant.expired"),
        *("participant.joined", "participant.left", "participant.removed", "participant.banned"),
        *("participant.unbanned", "participant.promoted", "participant.demoted"),
        *("participant.muted", "stage.requested", "stage.withdrawn", "stage.accepted", "stage.declined"),
        "chat.message-deleted",
        *("recording.started", "recording.ended", "recording.failed", "recording.deleted"),
        "recording.never-started",
    }
)

# Of the events' form: grows where a receiver that knows the one before would be misled.
PAYLOAD_VERSION = 1


def record(
    transaction: AsyncSession,
    *,
    now: datetime,
    actor: str,
    action: str,
    stream_id: str | None = None,
    details: Mapping[str, Any] | None = None,
    event_type: str | None = None,
) -> None:
    """Write an audit entry, and where `event_type` is given an event for the host, both with `details`."""
    text = json.dumps(details or {}, separators=(",", ":"))
    transaction.add(AuditEntry(at=now, actor=actor, action=action, stream_id=stream_id, details=text))
    if event_type is None:
        return
    if event_type not in EVENT_TYPES:
        raise ValueError(f"no event is called {event_type!r}")
    payload = {
        "type": event_type,
        "version": PAYLOAD_VERSION,
        "timestamp": now.isoformat(),
        "data": {"stream_id": stream_id, **(details or {})},
    }
    transaction.add(
        Outbox(
            id=new_id(),
            event_type=event_type,
            stream_id=stream_id,
            payload=json.dumps(payload, separators=(",", ":")),
            created_at=now,
        )
    )
    wake(transaction, "outbox")
