"""LiveKit's events: kept once, processed in any order, and never lost or repeated in their effect."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from livekit.protocol import models as proto
from livekit.protocol import room as proto_room
from sqlalchemy import select

from tests.unit.token_api.api import START, Api, problem
from tests.unit.token_api.livekit_double import TwirpError
from tests.unit.token_api.receiver import eventually
from tests.unit.token_api.support import KEY, OTHER_SECRET, sign
from token_api.app import create_app
from token_api.database.tables import (
    Outbox,
    Participant,
    Stream,
    StreamSession,
    Visit,
    WebhookInbox,
)
from token_api.domain.roles import StreamRole
from token_api.domain.vocabulary import InboxState, SessionState, StreamStatus
from token_api.settings import Settings
from token_api.use_cases import webhooks_in

PATH = "/v1/webhooks/livekit"


@dataclass(frozen=True)
class Room:
    """A live stream's."""

    stream_id: str
    session_id: str
    name: str


async def live_room(api: Api, viewers: int = 1) -> Room:
    """A stream on air, with tokens given to its creator and to viewers `u:v0`, `u:v1`, …"""
    stream_id = await api.live_stream()
    (session,) = await api.rows(select(StreamSession).where(StreamSession.stream_id == stream_id))
    async with api.services.database.begin() as transaction:
        for identity, role in [
            ("u:creator", StreamRole.CREATOR),
            *((f"u:v{number}", StreamRole.VIEWER) for number in range(viewers)),
        ]:
            transaction.add(
                Participant(
                    session_id=session.id,
                    identity=identity,
                    user_id=identity.removeprefix("u:"),
                    role=role,
                    reserved_until=START + timedelta(minutes=10),
                    first_issued_at=START,
                )
            )
    return Room(stream_id, session.id, session.room_name)


def event(kind: str, room: str, at: float, **parts: Any) -> dict[str, Any]:
    """An event `at` seconds after the test's beginning, as LiveKit 1.13 writes it."""
    moment = int(START.timestamp() + at)
    identity = f"EV_{kind}_{room[-12:]}_{json.dumps(parts, sort_keys=True)}_{at}"
    return {
        "event": kind,
        "id": "EV_" + hex(hash(identity) & (2**64 - 1)),
        "createdAt": str(moment),
        "room": {"sid": "RM_1", "name": room},
        **parts,
    }


def someone(identity: str, sid: str, joined: float) -> dict[str, Any]:
    moment = START.timestamp() + joined
    return {
        "sid": sid,
        "identity": identity,
        "state": "ACTIVE",
        "joinedAt": str(int(moment)),
        "joinedAtMs": str(int(moment * 1000)),
    }


def visit(room: str, identity: str, sid: str, joined: float, left: float | None) -> list[dict[str, Any]]:
    who = someone(identity, sid, joined)
    events = [event("participant_joined", room, joined, participant=who)]
    if left is not None:
        events.append(event("participant_left", room, left, participant=who))
    return events


async def send(api: Api, told: dict[str, Any]) -> httpx.Response:
    body = json.dumps(told).encode()
    headers = {"Authorization": sign(body), "Content-Type": "application/webhook+json"}
    response = await api.client.post(PATH, content=body, headers=headers)
    assert response.status_code == 200, response.text
    return response


async def worked_off(api: Api) -> None:
    async def nothing_waits() -> bool:
        return not await api.rows(
            select(WebhookInbox.event_id).where(WebhookInbox.state == InboxState.WAITING).limit(1)
        )

    await eventually(nothing_waits, "the inbox to be empty", within=60)


async def state_of(api: Api, room: Room) -> dict[str, Any]:
    """All that the events make, without what differs from run to run."""
    participants = await api.rows(
        select(Participant).where(Participant.session_id == room.session_id).order_by(Participant.identity)
    )
    (session,) = await api.rows(select(StreamSession).where(StreamSession.id == room.session_id))
    told = await api.rows(
        select(Outbox.payload).where(
            Outbox.stream_id == room.stream_id, Outbox.event_type.like("participant.%")
        )
    )
    events = sorted(
        (
            content["type"],
            content["data"]["identity"],
            content["data"]["visit_id"],
            content["data"]["left_at"],
        )
        for content in map(json.loads, told)
    )
    return {
        "participants": [
            (row.identity, row.livekit_sid, row.joined_at, row.left_at, row.watched_seconds)
            for row in participants
        ],
        "creator_left_at": session.creator_left_at,
        "events": events,
    }


# Two devices of one user: the second comes while the first is in, whose leaving is told after.
NASTY = (
    ("u:creator", "PA_1", 0.0, 10.0),
    ("u:creator", "PA_2", 12.0, 30.0),
    ("u:v0", "PA_3", 1.25, 8.0),
    ("u:v0", "PA_4", 7.5, None),
)


async def test_the_state_is_the_same_in_whatever_order_events_come(api: Api) -> None:
    states = []
    orders = [list(range(7)), list(range(6, -1, -1))]
    shuffled = random.Random(7)  # noqa: S311 (the same each time)
    orders += [shuffled.sample(range(7), 7) for _ in range(6)]
    for order in orders:
        room = await live_room(api)
        events = list(itertools.chain.from_iterable(visit(room.name, *one) for one in NASTY))
        for number in order:
            await send(api, events[number])
            # One by one, so that the order is the one of the test.
            await worked_off(api)
        states.append(await state_of(api, room))
    assert all(state == states[0] for state in states[1:])
    moment = {second: START + timedelta(seconds=second) for second in (7.5, 12.0, 30.0)}
    assert states[0]["participants"] == [
        ("u:creator", "PA_2", moment[12.0], moment[30.0], 28),
        ("u:v0", "PA_4", moment[7.5], None, 7),
    ]
    assert states[0]["creator_left_at"] == moment[30.0]
    assert [kind for kind, *_ in states[0]["events"]].count("participant.joined") == 4
    assert [kind for kind, *_ in states[0]["events"]].count("participant.left") == 3


@pytest.mark.parametrize(("received", "left"), [(10.75, 10.75), (40.0, 11.0), (9.0, 10.25)])
async def test_who_is_in_for_a_part_of_a_second_was_there(api: Api, received: float, left: float) -> None:
    room = await live_room(api, viewers=2)
    came = [visit(room.name, f"u:v{number}", f"PA_{number}", 10.25, 10.0) for number in range(2)]
    for joining, _ in came:
        await send(api, joining)
    await worked_off(api)
    # LiveKit tells of leaving in whole seconds, rounded down; it is told of some time after.
    api.clock.advance(seconds=received)
    for _, leaving in came:
        await send(api, leaving)
    api.services.wakeups.inbox.set()
    await worked_off(api)
    expected = START + timedelta(seconds=left)
    assert await api.rows(select(Visit.left_at)) == [expected, expected]
    found = await api.call("GET", f"/streams/{room.stream_id}/analytics")
    assert found["peak_viewers"] == 2


@pytest.mark.parametrize(
    ("people", "visits"), [(10, 4), pytest.param(25, 10, marks=pytest.mark.long, id="large")]
)
async def test_a_storm_of_duplicates_and_shuffles_leaves_each_effect_once(
    api: Api, people: int, visits: int
) -> None:
    room = await live_room(api, viewers=people)
    events, expected = [], []
    for person in range(people):
        identity = f"u:v{person}"
        watched = 0
        for number in range(visits):
            joined = number * 20.0
            left = None if person % 2 and number == visits - 1 else joined + person % 7 + 1
            events += visit(room.name, identity, f"PA_{person}_{number}", joined, left)
            watched += int(left - joined) if left else 0
        last = START + timedelta(seconds=joined)
        expected.append(
            (
                identity,
                f"PA_{person}_{visits - 1}",
                last,
                START + timedelta(seconds=left) if left else None,
                watched,
            )
        )
    storm = events * 4
    random.Random(1).shuffle(storm)  # noqa: S311 (the same each time)
    for at in range(0, len(storm), 50):
        await asyncio.gather(*(send(api, told) for told in storm[at : at + 50]))
    await worked_off(api)
    state = await state_of(api, room)
    assert [row for row in state["participants"] if row[0] != "u:creator"] == sorted(expected)
    assert len(state["events"]) == len(set(state["events"])) == len(events)
    assert len(await api.rows(select(Visit))) == people * visits
    assert len(await api.rows(select(WebhookInbox.event_id))) == len(events)


async def test_rooms_that_are_not_ours_are_none_of_our_business(api: Api) -> None:
    unknown = "stream_00000000-0000-4000-8000-000000000000_0123456789ab"
    for name in ("somebody-elses", unknown):
        await send(api, event("participant_joined", name, 0, participant=someone("u:x", "PA_1", 0)))
    await worked_off(api)
    (row,) = await api.rows(select(WebhookInbox))
    assert (row.room_name, row.state) == (unknown, InboxState.IGNORED)


async def test_events_without_an_effect_leave_no_rows(api: Api) -> None:
    """A participant causes any number of them."""
    room = await live_room(api)
    for kind in ("track_unpublished", "participant_connection_aborted", "participant_active"):
        await send(api, event(kind, room.name, 0, participant=someone("u:v0", "PA_1", 0)))
    assert await api.rows(select(WebhookInbox.event_id)) == []


async def test_somebody_who_never_had_a_token_makes_no_row(api: Api) -> None:
    room = await live_room(api)
    await send(api, event("participant_joined", room.name, 0, participant=someone("stranger", "PA_1", 0)))
    await worked_off(api)
    assert await api.rows(select(Visit)) == []


async def test_who_publishes_beyond_their_role_is_judged_at_once_and_nobody_else(api: Api) -> None:
    room = await live_room(api)
    await api.grant("v0", "stream", room.stream_id)
    inside = api.livekit.participants[room.name]
    # Somebody else who has LiveKit's secret lets all of them publish.
    may = proto.ParticipantPermission(can_subscribe=True, can_publish=True)
    for identity in ("u:creator", "u:v0", "stranger"):
        inside[identity] = proto.ParticipantInfo(identity=identity, sid=f"PA_{identity}", permission=may)
    for number, (identity, source, judged) in enumerate(
        [("u:creator", "SCREEN_SHARE", False), ("u:v0", "CAMERA", True), ("stranger", "MICROPHONE", True)]
    ):
        api.livekit.calls.clear()
        track = {"sid": f"TR_{number}", "source": source}
        who = someone(identity, f"PA_{identity}", 0)
        await send(api, event("track_published", room.name, number, participant=who, track=track))
        api.services.wakeups.inbox.set()
        await worked_off(api)
        assert ("GetParticipant" in api.livekit.calls) is judged, identity
        # Nobody else is looked at for it.
        assert "ListParticipants" not in api.livekit.calls
    assert set(inside) == {"u:creator", "u:v0"}
    assert (inside["u:creator"].permission.can_publish, inside["u:v0"].permission.can_publish) == (
        True,
        False,
    )


async def test_without_its_database_it_asks_livekit_to_send_again(settings: Settings) -> None:
    # A database without tables fails like a missing database. Without the lifespan no worker uses it.
    app = create_app(settings)
    name = "stream_00000000-0000-4000-8000-000000000000_0123456789ab"
    body = json.dumps(event("room_started", name, 0)).encode()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://token-api.test") as client:
        response = await client.post(PATH, content=body, headers={"Authorization": sign(body)})
    assert problem(response) == (503, "database-unavailable")


async def test_events_signed_with_the_key_before_are_taken_during_a_rotation(
    api: Api,
) -> None:
    body = json.dumps(event("room_started", "somebody-elses", 0)).encode()
    old = {"Authorization": sign(body, iss="APIbefore", secret=OTHER_SECRET)}
    assert (await api.client.post(PATH, content=body, headers=old)).status_code == 200
    for wrong in (sign(body, iss="APIbefore"), sign(body, secret=OTHER_SECRET), sign(body, iss="APIother")):
        response = await api.client.post(PATH, content=body, headers={"Authorization": wrong})
        assert response.status_code == 401
    new = {"Authorization": sign(body, iss=KEY)}
    assert (await api.client.post(PATH, content=body, headers=new)).status_code == 200


@pytest.fixture(autouse=True)
def two_keys(environment: pytest.MonkeyPatch) -> None:
    # Nobody is really in these rooms: the reconciler would say that all have left.
    environment.setenv("TOKEN_API_RECONCILE_SECONDS", "300")
    environment.setenv("LIVEKIT_API_KEY_PREVIOUS", "APIbefore")
    environment.setenv("LIVEKIT_API_SECRET_PREVIOUS", OTHER_SECRET)


async def test_a_room_that_livekit_removed_is_made_again_while_its_session_is_open(api: Api) -> None:
    room = await live_room(api)
    made = api.livekit.rooms.pop(room.name)
    await send(api, event("room_finished", room.name, 0))
    await worked_off(api)
    assert api.livekit.rooms[room.name].metadata == made.metadata
    (stream,) = await api.rows(select(Stream).where(Stream.id == room.stream_id))
    (session,) = await api.rows(select(StreamSession))
    assert (stream.status, session.state) == (StreamStatus.LIVE, SessionState.OPEN)


async def test_a_stream_whose_creator_is_gone_for_long_ends_with_its_room(api: Api) -> None:
    room = await live_room(api)
    for told in visit(room.name, "u:creator", "PA_1", 0.0, 20.0):
        await send(api, told)
    api.clock.advance(hours=1)
    del api.livekit.rooms[room.name]
    await send(api, event("room_finished", room.name, 3600))
    await worked_off(api)
    (stream,) = await api.rows(select(Stream).where(Stream.id == room.stream_id))
    assert (stream.status, room.name in api.livekit.rooms) == (StreamStatus.ENDED, False)


async def test_an_end_that_livekit_confirmed_by_its_event_alone_is_completed(api: Api) -> None:
    room = await live_room(api)
    api.livekit.failing["DeleteRoom"] = TwirpError("unavailable", 503)
    api.clock.advance(seconds=30)
    await api.client.post(f"/v1/streams/{room.stream_id}/end", headers=api.service())
    # An old event of a room that LiveKit has: nothing happens.
    await send(api, event("room_finished", room.name, 0))
    await worked_off(api)
    (session,) = await api.rows(select(StreamSession))
    assert session.state is SessionState.CLOSING
    del api.livekit.rooms[room.name]
    await send(api, event("room_finished", room.name, 1))
    await worked_off(api)
    (stream,) = await api.rows(select(Stream).where(Stream.id == room.stream_id))
    assert stream.status is StreamStatus.ENDED
    # A leaving that is told after the end still counts; LiveKit rounded its time down.
    for told in visit(room.name, "u:v0", "PA_1", 0.0, 20.0):
        await send(api, told)
    await worked_off(api)
    watched = await api.rows(select(Participant.watched_seconds).where(Participant.identity == "u:v0"))
    assert watched == [21]


@pytest.mark.parametrize("known", [True, False])
async def test_a_room_that_begins_after_its_session_ended_is_removed_at_once(api: Api, known: bool) -> None:
    """A join that LiveKit had let in before the room was deleted makes it again."""
    name = f"stream_{'0' * 8}-0000-0000-0000-{'0' * 12}_{'0' * 12}"
    if known:
        room = await live_room(api)
        await api.call("POST", f"/streams/{room.stream_id}/end")
        name = room.name
    api.livekit.room_create(proto_room.CreateRoomRequest(name=name))
    await send(api, event("room_started", name, 5))
    await worked_off(api)
    assert name not in api.livekit.rooms


async def test_while_livekit_is_away_an_event_waits_and_is_not_given_up(api: Api) -> None:
    room = await live_room(api)
    del api.livekit.rooms[room.name]
    api.livekit.failing["ListRooms"] = TwirpError("unavailable", 503)
    await send(api, event("room_finished", room.name, 0))
    await try_again(api, webhooks_in.MAX_ATTEMPTS + 2)
    del api.livekit.failing["ListRooms"]
    api.clock.advance(minutes=2)
    api.services.wakeups.inbox.set()
    await worked_off(api)
    # Meanwhile the creator did not come for longer than a room waits for them.
    (stream,) = await api.rows(select(Stream).where(Stream.id == room.stream_id))
    assert stream.status is StreamStatus.ENDED


async def try_again(api: Api, times: int) -> None:
    """Let the one event that fails be put back so often, and be due again each time."""
    for attempt in range(1, times + 1):
        line = f'token_api_inbox_events_total{{outcome="put-back"}} {attempt}.0'
        await eventually(lambda text=line: text in api.services.metrics.render().decode(), line)
        api.clock.advance(minutes=2)
        api.services.wakeups.inbox.set()


async def test_an_event_that_cannot_be_processed_is_parked_and_holds_up_no_other(api: Api) -> None:
    room = await live_room(api)
    bad = event("participant_joined", room.name, 0, participant={"sid": "PA_1", "joinedAt": "never"})
    await send(api, bad)
    for told in visit(room.name, "u:v0", "PA_2", 1.0, 5.0):
        await send(api, told)
    await try_again(api, webhooks_in.MAX_ATTEMPTS - 1)
    await worked_off(api)
    states = {row.event_id: row for row in await api.rows(select(WebhookInbox))}
    parked = states.pop(bad["id"])
    assert parked.state is InboxState.FAILED
    assert "NoEvent" in parked.error
    assert {row.state for row in states.values()} == {InboxState.DONE}
    assert await api.rows(select(Visit.identity)) == ["u:v0"]
    counted = (await api.client.get("/metrics")).text
    assert 'token_api_inbox_events_total{outcome="parked"} 1.0' in counted


async def test_an_event_whose_process_died_is_taken_again_when_its_lease_ends(api: Api) -> None:
    room = await live_room(api)
    services = api.services
    # As a replica that dies would leave it.
    async with services.database.begin() as transaction:
        (told, _) = visit(room.name, "u:v0", "PA_1", 0.0, 5.0)
        transaction.add(
            WebhookInbox(
                event_id="EV_taken",
                event_type=told["event"],
                room_name=room.name,
                body=json.dumps(told),
                happened_at=services.clock.now(),
                received_at=services.clock.now(),
                next_at=services.clock.now(),
            )
        )
        await transaction.flush()
    assert await webhooks_in.claim_room(services, room.name) is not None
    taken = await webhooks_in.take(services, room.name)
    assert taken is not None
    assert taken.event_id == "EV_taken"
    assert await webhooks_in.take(services, room.name) is None
    assert await webhooks_in.claim_room(services, room.name) is None
    api.clock.advance(seconds=webhooks_in.LEASE.total_seconds())
    services.wakeups.inbox.set()
    await worked_off(api)
    assert await api.rows(select(Visit.livekit_sid)) == ["PA_1"]
