"""What the reconciler puts right, on both databases; and that it leaves alone what is not ours."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from livekit.protocol import models as proto
from livekit.protocol import room as proto_room
from sqlalchemy import select, update
from sqlalchemy.event import listen

from common.waiting import wait_until
from tests.unit.token_api.api import START, Api
from tests.unit.token_api.livekit_double import TwirpError
from tests.unit.token_api.receiver import eventually
from tests.unit.token_api.test_moderation import admit, inside, told
from token_api.database.engine import Database
from token_api.database.leadership import Leadership
from token_api.database.tables import AuditEntry, Participant, Stream, StreamSession
from token_api.domain.access import Admitted, Refusal, Refused
from token_api.domain.enforcement import Eject, Known, Put, Seen, Stay, exceeds, judge
from token_api.domain.healing import Healing, Patience, SessionFacts, diagnose
from token_api.domain.roles import ALL_SOURCES, Permissions, StreamRole, permissions_of
from token_api.domain.vocabulary import SessionState, StreamStatus
from token_api.use_cases import healing
from token_api.workers.loop import Worker, working

_AWAY = TwirpError("unavailable", 503)


async def healed(api: Api, stream_id: str | None = None) -> list[str]:
    """Run a round; what the audit has of rounds, for a stream or all."""
    await healing.heal(api.services)
    wanted = select(AuditEntry).where(AuditEntry.actor == "reconciler").order_by(AuditEntry.at)
    rows = await api.rows(wanted)
    return [
        row.action.removeprefix("reconciler.")
        for row in rows
        if row.action.startswith("reconciler.") and stream_id in {None, row.stream_id}
    ]


async def status(api: Api, stream_id: str) -> str:
    return str((await api.call("GET", f"/streams/{stream_id}"))["status"])


async def test_a_round_over_what_is_right_changes_nothing(api: Api) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "creator", grant=False)
    await admit(api, stream_id, "viewer")
    for _ in range(2):
        assert await healed(api) == []
    assert inside(api, room) == {"u:creator", "u:viewer"}
    assert await status(api, stream_id) == "live"


async def test_rooms_that_are_not_ours_are_never_touched(api: Api) -> None:
    # The service's own first round would delete the room, too.
    await eventually(lambda: "ListRooms" in api.livekit.calls, "the first round")
    ours = f"stream_{'0' * 8}-0000-0000-0000-{'0' * 12}_{'0' * 12}"
    others = ["lobby", "stream_", "stream_mine", f"{ours}x", f"x{ours}", ours.upper()]
    for name in [*others, ours]:
        api.livekit.room_create(proto_room.CreateRoomRequest(name=name))
        api.livekit.participants[name]["them"] = proto.ParticipantInfo(identity="them", sid="PA_them")
    api.livekit.calls.clear()
    assert await healed(api) == ["room-without-session"]
    assert sorted(api.livekit.rooms) == sorted(others)
    assert all(api.livekit.participants[name] for name in others)


async def test_strangers_are_put_out_and_livekits_helpers_stay(api: Api) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "creator", grant=False)
    kinds = proto.ParticipantInfo.Kind
    for identity, kind in (("EG_1", kinds.EGRESS), ("stranger", kinds.STANDARD), ("phone", kinds.SIP)):
        permission = proto.ParticipantPermission(can_subscribe=True, hidden=kind == kinds.EGRESS)
        api.livekit.participants[room][identity] = proto.ParticipantInfo(
            identity=identity, sid=f"PA_{identity}", kind=kind, permission=permission
        )
    await healed(api)
    assert inside(api, room) == {"u:creator", "EG_1"}
    entries = await api.rows(select(AuditEntry).where(AuditEntry.actor == "enforcement"))
    assert {json.loads(entry.details)["reason"] for entry in entries} == {"unknown-identity"}
    assert api.services.metrics.ejections.labels("unknown-identity")._value.get() == 2


@pytest.fixture
def seldom(environment: pytest.MonkeyPatch) -> None:
    """No round after the first, as long as a test runs."""
    environment.setenv("TOKEN_API_RECONCILE_SECONDS", "300")


@pytest.mark.parametrize("end", ["expires", "cancelled", "team"])
async def test_a_right_that_ends_puts_its_owner_out_without_any_round(
    seldom: None, api: Api, end: str
) -> None:
    stream_id = await api.live_stream()
    grant_id = ""
    if end == "team":
        await api.call("PUT", "/spaces/space/team/viewer", json={}, status=201)
    else:
        expires_at = (api.clock.now() + timedelta(seconds=300)).isoformat()
        grant_id = await api.grant("viewer", "stream", stream_id, expires_at=expires_at)
    room = await admit(api, stream_id, "viewer", grant=False)
    await admit(api, stream_id, "other")
    if end == "expires":
        api.clock.advance(seconds=300)
    elif end == "cancelled":
        await api.call("POST", f"/access-grants/{grant_id}/cancel")
    else:
        await api.call("DELETE", "/spaces/space/team/viewer", status=204)
    # By the bell, or by the watch.
    await asyncio.to_thread(
        wait_until,
        lambda: inside(api, room) == {"u:other"},
        timeout=20,
        describe="them to be out",
        interval=0.1,
    )


async def test_what_got_stuck_is_completed_or_given_up(api: Api) -> None:
    api.livekit.failing["CreateRoom"] = _AWAY
    opening, stale = await api.stream(), await api.stream()
    await api.client.post(f"/v1/streams/{stale}/go-live", headers=api.service())
    api.clock.advance(seconds=100)
    await api.client.post(f"/v1/streams/{opening}/go-live", headers=api.service())
    api.livekit.failing.clear()
    closing = await api.live_stream()
    api.livekit.failing["DeleteRoom"] = _AWAY
    await api.client.post(f"/v1/streams/{closing}/end", headers=api.service())
    api.livekit.failing.clear()
    api.clock.advance(seconds=25)
    await healed(api)
    assert [await status(api, stream) for stream in (opening, stale, closing)] == ["live", "draft", "ended"]
    assert await healed(api, stale) == ["opening-given-up"]
    assert await healed(api, opening) == ["opening-completed"]
    assert await healed(api, closing) == ["closing-completed"]
    assert len(api.livekit.rooms) == 1
    assert (await api.call("POST", f"/streams/{stale}/go-live"))["status"] == "live"


async def test_a_room_that_livekit_lost_is_made_again_as_it_was(api: Api) -> None:
    stream_id = await api.live_stream(capacity=5)
    await admit(api, stream_id, "creator", grant=False)
    await healed(api)
    await api.call("POST", f"/streams/{stream_id}/pause")
    (room,) = api.livekit.rooms.values()
    api.livekit.rooms.clear()
    api.livekit.participants.clear()
    api.clock.advance(seconds=60)
    assert await healed(api, stream_id) == ["room-recreated"]
    (again,) = api.livekit.rooms.values()
    assert (again.name, again.max_participants) == (room.name, room.max_participants)
    assert json.loads(again.metadata)["status"] == "paused"
    # What a room tells of its stream is made right, too.
    again.metadata = "old"
    assert (await healed(api, stream_id))[-1] == "room-metadata"
    assert json.loads(again.metadata)["status"] == "paused"


async def test_a_stream_whose_creator_is_gone_is_ended(api: Api) -> None:
    stream_id, empty = await api.live_stream(), await api.live_stream()
    room = await admit(api, stream_id, "creator", grant=False)
    await admit(api, stream_id, "viewer")
    await healed(api)
    api.clock.advance(seconds=30)
    del api.livekit.participants[room]["u:creator"]
    await healed(api)
    api.clock.advance(seconds=299)
    await healed(api)
    assert await status(api, stream_id) == "live"
    api.clock.advance(seconds=2)
    assert await healed(api, stream_id) == ["creator-gone"]
    assert await status(api, stream_id) == "ended"
    assert (await told(api, stream_id))[-1] == "stream.ended"
    assert await status(api, empty) == "live"
    api.clock.advance(seconds=300)
    assert await healed(api, empty) == ["nobody-came"]
    assert api.livekit.rooms == {}


async def test_a_stream_on_air_without_a_session_failed(api: Api) -> None:
    stream_id = await api.stream()
    async with api.services.database.begin() as transaction:
        live = update(Stream).where(Stream.id == stream_id).values(status=StreamStatus.LIVE)
        await transaction.execute(live)
    assert await healed(api) == ["stream-without-session"]
    assert await status(api, stream_id) == "failed"


async def test_without_livekit_nothing_is_concluded(api: Api) -> None:
    stream_id = await api.live_stream()
    await admit(api, stream_id, "viewer")
    await healed(api)
    api.clock.advance(seconds=3600)
    api.livekit.failing["ListRooms"] = _AWAY
    with pytest.raises(Exception, match="LiveKit"):
        await healing.heal(api.services)
    assert await status(api, stream_id) == "live"
    (row,) = await api.rows(select(Participant))
    assert row.left_at is None


async def test_visits_without_events_are_written_down(api: Api) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "viewer")
    await healed(api)
    (row,) = await api.rows(select(Participant))
    assert (row.joined_at is not None, row.left_at) == (True, None)
    del api.livekit.participants[room]["u:viewer"]
    api.clock.advance(seconds=60)
    await healed(api)
    (row,) = await api.rows(select(Participant))
    assert row.left_at == api.clock.now()
    events = await told(api, stream_id)
    assert events[-2:] == ["participant.joined", "participant.left"]


async def test_a_sweep_asks_the_database_no_more_often_for_a_fuller_room(
    seldom: None, api: Api, database: str
) -> None:
    stream_id = await api.live_stream()
    # Connections of its own: what the workers ask meanwhile is not counted.
    own = Database(database)
    asked: list[str] = []
    listen(own.engine.sync_engine, "before_cursor_execute", lambda *told: asked.append(told[2]))

    async def sweep() -> int:
        asked.clear()
        await healing.sweep(replace(api.services, database=own))
        return len(asked)

    room = await admit(api, stream_id, "viewer-0")
    try:
        # The first connection of an engine asks for the server's kind, too.
        await sweep()
        one = await sweep()
        for number in range(1, 30):
            await admit(api, stream_id, f"viewer-{number}")
        assert await sweep() == one
    finally:
        await own.aclose()
    # Each is judged by rights of their own all the same.
    await api.call("POST", f"/streams/{stream_id}/bans", json={"user_id": "viewer-7"}, status=201)
    await api.call("PUT", "/spaces/space/team/viewer-8", json={}, status=201)
    await healing.sweep(api.services)
    assert inside(api, room) == {f"u:viewer-{number}" for number in range(30) if number != 7}


async def test_a_leaving_that_livekit_could_not_tell_of_is_at_the_end_of_the_session(api: Api) -> None:
    stream_id = await api.live_stream()
    await admit(api, stream_id, "viewer")
    await healed(api)
    api.clock.advance(seconds=90)
    await api.call("POST", f"/streams/{stream_id}/end")
    ended = api.clock.now()
    # It may still be told, and more exactly.
    api.clock.advance(seconds=60)
    await healed(api)
    assert "participant.left" not in await told(api, stream_id)
    api.clock.advance(seconds=1)
    for _ in range(2):
        await healed(api)
        assert (await told(api, stream_id)).count("participant.left") == 1
    (row,) = await api.rows(select(Participant))
    assert (row.left_at, row.watched_seconds) == (ended, 90)


async def test_one_replica_leads_until_it_is_gone(database: str) -> None:
    one, two = Database(database), Database(database)
    first, second = Leadership(one, 7), Leadership(two, 7)
    try:
        assert await first.held()
        assert await first.held()
        if not one.is_sqlite:
            assert not await second.held()
            assert not second.leads
        await first.aclose()
        assert await second.held()
        assert second.leads
    finally:
        await first.aclose()
        await second.aclose()
        await one.aclose()
        await two.aclose()


async def test_a_worker_goes_on_after_a_failure_and_hears_a_bell_that_rings_meanwhile() -> None:
    bell, rounds, closed = asyncio.Event(), 0, asyncio.Event()
    done = asyncio.Event()

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            bell.set()
            raise RuntimeError("the first round fails")
        if rounds == 2:
            done.set()

    async def close() -> None:
        closed.set()

    async with working([Worker("test", work, bell, 3600, close=close)], patience=10), asyncio.timeout(10):
        await done.wait()
        assert not closed.is_set()
    assert closed.is_set()
    assert rounds == 2


async def test_a_worker_ends_its_round_and_one_that_hangs_is_interrupted() -> None:
    begun, done, ended = asyncio.Event(), asyncio.Event(), []

    async def slow() -> None:
        begun.set()
        await done.wait()
        ended.append("round")

    async def hang() -> None:
        begun.set()
        await asyncio.Event().wait()

    async def fail() -> None:
        raise RuntimeError("it cannot be closed")

    async def close() -> None:
        ended.append("closed")

    async with asyncio.timeout(20):
        async with working([Worker("slow", slow, asyncio.Event(), 3600, close=close)], patience=10):
            await begun.wait()
            asyncio.get_running_loop().call_later(0.05, done.set)
        assert ended == ["round", "closed"]
        # One that cannot be closed keeps no other from it; nor does one that hangs, wherever it does.
        workers = [
            Worker("hangs", hang, asyncio.Event(), 3600, close=close),
            Worker("fails", close, asyncio.Event(), 3600, close=fail),
            Worker("hangs at last", close, asyncio.Event(), 3600, close=hang),
        ]
        ended.clear()
        begun.clear()
        async with working(workers, patience=0.05):
            await begun.wait()
    assert ended == ["closed"] * 3


def seen(permissions: Permissions, *, kind: str = "standard", hidden: bool = False) -> Seen:
    return Seen(kind, permissions, hidden)


_VIEWER, _ALL = permissions_of(StreamRole.VIEWER), Permissions(("any",), publish_data=True)


def test_judgement() -> None:
    viewer = Known(Admitted(StreamRole.VIEWER))
    assert judge(seen(_VIEWER), viewer, START) == Stay()
    assert judge(seen(_ALL, kind="egress", hidden=True), None, START) == Stay()
    assert judge(seen(_VIEWER), None, START) == Eject("unknown-identity")
    assert judge(seen(_VIEWER), Known(Refused(Refusal.BANNED), removed=True), START) == Eject("banned")
    assert judge(seen(_VIEWER), Known(viewer.decision, removed=True), START) == Eject("removed")
    assert judge(seen(_VIEWER), Known(viewer.decision, seatless=True), START) == Eject("room-full")
    assert judge(seen(_VIEWER, hidden=True), viewer, START) == Eject("hidden")
    taken_back = Put(StreamRole.VIEWER, _VIEWER, excess=True)
    assert judge(seen(_ALL), viewer, START) == taken_back
    for age, verdict in ((5, taken_back), (6, Eject("excess-permissions"))):
        known = Known(viewer.decision, reset_at=START - timedelta(seconds=age))
        assert judge(seen(_ALL), known, START) == verdict
    guest = permissions_of(StreamRole.GUEST)
    assert judge(seen(_VIEWER), Known(Admitted(StreamRole.GUEST)), START) == Put(
        StreamRole.GUEST, guest, excess=False
    )
    # A new member of the team gets more by a new token only.
    assert judge(seen(_VIEWER), Known(Admitted(StreamRole.TEAM)), START) == Stay()


@pytest.mark.parametrize("role", list(StreamRole))
def test_no_role_exceeds_itself_and_everything_exceeds_all_but_the_publisher(role: StreamRole) -> None:
    own = permissions_of(role)
    assert not exceeds(own, own)
    assert exceeds(_ALL, own) is (role is not StreamRole.PUBLISHER)
    assert set(own.publish_sources) <= set(ALL_SOURCES)


def test_diagnosis() -> None:
    patience = Patience(timedelta(seconds=300), timedelta(seconds=600))

    def facts(state: SessionState = SessionState.OPEN, **changed: object) -> SessionFacts:
        made = {
            "state": state,
            "requested_at": START,
            "opened_at": START,
            "has_room": True,
            "sender_left_at": None,
            "sender_came": True,
        }
        return SessionFacts(**{**made, **changed})  # type: ignore[arg-type]

    def at(seconds: float, given: SessionFacts) -> Healing | None:
        return diagnose(given, patience, START + timedelta(seconds=seconds))

    assert at(0, facts(SessionState.CLOSING)) is Healing.CLOSED
    opening = facts(SessionState.OPENING)
    assert [at(age, opening) for age in (19, 20, 119, 120)] == [
        *(None, Healing.OPENED, Healing.OPENED, Healing.OPENING_GIVEN_UP)
    ]
    assert at(10**6, facts()) is None
    assert at(10**6, facts(has_room=False)) is Healing.ROOM_RECREATED
    gone = facts(sender_left_at=START)
    assert [at(age, gone) for age in (299, 300)] == [None, Healing.CREATOR_GONE]
    never = facts(sender_came=False, has_room=False)
    assert [at(age, never) for age in (599, 600)] == [Healing.ROOM_RECREATED, Healing.NOBODY_CAME]


async def test_the_session_of_a_stream_that_goes_live_meanwhile_is_no_stray(api: Api) -> None:
    loop = asyncio.get_running_loop()
    stream_id = await api.stream()

    def go_live(method: str) -> None:
        if method == "ListRooms":
            api.livekit.before = None
            going = api.call("POST", f"/streams/{stream_id}/go-live")
            asyncio.run_coroutine_threadsafe(going, loop).result(timeout=20)

    api.livekit.before = go_live
    assert await healed(api) == []
    assert len(api.livekit.rooms) == 1
    (session,) = await api.rows(select(StreamSession))
    assert session.state is SessionState.OPEN
