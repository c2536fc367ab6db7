"""A lock for each key: one at a time for a key, all at once for different ones, and nothing is kept."""

from __future__ import annotations

import asyncio

import pytest

from token_api.keyed_locks import KeyedLocks


async def settle() -> None:
    """Let every task go on as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Holders:
    """Tasks that hold keys until they are let go; `inside` has the names of those that hold one now."""

    def __init__(self) -> None:
        self.locks = KeyedLocks()
        self.inside: list[str] = []
        self._gates: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, key: str) -> asyncio.Task[None]:
        self._gates[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._hold(name, key))
        return self._tasks[name]

    async def _hold(self, name: str, key: str) -> None:
        async with self.locks.hold(key):
            self.inside.append(name)
            await self._gates[name].wait()
            self.inside.remove(name)

    async def let_go(self, name: str) -> None:
        self._gates[name].set()
        await self._tasks[name]
        await settle()


async def test_one_at_a_time_for_a_key_in_the_order_of_their_coming() -> None:
    holders = Holders()
    for name in ("first", "second", "third"):
        holders.start(name, "a")
        await settle()
    for name in ("first", "second", "third"):
        assert holders.inside == [name]
        await holders.let_go(name)
    assert holders.inside == []


async def test_other_keys_are_not_waited_for() -> None:
    holders = Holders()
    holders.start("one", "a")
    holders.start("other", "b")
    await settle()
    assert holders.inside == ["one", "other"]
    await holders.let_go("one")
    await holders.let_go("other")


async def test_who_comes_when_one_has_gone_and_others_wait_waits_too() -> None:
    """The lock of a key that somebody waits for is not thrown away and made anew."""
    holders = Holders()
    for name in ("first", "second"):
        holders.start(name, "a")
        await settle()
    await holders.let_go("first")
    holders.start("third", "a")
    await settle()
    assert holders.inside == ["second"]
    await holders.let_go("second")
    await holders.let_go("third")


async def test_a_holder_that_fails_lets_go() -> None:
    locks = KeyedLocks()
    with pytest.raises(ValueError, match="failed"):
        async with locks.hold("a"):
            raise ValueError("failed")
    async with asyncio.timeout(5), locks.hold("a"):
        pass
    assert locks._locks == {}


async def test_one_who_stops_waiting_leaves_the_lock_to_the_others() -> None:
    holders = Holders()
    holders.start("first", "a")
    await settle()
    tired = holders.start("tired", "a")
    holders.start("third", "a")
    await settle()
    tired.cancel()
    with pytest.raises(asyncio.CancelledError):
        await tired
    assert holders.inside == ["first"]
    await holders.let_go("first")
    assert holders.inside == ["third"]
    await holders.let_go("third")


async def test_nothing_is_kept_of_a_key_that_nobody_wants() -> None:
    """There are as many keys as there ever were streams."""
    holders = Holders()
    for number in range(100):
        holders.start(f"holder-{number}", f"key-{number % 10}")
    await settle()
    assert len(holders.locks._locks) == 10
    for number in range(100):
        await holders.let_go(f"holder-{number}")
    assert holders.locks._locks == {}
