"""Processes LiveKit's events as they come in."""

from __future__ import annotations

import structlog

from token_api.database.tables import WebhookInbox
from token_api.domain.vocabulary import InboxState
from token_api.livekit_api.events import NoEvent
from token_api.problems import ProblemError
from token_api.use_cases import webhooks_in
from token_api.use_cases.services import Services
from token_api.use_cases.webhooks_in import Reactions
from token_api.workers.loop import pause_until

# How long an event that could not be processed, or that another replica has taken, is left alone at least.
EVERY_SECONDS = 5.0
_BATCH = 50

log = structlog.get_logger()


class InboxWorker:
    """One replica's: any number may work at once."""

    def __init__(self, services: Services, reactions: Reactions) -> None:
        self._services = services
        self._reactions = reactions

    async def work(self) -> float:
        """Process all that is due; the seconds until something is again."""
        now = self._services.clock.now
        waiting = await webhooks_in.waiting(self._services)
        while waiting.is_due(now()) and (taken := await webhooks_in.take(self._services, _BATCH)):
            for event in taken:
                await self._process(event)
            waiting = await webhooks_in.waiting(self._services)
        self._services.metrics.inbox_lag.set(waiting.lag_seconds(now()))
        return pause_until(waiting.due_at, now(), at_least=EVERY_SECONDS)

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
