"""Relays chat packets to the rooms, and tells GetStream of bans."""

from __future__ import annotations

from token_api.chat.getstream_api import GetStreamApi
from token_api.use_cases import chat_bans
from token_api.use_cases.chat_relay import relay_due
from token_api.use_cases.services import Services
from token_api.workers.loop import IDLE_SECONDS

# How long what LiveKit or GetStream did not take waits for the next try.
EVERY_SECONDS = 2.0


async def work(services: Services) -> float:
    """Send all that is due; the seconds until the next try. Any number of replicas may work at once."""
    return EVERY_SECONDS if await relay_due(services) else IDLE_SECONDS


class BanTeller:
    """Tells GetStream of the bans that are due, and at the start of all."""

    def __init__(self, services: Services, api: GetStreamApi) -> None:
        self._services = services
        self._api = api
        self._begun = False

    async def work(self) -> float:
        """Tell what is due; the seconds until the next try."""
        if not self._begun:
            await chat_bans.begin(self._services)
            self._begun = True
        return IDLE_SECONDS if await chat_bans.tell_due(self._services, self._api) else EVERY_SECONDS
