"""Starts the recordings of sessions that are recorded by themselves."""

from __future__ import annotations

from token_api.use_cases import auto_recording
from token_api.use_cases.services import Services
from token_api.workers.loop import pause_until

# How long what LiveKit did not take, or what another replica has taken, is left alone at least.
EVERY_SECONDS = 2.0


async def work(services: Services) -> float:
    """Look at all that is due; the seconds until something is due again. Any replica may work."""
    next_at = await auto_recording.look(services)
    return pause_until(next_at, services.clock.now(), at_least=EVERY_SECONDS)
