"""The order in which GetStream gets bans, and streams that go live later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import select

from tests.unit.token_api.api import Api
from tests.unit.token_api.receiver import eventually
from tests.unit.token_api.test_chat_bans import _SOON, ban, told, with_getstream
from token_api.chat.getstream_api import GetStreamApi, GetStreamAway
from token_api.database.tables import Ban, ChatBanDue, Stream, StreamSession
from token_api.use_cases import chat_bans
from token_api.workers.chat import EVERY_SECONDS, BanTeller


class _Told(GetStreamApi):
    """GetStream, as far as it is told of bans. Answers about the users in `held` take until `gate` is set."""

    def __init__(self, *held: str) -> None:
        self.bans: list[tuple[str, str]] = []
        self.lifted: list[tuple[str, str]] = []
        self.held = held
        self.gate = asyncio.Event()
        self.at_once = 0
        self.most = 0

    @property
    def users(self) -> list[str]:
        return [user_id for user_id, _ in self.bans]

    async def ban(self, user_id: str, stream_id: str, minutes: int | None) -> None:  # noqa: ARG002
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        if user_id in self.held:
            await self.gate.wait()
        self.at_once -= 1
        self.bans.append((user_id, stream_id))

    async def lift(self, user_id: str, stream_id: str) -> None:
        self.lifted.append((user_id, stream_id))


class _Away(GetStreamApi):
    """GetStream, which has had too many requests."""

    def __init__(self) -> None:
        self.asked = 0

    async def ban(self, user_id: str, stream_id: str, minutes: int | None) -> None:  # noqa: ARG002
        self.asked += 1
        raise GetStreamAway("429")


async def ban_many(api: Api, stream_id: str, count: int, name: str) -> None:
    for number in range(count):
        await told(api, await ban(api, stream_id, f"{name}-{number}"))


@pytest.fixture
def one_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the order can be seen."""
    monkeypatch.setattr(chat_bans, "AT_ONCE", 1)


async def test_a_ban_of_a_space_leaves_no_rows_for_its_drafts(api: Api) -> None:
    live = await api.live_stream()
    for _ in range(20):
        await api.stream()
    await told(api, await ban(api, live, "anna", scope="space"))
    assert [row.stream_id for row in await api.rows(select(ChatBanDue))] == [live]


@pytest.mark.usefixtures("one_at_once")
async def test_streams_on_air_are_told_before_others(api: Api) -> None:
    draft, live = await api.stream(), await api.live_stream()
    await ban_many(api, draft, 10, "early")
    api.clock.advance(seconds=1)
    await ban_many(api, live, 3, "late")
    getstream = _Told()
    assert await chat_bans.tell_due(api.services, getstream)
    assert set(getstream.users[:3]) == {"late-0", "late-1", "late-2"}
    assert len(getstream.users) == 13


@pytest.mark.usefixtures("one_at_once")
async def test_spaces_take_turns_however_many_bans_one_has(api: Api) -> None:
    crowded = await api.live_stream(space_id="m")
    await ban_many(api, crowded, 20, "many")
    api.clock.advance(seconds=1)
    for space in ("a", "z"):
        await told(api, await ban(api, await api.live_stream(space_id=space), f"one-of-{space}"))
    getstream = _Told()
    assert await chat_bans.tell_due(api.services, getstream)
    assert {"one-of-a", "one-of-z"} < set(getstream.users[:3])
    assert len(getstream.users) == 22


@pytest.mark.usefixtures("one_at_once")
async def test_the_turns_of_spaces_go_on_after_an_interruption(api: Api) -> None:
    """GetStream takes only some at a time: spaces at the end of the alphabet have their turn, too."""
    for space in ("a", "b", "c"):
        await ban_many(api, await api.live_stream(space_id=space), 3, space)
    getstream, turns = _Told(), chat_bans.Turns()

    def until(count: int) -> Callable[[], bool]:
        return lambda: len(getstream.bans) >= count

    for count in (1, 2, 3):
        await chat_bans.tell_due(api.services, getstream, turns, until(count))
    assert {user_id.partition("-")[0] for user_id in getstream.users} == {"a", "b", "c"}


@pytest.mark.usefixtures("one_at_once")
async def test_the_backlog_of_a_start_delays_no_new_ban(api: Api) -> None:
    stream_id = await api.live_stream()
    for number in range(10):
        await ban(api, stream_id, f"old-{number}")
    await chat_bans.begin(api.services)
    api.clock.advance(seconds=1)
    made = await ban(api, await api.stream(), "new")
    await told(api, made)
    # A change of an old one is new, too.
    changed = await api.rows(select(Ban.id).where(Ban.user_id == "old-7"))
    await told(api, changed[0])
    getstream = _Told()
    assert await chat_bans.tell_due(api.services, getstream)
    assert set(getstream.users[:2]) == {"new", "old-7"}
    assert len(getstream.users) == 11
    assert await api.rows(select(ChatBanDue)) == []


async def test_a_backlog_does_not_change_what_is_to_be_told_already(api: Api) -> None:
    stream_id = await api.live_stream()
    await told(api, await ban(api, stream_id, "anna"))
    before = await api.rows(select(ChatBanDue.version))
    await chat_bans.begin(api.services)
    assert await api.rows(select(ChatBanDue.version)) == before


async def test_an_answer_that_takes_long_delays_no_other_ban(api: Api) -> None:
    stream_id = await api.live_stream()
    await told(api, await ban(api, stream_id, "slow"))
    getstream = _Told("slow")
    async with asyncio.TaskGroup() as group:
        group.create_task(chat_bans.tell_due(api.services, getstream))
        await eventually(lambda: getstream.at_once == 1, "GetStream to be asked")
        await told(api, await ban(api, stream_id, "quick"))
        await eventually(lambda: getstream.users == ["quick"], "the other", within=_SOON)
        getstream.gate.set()
    assert getstream.users == ["quick", "slow"]


async def test_getstream_gets_a_few_requests_at_once(api: Api) -> None:
    await ban_many(api, await api.live_stream(), 12, "user")
    getstream = _Told(*(f"user-{number}" for number in range(12)))
    async with asyncio.TaskGroup() as group:
        group.create_task(chat_bans.tell_due(api.services, getstream))
        await eventually(lambda: getstream.at_once == chat_bans.AT_ONCE, "GetStream to be asked")
        getstream.gate.set()
    assert getstream.most == chat_bans.AT_ONCE > 1
    assert len(getstream.users) == 12


async def test_who_is_banned_meanwhile_does_not_shorten_getstreams_pause(api: Api) -> None:
    stream_id = await api.live_stream()
    await ban_many(api, stream_id, 10, "user")
    getstream = _Away()
    teller = BanTeller(api.services, getstream)
    assert await teller.work() == EVERY_SECONDS
    assert 1 <= getstream.asked <= chat_bans.AT_ONCE
    asked = getstream.asked
    await told(api, await ban(api, stream_id, "another"))
    api.clock.advance(minutes=1)
    assert 0 < await teller.work() <= EVERY_SECONDS
    assert getstream.asked == asked


async def test_of_a_stream_that_went_live_is_told_once(api: Api) -> None:
    services = with_getstream(api)
    before = await api.live_stream()
    known = await chat_bans.on_air(services, frozenset())
    draft = await api.stream()
    await ban(api, before, "anna", scope="space")
    assert await chat_bans.on_air(services, known) == known
    assert await api.rows(select(ChatBanDue)) == []
    await api.call("POST", f"/streams/{draft}/go-live")
    (session,) = await api.rows(select(StreamSession.id).where(StreamSession.stream_id == draft))
    known = await chat_bans.on_air(services, known)
    assert session in known
    assert await api.rows(select(ChatBanDue.stream_id)) == [draft]
    assert await chat_bans.tell_due(api.services, _Told())
    assert await chat_bans.on_air(services, known) == known
    assert await api.rows(select(ChatBanDue)) == []


async def test_a_replica_that_begins_to_lead_sees_to_what_went_live_lately(api: Api) -> None:
    services = with_getstream(api)
    early = await api.live_stream()
    await ban(api, early, "anna", scope="space")
    api.clock.advance(minutes=6)
    late = await api.live_stream()
    assert len(await chat_bans.on_air(services, None)) == 2
    assert await api.rows(select(ChatBanDue.stream_id)) == [late]


async def test_a_stream_for_which_it_failed_is_tried_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    services = with_getstream(api)
    bad, good = await api.live_stream(), await api.live_stream()
    await ban(api, bad, "anna", scope="space")
    on_stream = chat_bans.on_stream

    async def broken(transaction: object, settings: object, stream: Stream, now: object) -> None:
        if stream.id == bad:
            raise RuntimeError("nobody planned for this")
        await on_stream(transaction, settings, stream, now)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(chat_bans, "on_stream", broken)
        known = await chat_bans.on_air(services, frozenset())
    assert await api.rows(select(ChatBanDue.stream_id)) == [good]
    await chat_bans.on_air(services, known)
    assert set(await api.rows(select(ChatBanDue.stream_id))) == {bad, good}


async def test_a_ban_that_was_lifted_before_a_draft_went_live_is_lifted_there(api: Api) -> None:
    """Earlier releases told of bans for drafts, too."""
    live, draft = await api.live_stream(), await api.stream()
    made = await ban(api, live, "anna", scope="space")
    api.clock.advance(seconds=1)
    await api.call("DELETE", f"/streams/{live}/bans/{made}", status=204)
    await api.call("POST", f"/streams/{draft}/go-live")
    await chat_bans.on_air(with_getstream(api), frozenset())
    getstream = _Told()
    await chat_bans.tell_due(api.services, getstream)
    assert ("anna", draft) in getstream.lifted
    assert getstream.bans == []


async def test_a_ban_for_which_it_failed_stops_no_other(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    stream_id = await api.live_stream()
    for user_id in ("bad", "good"):
        await told(api, await ban(api, stream_id, user_id))
    getstream = _Told()
    own = getstream.ban

    async def broken(user_id: str, stream_id: str, minutes: int | None) -> None:
        if user_id == "bad":
            raise RuntimeError("nobody planned for this")
        await own(user_id, stream_id, minutes)

    with monkeypatch.context() as patched:
        patched.setattr(getstream, "ban", broken)
        await chat_bans.tell_due(api.services, getstream)
    assert getstream.users == ["good"]
    # When its claim has ended.
    api.clock.advance(minutes=2)
    await chat_bans.tell_due(api.services, getstream)
    assert getstream.users == ["good", "bad"]


async def test_two_replicas_tell_of_each_ban_once(api: Api) -> None:
    for space in ("a", "b"):
        await ban_many(api, await api.live_stream(space_id=space), 15, space)
    getstream = _Told()
    await asyncio.gather(*(chat_bans.tell_due(api.services, getstream) for _ in range(2)))
    assert len(getstream.bans) == len(set(getstream.bans)) == 30
