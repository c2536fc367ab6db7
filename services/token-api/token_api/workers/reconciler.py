"""Runs the reconciler: by the clock on one replica, and what is urgent on each."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import structlog

from token_api.database.leadership import Leadership
from token_api.failures import Failures
from token_api.problems import ProblemError
from token_api.use_cases import chat_bans, healing, watch
from token_api.use_cases.services import Services
from token_api.workers.loop import Worker

# Any number that no other advisory lock of this database has.
LOCK = 0x746F6B656E01
# How long a right that has ended, or somebody who comes back without one, stays unseen at most.
WATCH_SECONDS = 1.5

log = structlog.get_logger()


class Reconciler:
    """One for each process. The one that leads compares all by the clock, and watches.

    A bell on any replica (a right was changed by a request that it served) has it judge all who are in:
    that two do so at once does no harm.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._leadership = Leadership(services.database, LOCK)
        self._due = 0.0
        self._watched_until = services.clock.now()
        self._on_air: frozenset[str] | None = None

    def workers(self) -> list[Worker]:
        """The rounds, and the watch."""
        bell, every = self._services.wakeups.reconciler, self._services.settings.reconcile_seconds
        return [
            Worker("reconciler", self.work, bell, every, close=self._leadership.aclose),
            # It runs by its interval only.
            Worker("watch", self.watch, asyncio.Event(), WATCH_SECONDS),
        ]

    async def work(self) -> None:
        """A whole round where this one leads and it is due; else a look at everybody's rights.

        Raises:
            SQLAlchemyError: the database is away. That LiveKit is, is logged.
        """
        leads = await self._leadership.held()
        metrics = self._services.metrics
        try:
            if not leads or time.monotonic() < self._due:
                await healing.sweep(self._services)
                return
            with metrics.reconciler_seconds.time():
                await healing.heal(self._services)
        except ProblemError as error:
            metrics.reconciler_runs.labels("livekit-away").inc()
            log.warning("reconciler_waits_for_livekit", kind=error.kind.name)
            return
        # Set once it has worked: what could not be done is due at the next bell, too.
        self._due = time.monotonic() + self._services.settings.reconcile_seconds * 0.9
        metrics.reconciler_runs.labels("done").inc()

    async def watch(self) -> None:
        """Look which rooms are gone, where a right has just ended, who may come back, and what went live.

        Raises:
            Exception: something other than LiveKit failed. That LiveKit is away, is logged.
        """
        if not self._leadership.leads:
            self._on_air = None
            return
        failures = Failures()
        with failures.apart("bans_not_due"):
            self._on_air = await chat_bans.on_air(self._services, self._on_air)
        # The same again, as long as LiveKit is away.
        with suppress(ProblemError):
            self._watched_until = await watch.look(self._services, self._watched_until)
        failures.raise_one()
