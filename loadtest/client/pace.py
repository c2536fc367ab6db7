"""The one way in which a client does something regularly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator


async def ticks(period: float) -> AsyncIterator[int]:
    """0, 1, 2, ... every `period` seconds of an absolute clock, so that lateness does not add up.

    Ticks that are over when the loop comes back are left out: nothing is done twice to catch up.
    """
    start = time.monotonic()
    tick = 0
    while True:
        yield tick
        tick = max(tick + 1, int((time.monotonic() - start) / period))
        await asyncio.sleep(start + tick * period - time.monotonic())
