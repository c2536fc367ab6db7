"""A background task that works at a bell, and otherwise every so often, whatever a round raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

log = structlog.get_logger()


@dataclass(frozen=True)
class Worker:
    """`work` is called when `bell` rings, and `every` seconds without it; `close` after the last time."""

    name: str
    work: Callable[[], Awaitable[None]]
    bell: asyncio.Event
    every: float
    close: Callable[[], Awaitable[None]] | None = None


@asynccontextmanager
async def working(workers: Sequence[Worker]) -> AsyncIterator[None]:
    """Run the workers for the block. At its end each is interrupted: what they do must survive that."""
    tasks = [asyncio.create_task(_run(worker), name=worker.name) for worker in workers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for worker in workers:
            if worker.close is not None:
                await worker.close()


async def _run(worker: Worker) -> None:
    while True:
        # Before the work: a bell that rings during it calls for another round.
        worker.bell.clear()
        try:
            await worker.work()
        except Exception:
            # Also of the database or of LiveKit being away: the next round tries again.
            log.exception("worker_failed", worker=worker.name)
        try:
            async with asyncio.timeout(worker.every):
                await worker.bell.wait()
        except TimeoutError:
            continue
