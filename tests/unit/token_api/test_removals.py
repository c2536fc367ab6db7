"""LiveKit is asked once to remove a participant, whoever in the service, or in another replica, wants it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from livekit.protocol import models as proto
from sqlalchemy import select

from tests.unit.token_api.api import Api, problem
from tests.unit.token_api.livekit_double import TwirpError
from tests.unit.token_api.test_moderation import admit, come_in, inside, told
from token_api.database.engine import Database
from token_api.database.tables import AuditEntry, Removal, StreamSession
from token_api.livekit_api.gateway import TIMEOUT_SECONDS
from token_api.problems import ProblemError
from token_api.use_cases import enforcement, healing, removals
from token_api.use_cases.services import Services

_AWAY = TwirpError("unavailable", 503)
# As the service has it; tests wait longer.
_LIVEKIT_SECONDS = TIMEOUT_SECONDS
_REMOVE = "RemoveParticipant"


@pytest.fixture(autouse=True)
def no_rounds(environment: pytest.MonkeyPatch) -> None:
    """No round of the reconciler after the first, as long as a test runs."""
    environment.setenv("TOKEN_API_RECONCILE_SECONDS", "300")


@pytest.fixture
async def replica(api: Api, database: str) -> AsyncIterator[Services]:
    """Another replica's services, on the same database and the same LiveKit."""
    own = Database(database)
    yield replace(api.services, database=own)
    await own.aclose()


@pytest.fixture
def quiet(api: Api) -> Api:
    """The service, where neither the watch nor a bell has anybody judged: LiveKit gives them no list."""
    api.livekit.failing["ListParticipants"] = _AWAY
    return api


def asked(api: Api) -> int:
    """How often LiveKit was asked to remove somebody."""
    return api.livekit.calls.count(_REMOVE)


def stranger(api: Api, room: str) -> str:
    """Somebody without a token of ours comes in; their identity."""
    api.livekit.participants[room]["stranger"] = proto.ParticipantInfo(identity="stranger", sid="PA_stranger")
    return "stranger"


async def banned(api: Api, stream_id: str) -> str:
    """A viewer is banned while LiveKit does not answer, so they are still in; their identity."""
    api.livekit.failing["GetParticipant"] = _AWAY
    await api.call("POST", f"/streams/{stream_id}/bans", status=201, json={"user_id": "viewer"})
    del api.livekit.failing["GetParticipant"]
    return "u:viewer"


@pytest.mark.parametrize("who", ["viewer", "stranger"])
async def test_two_replicas_at_once_ask_livekit_once(quiet: Api, replica: Services, who: str) -> None:
    api = quiet
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "viewer")
    removing, both_judged = threading.Event(), threading.Event()

    def before(method: str) -> None:
        # The first request is not answered before the other replica has come to its end.
        if method == _REMOVE and not removing.is_set():
            removing.set()
            both_judged.wait(30)

    api.livekit.before = before
    if who == "viewer":
        identity, wanted = "u:viewer", {"user_id": "viewer"}
        first = asyncio.create_task(api.call("POST", f"/streams/{stream_id}/bans", status=201, json=wanted))
    else:
        identity = stranger(api, room)
        first = asyncio.create_task(enforcement.on_joined(api.services, room, identity))
    try:
        assert await asyncio.to_thread(removing.wait, 30)
        await enforcement.on_joined(replica, room, identity)
    finally:
        both_judged.set()
        await first
    assert asked(api) == 1
    assert identity not in inside(api, room)
    assert (await told(api, stream_id)).count("participant.removed") == 1


async def test_a_moderator_and_the_sweep_at_once_ask_livekit_once(api: Api, replica: Services) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "viewer")
    removing, swept = threading.Event(), threading.Event()

    def before(method: str) -> None:
        if method == _REMOVE and not removing.is_set():
            removing.set()
            swept.wait(30)

    api.livekit.before = before
    path = f"/streams/{stream_id}/participants/u:viewer"
    first = asyncio.create_task(api.call("DELETE", path, api.user("creator"), 204))
    try:
        assert await asyncio.to_thread(removing.wait, 30)
        await healing.sweep(replica, [room])
    finally:
        swept.set()
        await first
    assert asked(api) == 1
    reasons = [
        json.loads(entry.details)["reason"]
        for entry in await api.rows(select(AuditEntry).where(AuditEntry.action == "participant.removed"))
    ]
    assert reasons == ["moderator"]


async def test_what_livekit_did_not_do_is_tried_again_and_told_once(quiet: Api) -> None:
    stream_id = await quiet.live_stream()
    room = await admit(quiet, stream_id, "viewer")
    identity = await banned(quiet, stream_id)
    quiet.livekit.failing[_REMOVE] = _AWAY
    for times in (1, 2):
        with pytest.raises(ProblemError, match="LiveKit"):
            await enforcement.on_joined(quiet.services, room, identity)
        assert asked(quiet) == times
    del quiet.livekit.failing[_REMOVE]
    await enforcement.on_joined(quiet.services, room, identity)
    assert (asked(quiet), inside(quiet, room)) == (3, set())
    assert (await told(quiet, stream_id)).count("participant.removed") == 1


async def test_the_claim_of_a_process_that_died_is_taken_over_in_time(api: Api, replica: Services) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "viewer")
    session = (await api.rows(select(StreamSession)))[0]
    identity = stranger(api, room)
    someone = await api.services.livekit.participant(room, identity)
    async with replica.database.begin() as transaction:
        dead = await removals.claim(transaction, session, someone, api.clock.now())
    assert dead is not None
    api.clock.advance(seconds=removals.CLAIMED_FOR.total_seconds() - 0.001)
    await healing.sweep(api.services)
    assert asked(api) == 0
    api.clock.advance(seconds=0.001)
    await healing.sweep(api.services)
    assert (asked(api), inside(api, room)) == (1, {"u:viewer"})
    # It was not dead, but slow: what it finds out late changes nothing.
    assert not await removals.carry_out(replica, dead)
    (row,) = await api.rows(select(Removal))
    assert (row.attempts, row.claimed_until, row.done_at) == (2, None, api.clock.now())


def test_a_claim_holds_longer_than_livekit_is_waited_for() -> None:
    assert removals.CLAIMED_FOR.total_seconds() > _LIVEKIT_SECONDS


async def test_who_came_back_since_the_judgement_is_not_removed(quiet: Api) -> None:
    api = quiet
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "viewer")
    hidden = api.livekit.participants[room]["u:viewer"]
    hidden.permission.hidden = True
    found = [await api.services.livekit.participant(room, "u:viewer")]
    # They leave, and come back as they should.
    made = await api.call("POST", f"/streams/{stream_id}/video-token", api.user("viewer"), 201)
    come_in(api, room, made["participant_token"])
    await enforcement.enforce(api.services, room, found)
    assert (asked(api), inside(api, room)) == (0, {"u:viewer"})
    # Who left by themselves is not asked for, either.
    stranger(api, room)
    found = [await api.services.livekit.participant(room, "stranger")]
    del api.livekit.participants[room]["stranger"]
    await enforcement.enforce(api.services, room, found)
    assert asked(api) == 0


async def test_each_time_that_somebody_comes_in_is_a_removal_of_its_own(quiet: Api) -> None:
    stream_id = await quiet.live_stream()
    room = await admit(quiet, stream_id, "viewer")
    made = await quiet.call("POST", f"/streams/{stream_id}/video-token", quiet.user("viewer"), 201)
    await quiet.call("DELETE", f"/streams/{stream_id}/participants/u:viewer", quiet.user("creator"), 204)
    for times in (2, 3):
        come_in(quiet, room, made["participant_token"])
        await enforcement.on_joined(quiet.services, room, "u:viewer")
        assert (asked(quiet), inside(quiet, room)) == (times, set())


async def test_the_removals_of_a_closed_session_are_deleted(api: Api) -> None:
    stream_id, other_id = await api.live_stream(), await api.live_stream()
    for stream in (stream_id, other_id):
        room = await admit(api, stream, "viewer")
        await enforcement.on_joined(api.services, room, stranger(api, room))
    assert len(await api.rows(select(Removal))) == 2
    await api.call("POST", f"/streams/{stream_id}/end")
    (row,) = await api.rows(select(Removal))
    (session,) = await api.rows(select(StreamSession).where(StreamSession.stream_id == other_id))
    assert row.session_id == session.id


async def test_a_moderator_is_told_that_livekit_is_away_and_may_try_again(quiet: Api) -> None:
    stream_id = await quiet.live_stream()
    room = await admit(quiet, stream_id, "viewer")
    quiet.livekit.failing[_REMOVE] = _AWAY
    path = f"/streams/{stream_id}/participants/u:viewer"
    response = await quiet.client.delete(f"/v1{path}", headers=quiet.user("creator"))
    assert problem(response) == (503, "livekit-unavailable")
    (row,) = await quiet.rows(select(Removal))
    assert (row.claimed_until, row.done_at) == (None, None)
    del quiet.livekit.failing[_REMOVE]
    await quiet.call("DELETE", path, quiet.user("creator"), 204)
    assert inside(quiet, room) == set()
