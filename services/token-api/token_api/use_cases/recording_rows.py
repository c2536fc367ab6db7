"""The rows of recordings: found and locked, and what happened to one told."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from token_api.database.tables import Recording
from token_api.use_cases import auto_recording_rows
from token_api.use_cases.events import record
from token_api.use_cases.services import Services


async def locked(
    transaction: AsyncSession, which: ColumnElement[bool], *, lock: bool = True
) -> Recording | None:
    """The recording that meets `which`, as it is now; nobody else changes it until the commit."""
    wanted = select(Recording).where(which).execution_options(populate_existing=True)
    found: Recording | None = await transaction.scalar(wanted.with_for_update() if lock else wanted)
    return found


def tell(
    transaction: AsyncSession,
    recording: Recording,
    action: str,
    now: datetime,
    actor: str,
    *,
    event: bool = False,
) -> None:
    """Write down that `action` happened to a recording; `event`: the host application is told, too."""
    details = {
        "recording_id": recording.id,
        "session_id": recording.session_id,
        "status": recording.status.value,
        "error": recording.error,
        "has_file": recording.has_file,
        "size_bytes": recording.size_bytes,
        "duration_seconds": recording.duration_seconds,
    }
    record(
        transaction,
        now=now,
        actor=actor,
        action=action,
        stream_id=recording.stream_id,
        details=details,
        event_type=action if event else None,
    )


async def withdraw(services: Services, recording_id: str, actor: str) -> None:
    """Take back the intent to record: LiveKit started nothing. If it does later, `on_egress` stops it."""
    async with services.database.begin() as transaction:
        recording = await locked(transaction, Recording.id == recording_id)
        if recording is not None and recording.egress_id is None:
            now = services.clock.now()
            tell(transaction, recording, "recording.withdrawn", now, actor)
            await transaction.delete(recording)
            await auto_recording_rows.withdrawn(transaction, recording.session_id, now)
