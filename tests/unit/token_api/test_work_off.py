"""Jobs run at the same time, up to a number; one that takes long delays no other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest

from tests.unit.token_api.receiver import eventually
from token_api.work_off import Job, work_off


class Jobs:
    """Jobs by number; those of `slow` run until `go_on`."""

    def __init__(self, count: int, *slow: int) -> None:
        self.waiting = list(range(count))
        self.slow = set(slow)
        self.go_on = asyncio.Event()
        self.bell = asyncio.Event()
        self.running: set[int] = set()
        self.most = 0
        self.ended: list[int] = []

    async def take(self, places: int) -> Sequence[Job]:
        taken, self.waiting = self.waiting[:places], self.waiting[places:]
        return [partial(self._run, number) for number in taken]

    async def _run(self, number: int) -> None:
        self.running.add(number)
        self.most = max(self.most, len(self.running))
        await asyncio.sleep(0)
        if number in self.slow:
            await self.go_on.wait()
        self.running.remove(number)
        self.ended.append(number)


async def test_all_are_done_and_no_more_at_once_than_allowed() -> None:
    jobs = Jobs(20)
    await work_off(jobs.take, jobs.bell, at_once=3)
    assert sorted(jobs.ended) == list(range(20))
    assert jobs.most == 3


async def test_a_slow_one_delays_neither_those_that_wait_nor_those_that_come() -> None:
    jobs = Jobs(5, 0)
    async with asyncio.TaskGroup() as group:
        group.create_task(work_off(jobs.take, jobs.bell, at_once=2))
        await eventually(lambda: jobs.ended == [1, 2, 3, 4], "the others", within=1)
        jobs.waiting.append(5)
        jobs.bell.set()
        await eventually(lambda: jobs.ended == [1, 2, 3, 4, 5], "the one that came", within=1)
        assert jobs.running == {0}
        jobs.go_on.set()
    assert jobs.ended == [1, 2, 3, 4, 5, 0]


async def test_what_comes_without_a_bell_is_found_while_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("token_api.work_off.LOOK_SECONDS", 0.05)
    jobs = Jobs(1, 0)
    async with asyncio.TaskGroup() as group:
        group.create_task(work_off(jobs.take, jobs.bell, at_once=2))
        await eventually(lambda: jobs.running == {0}, "the slow one")
        jobs.waiting.append(1)
        await eventually(lambda: jobs.ended == [1], "the one that came")
        jobs.go_on.set()


async def test_a_look_that_fails_is_raised_after_the_jobs_have_ended() -> None:
    jobs = Jobs(1, 0)

    async def take(places: int) -> Sequence[Job]:
        if jobs.running:
            jobs.go_on.set()
            raise RuntimeError("the database is away")
        return await jobs.take(places)

    task = asyncio.create_task(work_off(take, jobs.bell, at_once=2))
    await eventually(lambda: jobs.running == {0}, "the slow one")
    jobs.bell.set()
    with pytest.raises(RuntimeError, match="the database"):
        await task
    assert jobs.ended == [0]


async def test_an_interruption_interrupts_the_jobs() -> None:
    jobs = Jobs(1, 0)
    task = asyncio.create_task(work_off(jobs.take, jobs.bell, at_once=2))
    await eventually(lambda: jobs.running == {0}, "the slow one")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert jobs.ended == []
    assert asyncio.all_tasks() == {asyncio.current_task()}
