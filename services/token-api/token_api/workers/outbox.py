"""Sends our events to the host application's endpoints."""

from __future__ import annotations

import asyncio

import structlog

from token_api.delivery.client import DeliveryClient
from token_api.delivery.signing import signed_headers
from token_api.use_cases import deliveries
from token_api.use_cases.deliveries import Sending
from token_api.use_cases.services import Services
from token_api.workers.loop import pause_until

# How long a delivery that is under way is left alone at least. The first pause of the schedule is 5 s.
EVERY_SECONDS = 2.0
# To one endpoint at once: a slow one holds up no other, and is not overrun.
_AT_ONCE = 4

log = structlog.get_logger()


class OutboxWorker:
    """One replica's: any number may work at once. `aclose` lets what is being sent come to its end."""

    def __init__(self, services: Services, client: DeliveryClient) -> None:
        self._services = services
        self._client = client
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False

    async def work(self) -> float:
        """Fan events out, and see to it that each endpoint with something due has a task that sends it.

        Returns:
            The seconds until something is due again.
        """
        now = self._services.clock.now
        waiting = await deliveries.waiting(self._services)
        while waiting.has_events and await deliveries.fan_out(self._services):
            waiting = await deliveries.waiting(self._services)
        if waiting.is_due(now()):
            for endpoint_id in await deliveries.endpoints_with_due(self._services):
                if endpoint_id not in self._tasks and not self._stopping:
                    task = asyncio.create_task(self._serve(endpoint_id), name=f"outbox-{endpoint_id}")
                    self._tasks[endpoint_id] = task
        self._services.metrics.outbox_lag.set(waiting.lag_seconds(now()))
        return pause_until(waiting.next_at, now(), at_least=EVERY_SECONDS)

    async def aclose(self) -> None:
        """Take nothing more, and wait for what is being sent. What an interruption cuts off is sent again."""
        self._stopping = True
        await asyncio.gather(*self._tasks.values())

    async def _serve(self, endpoint_id: str) -> None:
        try:
            while not self._stopping:
                taken = await deliveries.take(self._services, endpoint_id, _AT_ONCE)
                if not taken:
                    break
                await asyncio.gather(*map(self._send, taken))
                # Something may become due between the last look and the end of this task.
                self._services.wakeups.outbox.set()
        except Exception:
            # The database, as the client raises nothing: the leases end, and a later round sends again.
            log.exception("outbox_failed", endpoint_id=endpoint_id)
        finally:
            del self._tasks[endpoint_id]

    async def _send(self, taken: Sending) -> None:
        headers = signed_headers(taken.message_id, self._services.clock.now(), taken.body, taken.keys)
        outcome = await self._client.send(taken.url, taken.body, headers)
        result = await deliveries.settle(self._services, taken, outcome)
        self._services.metrics.deliveries.labels(result).inc()
        log.info(
            "webhook_sent",
            endpoint_id=taken.endpoint_id,
            message_id=taken.message_id,
            attempt=taken.attempts,
            status=outcome.status,
            error=outcome.error or None,
            result=result,
        )
