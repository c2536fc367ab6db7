"""A background task that works at a bell, and otherwise every so often, whatever a round raises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

import structlog

# How often a worker looks whether another replica died before it did what it had written down. What a replica
# itself writes down rings the bell of its own worker.
IDLE_SECONDS = 10.0
# For whoever was interrupted: then what it closes is interrupted, too.
_LAST_SECONDS = 2.0
# Of the task of a worker: set once the process is about to end.
_STOPPING: ContextVar[asyncio.Event | None] = ContextVar("stopping", default=None)

log = structlog.get_logger()


@dataclass(frozen=True)
class Worker:
    """`work` is called when `bell` rings, and otherwise after a pause; `close` after the last time.

    `work` returns the seconds that the pause may take. It is `every` where `work` returns None or fails.
    Both may be interrupted at the end of the process: what they do must survive that.
    """

    name: str
    work: Callable[[], Awaitable[float | None]]
    bell: asyncio.Event
    every: float
    close: Callable[[], Awaitable[None]] | None = None


@asynccontextmanager
async def working(workers: Sequence[Worker], *, patience: float) -> AsyncIterator[None]:
    """Run the workers for the block.

    At its end each comes to the end of its round, and closes, all within `patience` seconds; who is not done
    by then is interrupted.
    """
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(_run(worker, stopping), name=worker.name) for worker in workers]
    try:
        yield
    finally:
        stopping.set()
        for worker in workers:
            worker.bell.set()
        for seconds in (patience, _LAST_SECONDS):
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                log.warning("worker_interrupted", worker=task.get_name())
                task.cancel()
        for task, ended in zip(tasks, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
            if isinstance(ended, Exception):
                log.error("worker_not_closed", worker=task.get_name(), exc_info=ended)


def is_stopping() -> bool:
    """Whether the process is about to end. A round that would take long begins nothing more then."""
    stopping = _STOPPING.get()
    return stopping is not None and stopping.is_set()


async def _run(worker: Worker, stopping: asyncio.Event) -> None:
    _STOPPING.set(stopping)
    try:
        await _rounds(worker, stopping)
    finally:
        if worker.close is not None:
            await worker.close()


async def _rounds(worker: Worker, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        # Before the work: a bell that rings during it calls for another round.
        worker.bell.clear()
        pause = await do_round(worker)
        # A round may clear the bell, so it may have rung for the end.
        if stopping.is_set():
            return
        try:
            async with asyncio.timeout(pause):
                await worker.bell.wait()
        except TimeoutError:
            continue


async def do_round(worker: Worker) -> float:
    """Have a worker do what is due; the seconds until its next round, unless its bell rings."""
    try:
        wanted = await worker.work()
    except Exception:
        # Also of the database or of LiveKit being away: the next round tries again.
        log.exception("worker_failed", worker=worker.name)
        return worker.every
    return worker.every if wanted is None else wanted


def pause_until(moment: datetime | None, now: datetime, *, at_least: float) -> float:
    """The seconds until `moment`, at which something is due: no less than `at_least`, no more than
    IDLE_SECONDS. None: nothing is waiting."""
    if moment is None:
        return IDLE_SECONDS
    return min(max((moment - now).total_seconds(), at_least), IDLE_SECONDS)
