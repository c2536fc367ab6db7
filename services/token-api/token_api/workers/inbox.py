"""Processes LiveKit's events as they come in."""

from __future__ import annotations

import asyncio

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
# Of a replica. A task that waits for LiveKit uses neither a connection to the database nor the processor.
_ROOMS_AT_ONCE = 32

log = structlog.get_logger()


class InboxWorker:
    """One replica's: any number may work at once.

    Rooms are processed in parallel, the events of a room one after another and by one replica. So a room
    whose events take long delays no other room.
    """

    def __init__(self, services: Services, reactions: Reactions) -> None:
        self._services = services
        self._reactions = reactions
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    async def work(self) -> float:
        """See to it that each room with due events has a task; the seconds until something is due again."""
        now = self._services.clock.now
        waiting = await webhooks_in.waiting(self._services)
        free = _ROOMS_AT_ONCE - len(self._tasks)
        if waiting.is_due(now()) and free > 0 and not self._stopping:
            for room in await webhooks_in.rooms_with_due(self._services, free, without=list(self._tasks)):
                self._tasks[room] = asyncio.create_task(self._serve(room), name=f"inbox-{room}")
        self._services.metrics.inbox_lag.set(waiting.lag_seconds(now()))
        return pause_until(waiting.due_at, now(), at_least=EVERY_SECONDS)

    async def aclose(self) -> None:
        """Begin nothing more, and wait for the events that are being processed."""
        self._stopping = True
        await asyncio.gather(*self._tasks.values())

    async def _serve(self, room: str) -> None:
        """Process the events of a room that are due, in their order."""
        try:
            claim = await webhooks_in.claim_room(self._services, room)
            if claim is None:
                return
            while not self._stopping and (taken := await webhooks_in.take(self._services, room)):
                await self._process(taken)
                fresh = claim.is_fresh(self._services.clock.now())
                if not fresh and not await webhooks_in.renew(self._services, claim):
                    return
            await webhooks_in.release(self._services, claim)
        except Exception:
            # The database: the claim and the lease end, and a later round goes on.
            log.exception("inbox_failed", room=room)
        finally:
            del self._tasks[room]
            # Another room may wait for this task's place, and this one may have new events.
            self._services.wakeups.inbox.set()

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
