"""Bans in GetStream's chat: told at once, until GetStream has taken them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import select

from tests.unit.token_api.api import Api
from tests.unit.token_api.getstream_stand_in import GetStreamStandIn
from tests.unit.token_api.receiver import eventually
from token_api.chat.getstream_api import GetStreamApi
from token_api.database.tables import Ban, ChatBanDue
from token_api.settings import Settings
from token_api.use_cases import chat_bans
from token_api.use_cases.services import Services

_SOON = 1.0


async def settled(api: Api, *, minutes: int = 0) -> None:
    """GetStream has taken all that it was to be told.

    Args:
        minutes: by which the service's clock goes on meanwhile, again and again: otherwise it stands still.
    """

    async def nothing_is_due() -> bool:
        if minutes:
            api.clock.advance(minutes=minutes)
            # The worker looks at that clock every few seconds of this machine's.
            api.services.wakeups.chat_bans.set()
        return not await api.rows(select(ChatBanDue.user_id))

    await eventually(nothing_is_due, "nothing to be due")


async def ban(api: Api, stream_id: str, user_id: str, **fields: object) -> str:
    made = await api.call(
        "POST", f"/streams/{stream_id}/bans", status=201, json={"user_id": user_id, **fields}
    )
    return str(made["id"])


def known(getstream: GetStreamStandIn, *users: str, streams: tuple[str, ...] = ()) -> None:
    """These have connected, and these channels are in use."""
    getstream.users |= {"token-api", *users}
    getstream.channels |= {f"livestream:{stream_id}" for stream_id in streams}


async def test_a_ban_is_there_at_once_and_gone_when_it_is_lifted(
    getstream_api: Api, getstream: GetStreamStandIn
) -> None:
    api = getstream_api
    stream_id = await api.live_stream()
    known(getstream, "anna", streams=(stream_id,))
    made = await ban(api, stream_id, "anna", reason="spam")
    await settled(api)
    assert getstream.bans == {("anna", f"livestream:{stream_id}"): None}
    # One request. Why somebody is banned is for owner and team.
    assert getstream.asked == ["POST /moderation/ban"]
    await api.call("DELETE", f"/streams/{stream_id}/bans/{made}", status=204)
    await settled(api)
    assert getstream.bans == {}


@pytest.mark.parametrize("missing", [400, 404])
async def test_who_has_never_connected_is_banned_too(
    getstream_api: Api, getstream: GetStreamStandIn, missing: int
) -> None:
    """They may have a token already, and connect with it later."""
    api = getstream_api
    getstream.missing = missing
    stream_id = await api.live_stream()
    await ban(api, stream_id, "anna")
    await settled(api)
    assert getstream.bans == {("anna", f"livestream:{stream_id}"): None}
    assert getstream.users == {"anna", "token-api"}


async def test_what_a_client_told_of_its_user_stays(getstream_api: Api, getstream: GetStreamStandIn) -> None:
    """An upsert of a user replaces their name and picture."""
    api = getstream_api
    stream_id = await api.live_stream()
    known(getstream, "anna")
    await ban(api, stream_id, "anna")
    await settled(api)
    assert getstream.bans == {("anna", f"livestream:{stream_id}"): None}
    assert "POST /users" not in getstream.asked


async def test_a_lifted_ban_of_somebody_unknown_is_no_error(
    getstream_api: Api, getstream: GetStreamStandIn
) -> None:
    api = getstream_api
    stream_id = await api.live_stream()
    getstream.failing = 503
    made = await ban(api, stream_id, "anna")
    await api.call("DELETE", f"/streams/{stream_id}/bans/{made}", status=204)
    getstream.failing = None
    await settled(api, minutes=1)
    assert getstream.bans == {}


@pytest.mark.parametrize(("seconds", "minutes"), [(1, 1), (60, 1), (61, 2), (86400, 1440)])
async def test_a_ban_for_a_time_ends_by_itself(
    getstream_api: Api, getstream: GetStreamStandIn, seconds: int, minutes: int
) -> None:
    api = getstream_api
    stream_id = await api.live_stream()
    await ban(api, stream_id, "anna", duration_seconds=seconds)
    await settled(api)
    assert getstream.bans == {("anna", f"livestream:{stream_id}"): minutes}


async def test_one_of_two_bans_is_lifted_and_the_other_holds(
    getstream_api: Api, getstream: GetStreamStandIn
) -> None:
    api = getstream_api
    stream_id = await api.live_stream()
    of_host = await ban(api, stream_id, "anna")
    body = {"user_id": "anna", "duration_seconds": 3600}
    await api.call("POST", f"/streams/{stream_id}/bans", api.user("creator"), 201, json=body)
    await api.call("DELETE", f"/streams/{stream_id}/bans/{of_host}", status=204)
    await settled(api)
    assert getstream.bans == {("anna", f"livestream:{stream_id}"): 60}


async def test_a_ban_of_a_space_holds_in_all_its_channels_also_later_ones(
    getstream_api: Api, getstream: GetStreamStandIn
) -> None:
    """A token of GetStream's is good for channels that come later. A draft has one when it goes live."""
    api = getstream_api
    live, planned, ended = await api.live_stream(), await api.stream(), await api.live_stream()
    await api.live_stream(space_id="another")
    await api.call("POST", f"/streams/{ended}/end")
    api.clock.advance(seconds=1)
    made = await ban(api, live, "anna", scope="space")
    await settled(api)
    assert set(getstream.bans) == {("anna", f"livestream:{live}")}
    await api.call("POST", f"/streams/{planned}/go-live")
    new = await api.live_stream()
    banned = {("anna", f"livestream:{stream_id}") for stream_id in (live, planned, new)}
    await eventually(lambda: set(getstream.bans) == banned, "the streams that went live since")
    await api.call("POST", f"/streams/{live}/end")
    await api.call("DELETE", f"/streams/{live}/bans/{made}", status=204)
    await settled(api)
    assert getstream.bans == {}


async def test_a_ban_by_the_team_does_not_hold_while_its_user_is_in_the_team_or_owns_the_stream(
    getstream_api: Api, getstream: GetStreamStandIn
) -> None:
    api = getstream_api
    stream_id = await api.live_stream()
    body = {"user_id": "anna"}
    await api.call("POST", f"/streams/{stream_id}/bans", api.user("creator"), 201, json=body)
    banned = {("anna", f"livestream:{stream_id}"): None}
    for method, path, wanted, status, expected in (
        ("PUT", "/spaces/space/team/anna", {}, 201, {}),
        ("DELETE", "/spaces/space/team/anna", None, 204, banned),
        ("PATCH", f"/streams/{stream_id}", {"owner_id": "anna"}, 200, {}),
        ("PATCH", f"/streams/{stream_id}", {"owner_id": "heir"}, 200, banned),
    ):
        await api.call(method, path, status=status, json=wanted)
        await settled(api)
        assert getstream.bans == expected, f"{method} {path}"


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_while_getstream_is_away_the_ban_waits_and_nothing_else_does(
    getstream_api: Api, getstream: GetStreamStandIn, status: int
) -> None:
    api = getstream_api
    stream_id = await api.live_stream()
    getstream.failing = status
    await ban(api, stream_id, "anna")
    await api.grant("ben", "stream", stream_id)
    await api.call("POST", f"/streams/{stream_id}/chat-token", api.user("ben"), 201)
    await eventually(lambda: "POST /moderation/ban" in getstream.asked, "GetStream to be asked")
    assert getstream.bans == {}
    getstream.failing = None
    await settled(api, minutes=1)
    assert getstream.bans == {("anna", f"livestream:{stream_id}"): None}


async def test_what_getstream_refuses_holds_up_no_other_ban(
    getstream_api: Api, getstream: GetStreamStandIn
) -> None:
    api = getstream_api
    stream_id = await api.live_stream()
    getstream.failing = 400
    await ban(api, stream_id, "anna")
    await eventually(lambda: "POST /moderation/ban" in getstream.asked, "GetStream to be asked")
    getstream.failing = None
    await ban(api, stream_id, "ben")
    await eventually(lambda: ("ben", f"livestream:{stream_id}") in getstream.bans, "the other ban")
    assert "anna" in await api.rows(select(ChatBanDue.user_id))
    await settled(api, minutes=1)
    assert len(getstream.bans) == 2


async def test_a_user_whom_getstream_cannot_have_is_not_told_of(
    getstream_api: Api, getstream: GetStreamStandIn
) -> None:
    api = getstream_api
    await ban(api, await api.live_stream(), "a.b")
    await settled(api)
    assert getstream.asked == []


async def test_with_our_own_chat_nothing_is_written_down(api: Api) -> None:
    stream_id = await api.live_stream()
    await ban(api, stream_id, "anna", scope="space")
    await api.live_stream()
    assert await api.rows(select(ChatBanDue.user_id)) == []


async def test_bans_of_a_time_with_another_chat_are_told_at_the_start(api: Api) -> None:
    stream_id, paused, draft = await api.live_stream(), await api.live_stream(), await api.stream()
    await api.call("POST", f"/streams/{paused}/pause")
    await api.live_stream(space_id="another")
    await ban(api, stream_id, "anna")
    await ban(api, stream_id, "ben", scope="space")
    await ban(api, draft, "dora")
    over = await ban(api, stream_id, "carl")
    await api.call("DELETE", f"/streams/{stream_id}/bans/{over}", status=204)
    # Two replicas begin.
    for _ in range(2):
        await chat_bans.begin(api.services)
    found = await api.rows(select(ChatBanDue))
    assert {(row.stream_id, row.user_id) for row in found} == {
        (stream_id, "anna"),
        (stream_id, "ben"),
        (paused, "ben"),
        (draft, "dora"),
    }


async def told(api: Api, ban_id: str) -> None:
    """Write down that a ban is to be told, as with GetStream's chat."""
    async with api.services.database.begin() as transaction:
        found = await transaction.get_one(Ban, ban_id)
        await chat_bans.on_ban(transaction, with_getstream(api).settings, found, api.clock.now())


def with_getstream(api: Api) -> Services:
    """The services as with GetStream's chat, of which no worker tells."""
    settings: Settings = api.services.settings.model_copy(update={"chat_provider": "getstream"})
    return replace(api.services, settings=settings)


class _Slow(GetStreamApi):
    """GetStream, whose answer to a lifted ban takes until `gate` is set."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.lifting = asyncio.Event()
        self.banned: set[str] = set()

    async def ban(self, user_id: str, stream_id: str, minutes: int | None) -> None:  # noqa: ARG002
        self.banned.add(user_id)

    async def lift(self, user_id: str, stream_id: str) -> None:  # noqa: ARG002
        self.lifting.set()
        await self.gate.wait()
        self.banned.discard(user_id)


async def test_a_later_change_is_told_after_an_earlier_one_by_any_replica(api: Api) -> None:
    """Two at once: what GetStream is told last must be what holds."""
    slow = _Slow()
    stream_id = await api.live_stream()
    made = await ban(api, stream_id, "anna")
    await api.call("DELETE", f"/streams/{stream_id}/bans/{made}", status=204)
    await told(api, made)
    async with asyncio.TaskGroup() as replicas:
        replicas.create_task(chat_bans.tell_due(api.services, slow))
        await slow.lifting.wait()
        await told(api, await ban(api, stream_id, "anna"))
        # Another replica: it leaves this one alone.
        assert await chat_bans.tell_due(api.services, slow)
        assert slow.banned == set()
        slow.gate.set()
    assert slow.banned == {"anna"}
    assert await api.rows(select(ChatBanDue)) == []
