"""Runs the reconciler: by the clock on one replica, and what is urgent on each."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import datetime

import structlog

from token_api.database.leadership import Leadership
from token_api.problems import ProblemError
from token_api.use_cases import enforcement, healing, recording_reconciliation
from token_api.use_cases.services import Services
from token_api.workers.loop import Worker

# Any number that no other advisory lock of this database has.
LOCK = 0x746F6B656E01
# Those who were put out are looked for this often.
WATCH_SECONDS = 2.0
# A right that ends is over at its end, and not a moment before.
_AFTER_END = 0.05

log = structlog.get_logger()


class Reconciler:
    """One for each process. The one that leads compares all by the clock, and looks for those put out.

    A bell on any replica (a right was changed by a request that it served) has it judge all who are in:
    that two do so at once does no harm.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._leadership = Leadership(services.database, LOCK)
        self._due = 0.0
        self._next_end: datetime | None = None
        self._timer: asyncio.TimerHandle | None = None

    def workers(self) -> list[Worker]:
        """The rounds, and the watch."""
        bell, every = self._services.wakeups.reconciler, self._services.settings.reconcile_seconds
        return [
            Worker("reconciler", self.work, bell, every, close=self.aclose),
            # Nobody rings this bell.
            Worker("watch", self.watch, asyncio.Event(), WATCH_SECONDS),
            # By itself: a recorder that does not answer keeps who asks it waiting.
            Worker("recordings", self.recordings, asyncio.Event(), every),
        ]

    async def work(self) -> None:
        """A whole round where this one leads and it is due; else a look at everybody's rights.

        Raises:
            SQLAlchemyError: the database is away. That LiveKit is, is logged.
        """
        leads = await self._leadership.held()
        try:
            if leads and time.monotonic() >= self._due:
                await self._round()
            else:
                now = self._services.clock.now()
                await self._look(self._next_end if self._next_end and self._next_end > now else None)
        except ProblemError as error:
            self._services.metrics.reconciler_runs.labels("livekit-away").inc()
            log.warning("reconciler_waits_for_livekit", kind=error.kind.name)
            return
        self._set_timer()

    async def watch(self) -> None:
        """Look into the rooms from which somebody was put out who may come back by a token that they have.

        LiveKit tells when they do; but what it tells gets lost.
        """
        if not self._leadership.leads:
            return
        async with self._services.database.read() as transaction:
            rooms = await enforcement.watched_rooms(transaction, self._services.clock.now())
        with suppress(ProblemError):
            await healing.sweep(self._services, rooms)

    async def recordings(self) -> None:
        """Compare recordings with LiveKit's."""
        if not self._leadership.leads:
            return
        try:
            await recording_reconciliation.reconcile(self._services)
        except ProblemError as error:
            log.warning("recordings_wait_for_livekit", kind=error.kind.name)

    async def aclose(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        await self._leadership.aclose()

    async def _round(self) -> None:
        metrics = self._services.metrics
        with metrics.reconciler_seconds.time():
            self._next_end = await healing.heal(self._services)
        # Set once it has worked: what could not be done is due at the next bell, too.
        self._due = time.monotonic() + self._services.settings.reconcile_seconds * 0.9
        metrics.reconciler_runs.labels("done").inc()

    async def _look(self, known_end: datetime | None) -> None:
        ends = (await healing.sweep(self._services), known_end)
        self._next_end = min((end for end in ends if end is not None), default=None)

    def _set_timer(self) -> None:
        """Wake when the next right ends, which may be before the next round."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._next_end is not None:
            wait = max((self._next_end - self._services.clock.now()).total_seconds(), 0) + _AFTER_END
            self._timer = asyncio.get_running_loop().call_later(wait, self._services.wakeups.reconciler.set)
