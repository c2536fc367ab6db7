"""Relays chat packets to the rooms, and tells GetStream of bans."""

from __future__ import annotations

from token_api.chat.getstream_api import GetStreamApi
from token_api.use_cases.chat_bans import tell_due
from token_api.use_cases.chat_relay import relay_due
from token_api.use_cases.services import Services
from token_api.workers.loop import IDLE_SECONDS

# How long what LiveKit or GetStream did not take waits for the next try.
EVERY_SECONDS = 2.0


async def work(services: Services) -> float:
    """Send all that is due; the seconds until the next try. Any number of replicas may work at once."""
    return EVERY_SECONDS if await relay_due(services) else IDLE_SECONDS


async def tell_bans(services: Services, api: GetStreamApi) -> float:
    """Tell GetStream of the bans that are due; the seconds until the next try."""
    return IDLE_SECONDS if await tell_due(services, api) else EVERY_SECONDS
