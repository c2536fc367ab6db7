"""Jobs that run at the same time, and that may become more while they run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

Job = Callable[[], Coroutine[Any, Any, None]]
Take = Callable[[int], Awaitable[Sequence[Job]]]

# How often new jobs are looked for while others run. What this process writes rings the bell.
LOOK_SECONDS = 2.0


async def work_off(take: Take, bell: asyncio.Event, *, at_once: int) -> None:
    """Run the jobs that `take` finds, up to `at_once` at the same time, until there are none.

    `take` is called again whenever a job ends, when `bell` rings, and every LOOK_SECONDS. So a job that takes
    long delays no other.

    Args:
        take: gets the number of jobs that may be added, and returns as many or fewer. It returns no job that
            is running. A job may raise nothing.

    Raises:
        What `take` raises, after the running jobs have ended.
    """
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        try:
            await _begin_all(take, bell, group, at_once)
        except Exception as error:
            failure = error
    if failure is not None:
        raise failure


async def _begin_all(take: Take, bell: asyncio.Event, group: asyncio.TaskGroup, at_once: int) -> None:
    running: set[asyncio.Task[None]] = set()

    def ended(task: asyncio.Task[None]) -> None:
        running.discard(task)
        bell.set()

    while True:
        # Before the look: a bell that rings during it calls for another look.
        bell.clear()
        free = at_once - len(running)
        for job in await take(free) if free > 0 else ():
            task = group.create_task(job())
            running.add(task)
            task.add_done_callback(ended)
        if not running and not bell.is_set():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_SECONDS):
                await bell.wait()
