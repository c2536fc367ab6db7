"""Results that many ask for at the same time."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.token_api.api import Api, problem
from token_api import recent
from token_api.recent import FRESH_SECONDS, Recent


class Maker:
    """Makes results; the test says when."""

    def __init__(self) -> None:
        self.time = 0.0
        self.made = 0
        self.fails = False

    async def make(self) -> bytes:
        await asyncio.sleep(0)
        self.made += 1
        if self.fails:
            raise RuntimeError("as told")
        return f"result {self.made}".encode()


async def test_many_at_once_are_given_one_result() -> None:
    maker = Maker()
    results = Recent[bytes](lambda: maker.time)
    found = await asyncio.gather(*(results.get("a", maker.make) for _ in range(12)))
    assert (set(found), maker.made) == ({b"result 1"}, 1)
    assert await results.get("b", maker.make) == b"result 2"


async def test_a_result_is_given_for_a_moment_and_then_forgotten() -> None:
    maker = Maker()
    results = Recent[bytes](lambda: maker.time)
    await results.get("a", maker.make)
    maker.time = FRESH_SECONDS * 0.9
    assert await results.get("a", maker.make) == b"result 1"
    maker.time = FRESH_SECONDS
    assert await results.get("a", maker.make) == b"result 2"
    maker.time += FRESH_SECONDS
    await results.get("b", maker.make)
    assert len(results) == 1


async def test_a_result_that_has_changed_is_made_anew() -> None:
    maker = Maker()
    results = Recent[bytes](lambda: maker.time)
    await results.get("a", maker.make)
    results.forget("a")
    results.forget("b")
    assert await results.get("a", maker.make) == b"result 2"


async def test_a_failure_is_nobody_elses() -> None:
    maker = Maker()
    results = Recent[bytes](lambda: maker.time)
    maker.fails = True
    with pytest.raises(RuntimeError):
        await results.get("a", maker.make)
    maker.fails = False
    assert await results.get("a", maker.make) == b"result 2"


async def test_figures_that_were_made_for_another_are_given_to_none_who_may_not_see_them(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "FRESH_SECONDS", 60.0)
    stream_id = await api.live_stream()
    await api.grant("viewer", "stream", stream_id)
    path = f"/v1/streams/{stream_id}/analytics"
    first = await api.client.get(path, headers=api.user("creator"))
    assert (await api.client.get(path, headers=api.service())).content == first.content
    assert problem(await api.client.get(path, headers=api.user("viewer"))) == (403, "role-forbidden")
    assert problem(await api.client.get(path, headers=api.user("nobody"))) == (404, "not-found")
