"""Recordings deleted with their files: by hand, and after the days for which the operator keeps them."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import select

from token_api.database.tables import Recording
from token_api.domain.recording_states import FINAL
from token_api.problems import Kind, ProblemError
from token_api.storage import objects
from token_api.storage.store import Store, store_of
from token_api.use_cases.recording_rows import locked, tell
from token_api.use_cases.services import Services

# By what recordings that are too old are deleted.
ACTOR = "retention"
# Recordings that one query reads.
_AT_ONCE = 200
# So many times one after another the store does not answer: it is away, and the next round tries again.
_AWAY_AFTER = 3

log = structlog.get_logger()


async def delete_with_file(services: Services, store: Store, recording: Recording, actor: str) -> None:
    """Delete a recording that is final: first its file, then the row. Doing it again goes on where it was.

    Raises:
        ProblemError: those of the store. Then nothing is changed.
    """
    # Also of one that failed: a part of it may have come into the store.
    await objects.delete(store, recording.object_key)
    async with services.database.begin() as transaction:
        found = await locked(transaction, Recording.id == recording.id)
        if found is not None:
            tell(transaction, found, "recording.deleted", services.clock.now(), actor, event=True)
            await transaction.delete(found)


async def delete_old(services: Services) -> None:
    """Delete the recordings that ended before the days for which they are kept. Any replica may do so.

    One whose file cannot be deleted stays, and keeps no other from it: the next round tries it again.
    """
    store, days = store_of(services.settings), services.settings.recordings_retention_days
    if store is None or not days:
        return
    before = services.clock.now() - timedelta(days=days)
    wanted = (
        select(Recording)
        .where(Recording.status.in_(FINAL), Recording.ended_at < before)
        .order_by(Recording.id)
        .limit(_AT_ONCE)
    )
    deleted, away, last = 0, 0, ""
    while True:
        async with services.database.read() as transaction:
            old = (await transaction.scalars(wanted.where(Recording.id > last))).all()
        for recording in old:
            last = recording.id
            try:
                await delete_with_file(services, store, recording, ACTOR)
            except ProblemError as error:
                log.warning("recording_not_deleted", recording_id=recording.id, kind=error.kind.slug)
                away = away + 1 if error.kind is Kind.STORAGE_UNAVAILABLE else 0
                if away == _AWAY_AFTER:
                    return
            else:
                deleted, away = deleted + 1, 0
        if len(old) < _AT_ONCE:
            break
    if deleted:
        log.info("old_recordings_deleted", count=deleted)
