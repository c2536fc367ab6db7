"""Relays chat packets to the rooms, and tells GetStream of bans."""

from __future__ import annotations

import time

from token_api.chat.getstream_api import GetStreamApi
from token_api.use_cases import chat_bans
from token_api.use_cases.chat_relay import relay_due
from token_api.use_cases.services import Services
from token_api.workers.loop import IDLE_SECONDS, is_stopping

# How long what LiveKit or GetStream did not take waits for the next try.
EVERY_SECONDS = 2.0


async def work(services: Services) -> float:
    """Send all that is due; the seconds until the next try. Any number of replicas may work at once."""
    return EVERY_SECONDS if await relay_due(services, is_stopping) else IDLE_SECONDS


class BanTeller:
    """Tells GetStream of the bans that are due, and at the start of all."""

    def __init__(self, services: Services, api: GetStreamApi) -> None:
        self._services = services
        self._api = api
        self._begun = False
        self._turns = chat_bans.Turns()
        self._paused_until = time.monotonic()

    async def work(self) -> float:
        """Tell what is due; the seconds until the next try.

        When GetStream is away, or got too many requests, it gets none for EVERY_SECONDS. Bans that are made
        meanwhile wait, too.
        """
        if not self._begun:
            await chat_bans.begin(self._services)
            self._begun = True
        pause = self._paused_until - time.monotonic()
        if pause > 0:
            return pause
        if await chat_bans.tell_due(self._services, self._api, self._turns, is_stopping):
            return IDLE_SECONDS
        self._paused_until = time.monotonic() + EVERY_SECONDS
        return EVERY_SECONDS
