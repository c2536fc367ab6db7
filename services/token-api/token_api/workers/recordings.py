"""Compares recordings with LiveKit's, by the clock, on one replica.

Not in the reconciler's rounds: a recorder that does not answer keeps who asks it waiting.
"""

from __future__ import annotations

import asyncio

import structlog

from token_api.database.leadership import Leadership
from token_api.problems import ProblemError
from token_api.use_cases import recording_reconciliation
from token_api.use_cases.services import Services
from token_api.workers.loop import Worker

# Any number that no other advisory lock of this database has.
LOCK = 0x746F6B656E02

log = structlog.get_logger()


class RecordingsWorker:
    """One for each process; the one that leads works."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._leadership = Leadership(services.database, LOCK)

    def worker(self) -> Worker:
        every = self._services.settings.reconcile_seconds
        # Nobody rings this bell.
        return Worker("recordings", self.work, asyncio.Event(), every, close=self._leadership.aclose)

    async def work(self) -> None:
        """One round where this process leads.

        Raises:
            SQLAlchemyError: the database is away. That LiveKit is, is logged.
        """
        if not await self._leadership.held():
            return
        try:
            healed = await recording_reconciliation.reconcile(self._services)
        except ProblemError as error:
            log.warning("recordings_wait_for_livekit", kind=error.kind.name)
            return
        if healed:
            log.info("recordings_healed", count=healed)
