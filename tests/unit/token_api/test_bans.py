"""Bans in force: the parts by which they are read, and the pages in which they are listed."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import chain, product

import pytest
from sqlalchemy import select

from tests.unit.token_api.api import START, Api
from token_api.callers import ServiceCaller
from token_api.database.columns import new_id
from token_api.database.tables import Ban
from token_api.domain.access import BanWindow, is_in_force
from token_api.domain.paging import Cursor, read_cursor
from token_api.use_cases import bans
from token_api.use_cases.standing import bans_in_force

_MOMENT = timedelta(microseconds=1)
_ENDS = (None, *(START + by * _MOMENT for by in (-1, 0, 1)), START + timedelta(days=1))
_LIFTED = (None, START - timedelta(hours=1))


async def add(api: Api, stream_id: str | None, space_id: str | None) -> list[Ban]:
    """A ban of each kind, some of them made at the same moment."""
    rows = [
        Ban(
            id=new_id(),
            stream_id=stream_id,
            space_id=space_id,
            user_id=f"user-{number}",
            banned_by="service",
            by_host=number % 2 == 0,
            created_at=START - timedelta(days=number // 3),
            until=until,
            lifted_at=lifted_at,
        )
        for number, (until, lifted_at) in enumerate(product(_ENDS, _LIFTED))
    ]
    async with api.services.database.begin() as transaction:
        transaction.add_all(rows)
    return rows


def in_force(rows: list[Ban], now: datetime) -> list[Ban]:
    return [row for row in rows if is_in_force(BanWindow(row.until, row.lifted_at), now)]


async def test_a_ban_in_force_meets_one_part_and_no_other_ban_meets_any(api: Api) -> None:
    rows = await add(api, None, "space")
    found = [await api.rows(select(Ban.id).where(part)) for part in bans_in_force(START)]
    assert sorted(chain(*found)) == sorted(row.id for row in in_force(rows, START))


async def test_pages_have_every_ban_in_force_once_newest_first(api: Api) -> None:
    stream_id, other_id = await api.stream(), await api.stream(space_id="elsewhere")
    rows = [*await add(api, stream_id, None), *await add(api, None, "space")]
    await add(api, other_id, None)
    await add(api, None, "elsewhere")
    wanted = sorted(in_force(rows, START), key=lambda row: (row.created_at, row.id), reverse=True)
    for limit in (1, 2, 3, 100):
        found: list[str] = []
        cursor: Cursor | None = None
        while True:
            async with api.services.database.read() as transaction:
                page = await bans.page(
                    transaction, ServiceCaller(), stream_id, START, cursor=cursor, limit=limit
                )
            found += [ban.id for ban in page.items]
            if page.next_cursor is None:
                break
            cursor = read_cursor(page.next_cursor)
        assert found == [row.id for row in wanted], limit


@pytest.mark.parametrize("scope", ["stream", "space"])
async def test_who_is_banned_again_has_a_new_ban_and_the_old_one_can_be_read(api: Api, scope: str) -> None:
    """The ids of past bans stay valid: `GET` shows them, and to lift one again does not lift the new one."""
    stream_id = await api.stream()
    path = f"/streams/{stream_id}/bans"
    wanted = {"user_id": "viewer", "scope": scope, "duration_seconds": 60}
    ended = await api.call("POST", path, json=wanted, status=201)
    api.clock.advance(seconds=61)
    lifted = await api.call("POST", path, json=wanted, status=201)
    await api.call("DELETE", f"{path}/{lifted['id']}", status=204)
    last = await api.call("POST", path, json=wanted, status=201)
    assert len({ban["id"] for ban in (ended, lifted, last)}) == 3
    assert (await api.call("GET", f"{path}/{ended['id']}"))["until"] == ended["until"]
    await api.call("DELETE", f"{path}/{lifted['id']}", status=204)
    assert [ban["id"] for ban in (await api.call("GET", path))["items"]] == [last["id"]]
