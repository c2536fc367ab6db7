"""Stands in for the client of the service IOInfo, by which LiveKit is told of egresses."""

from __future__ import annotations

import asyncio
from typing import Any

from livekit.protocol import egress as proto

from recorder.psrpc.client import CallFailed, Client


class StubClient(Client):
    """Takes every report, unless `away` is set."""

    def __init__(self) -> None:
        self.taken: list[proto.EgressInfo] = []
        self.away = False
        self._changed = asyncio.Event()

    async def call(self, name: str, request: Any, *, seconds: float) -> bytes:
        await asyncio.sleep(0)
        if self.away:
            raise CallFailed("unavailable", f"nobody answered {name} within {seconds:g} s")
        taken = proto.EgressInfo()
        taken.CopyFrom(request)
        self.taken.append(taken)
        self._changed.set()
        return b""

    async def next_report(self) -> None:
        """Wait for one more report."""
        self._changed.clear()
        await self._changed.wait()

    def of(self, egress_id: str) -> list[proto.EgressInfo]:
        """The reports of one egress."""
        return [each for each in self.taken if each.egress_id == egress_id]
