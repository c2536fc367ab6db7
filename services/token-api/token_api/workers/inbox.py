"""Processes LiveKit's events as they come in."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from token_api.database.tables import WebhookInbox
from token_api.domain.vocabulary import InboxState
from token_api.livekit_api.events import NoEvent
from token_api.problems import ProblemError
from token_api.use_cases import webhooks_in
from token_api.use_cases.services import Services
from token_api.use_cases.webhooks_in import Reactions

# A bell rings in the replica that took the event; the others find what it left behind.
EVERY_SECONDS = 5.0
_BATCH = 50
_PRUNE_EVERY = timedelta(hours=1)

log = structlog.get_logger()


class InboxWorker:
    """One replica's: any number may work at once."""

    def __init__(self, services: Services, reactions: Reactions) -> None:
        self._services = services
        self._reactions = reactions
        self._pruned_at: datetime | None = None

    async def work(self) -> None:
        """Process all that is due."""
        while taken := await webhooks_in.take(self._services, _BATCH):
            for event in taken:
                await self._process(event)
        self._services.metrics.inbox_lag.set(await webhooks_in.lag_seconds(self._services))
        await self._prune()

    async def _process(self, taken: WebhookInbox) -> None:
        outcome = "processed"
        try:
            await webhooks_in.process(self._services, self._reactions, taken)
        except Exception as error:
            state = await webhooks_in.put_back(self._services, taken, error)
            outcome = "parked" if state is InboxState.FAILED else "put-back"
            # Of a bad event, or of LiveKit being away, a traceback says nothing more.
            planned = isinstance(error, NoEvent | ProblemError)
            log.warning(
                "livekit_event_failed",
                exc_info=None if planned else error,
                error=type(error).__name__,
                event_id=taken.event_id,
                event_type=taken.event_type,
                attempts=taken.attempts,
                outcome=outcome,
            )
        self._services.metrics.inbox_events.labels(outcome).inc()

    async def _prune(self) -> None:
        now = self._services.clock.now()
        if self._pruned_at is not None and now - self._pruned_at < _PRUNE_EVERY:
            return
        self._pruned_at = now
        async with self._services.database.begin() as transaction:
            await webhooks_in.prune(transaction, now)
