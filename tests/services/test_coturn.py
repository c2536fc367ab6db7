"""coturn as the chart starts it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from common.waiting import wait_until
from tests.deployment.turn_client import allocate, credentials
from tests.services.coturn import SECRET, TurnPod
from tests.support.speed import scaled

# Fewer than the challenges that one address gets in a second.
_FIRST_REQUESTS = 40


async def test_a_new_server_accepts_all_of_many_first_requests(pod: TurnPod) -> None:
    """Clients that come back at once after a restart. The server opens its database at the first requests."""
    with pod.redis(), pod.exporter(), pod.coturn():
        wait_until(
            lambda: pod.metrics()["turn_up"] == 1,
            timeout=scaled(20),
            describe="coturn to answer",
            interval=0.1,
        )
        async with AsyncExitStack() as held:
            answers = await asyncio.gather(
                *(
                    held.enter_async_context(
                        allocate(pod.server("udp"), credentials(SECRET, user=f"u{number}"))
                    )
                    for number in range(_FIRST_REQUESTS)
                ),
                return_exceptions=True,
            )
        refused = [answer for answer in answers if isinstance(answer, BaseException)]
        assert refused == [], pod.log("coturn")
