"""Recordings made right against LiveKit's lists, on both databases: lost news, and recorders that died."""

from __future__ import annotations

from datetime import timedelta

import pytest
from livekit.protocol import egress as proto_egress
from livekit.protocol import models as proto
from sqlalchemy import select

from tests.unit.token_api.api import START, Api, problem
from tests.unit.token_api.livekit_double import TwirpError
from tests.unit.token_api.test_recordings import (
    STATUS,
    audit,
    begin,
    complete,
    egress,
    say,
    stage,
    told,
)
from token_api.database.tables import AuditEntry, Recording
from token_api.domain.object_keys import recording_key
from token_api.domain.recorder_silence import SILENCE, Signs, is_gone, silent_since
from token_api.domain.vocabulary import RecordingStatus
from token_api.livekit_api.values import egress_of
from token_api.use_cases.recording_news import on_egress
from token_api.use_cases.recording_reconciliation import FORGOTTEN, NO_REPORT, reconcile

_MINUTES = SILENCE.total_seconds() / 60
_NO_ANSWER = TwirpError("deadline_exceeded", 408)


async def recording(api: Api, recording_id: str) -> tuple[str, str]:
    """Status and error."""
    found = await api.call("GET", f"/recordings/{recording_id}")
    return found["status"], found["error"]


async def active(api: Api) -> tuple[str, str]:
    """A recording that its recorder makes: ids of the stream and the recording."""
    stream_id = await stage(api)
    made = await begin(api, stream_id)
    api.livekit.join_recorder(egress(api).egress_id)
    await say(api, STATUS.EGRESS_ACTIVE)
    return stream_id, made["id"]


def lose_recorder(api: Api) -> None:
    """The recorder is killed: it leaves the room, and LiveKit goes on saying what it said."""
    del api.livekit.participants[egress(api).room_name][egress(api).egress_id]
    api.livekit.failing["StopEgress"] = _NO_ANSWER


async def test_lost_events_are_healed(api: Api) -> None:
    stream_id = await stage(api)
    made = await begin(api, stream_id)
    complete(api)
    assert await reconcile(api.services) == 1
    assert await reconcile(api.services) == 0
    found = await api.call("GET", f"/recordings/{made['id']}")
    assert (found["status"], found["size_bytes"]) == ("complete", 1234)
    entry = next(row for row in await api.rows(select(AuditEntry)) if row.action == "recording.ended")
    assert entry.actor == "reconciler"
    assert await told(api, stream_id) == ["recording.started", "recording.ended"]


async def test_what_livekit_forgot_is_given_up_and_comes_to_its_end_all_the_same(api: Api) -> None:
    stream_id, recording_id = await active(api)
    known = egress_of(egress(api))
    api.livekit.egresses.clear()
    assert await reconcile(api.services) == 0
    # LiveKit's Redis was replaced: it knows of it again once the recorder reports.
    api.clock.advance(minutes=_MINUTES - 0.1)
    assert await reconcile(api.services) == 0
    assert await recording(api, recording_id) == ("active", "")
    api.clock.advance(minutes=0.1)
    assert await reconcile(api.services) == 1
    assert await recording(api, recording_id) == ("aborted", FORGOTTEN)
    assert await told(api, stream_id) == ["recording.started", "recording.failed"]
    late = proto_egress.EgressInfo(
        egress_id=known.egress_id, room_name=known.room_name, status=STATUS.EGRESS_COMPLETE
    )
    late.room_composite.file_outputs.add(filepath=known.object_key)
    late.file_results.add(filename="x", size=1234, duration=65_000_000_000)
    assert await on_egress(api.services, egress_of(late))
    found = await api.call("GET", f"/recordings/{recording_id}")
    assert (found["status"], found["error"], found["has_file"]) == ("complete", "", True)
    assert (await told(api, stream_id))[2:] == ["recording.ended"]
    # Now it is final.
    late.status = STATUS.EGRESS_FAILED
    assert not await on_egress(api.services, egress_of(late))
    assert await api.call("GET", f"/recordings/{recording_id}") == found


async def test_the_end_of_the_stream_is_the_end_of_its_recording(api: Api) -> None:
    stream_id = await stage(api)
    made = await begin(api, stream_id)
    await say(api, STATUS.EGRESS_ACTIVE)
    await api.call("POST", f"/streams/{stream_id}/end")
    await reconcile(api.services)
    assert egress(api).status == STATUS.EGRESS_ENDING
    assert (await api.call("GET", f"/recordings/{made['id']}"))["status"] == "ending"
    complete(api)
    await reconcile(api.services)
    assert (await api.call("GET", f"/recordings/{made['id']}"))["status"] == "complete"


async def test_a_recorder_that_does_not_answer_a_stop_is_given_up(api: Api) -> None:
    stream_id, recording_id = await active(api)
    lose_recorder(api)
    response = await api.client.post(f"/v1/recordings/{recording_id}/stop", headers=api.service())
    assert problem(response) == (503, "livekit-unavailable")
    assert await reconcile(api.services) == 0
    api.clock.advance(minutes=_MINUTES - 0.1)
    assert await reconcile(api.services) == 0
    assert await recording(api, recording_id) == ("active", "")
    api.clock.advance(minutes=0.1)
    assert await reconcile(api.services) == 1
    assert await recording(api, recording_id) == ("aborted", NO_REPORT)
    # LiveKit goes on saying that it is active: that is not healed each time anew, nor asked for ever.
    assert await reconcile(api.services) == 0
    api.clock.advance(hours=2)
    asked = api.livekit.calls.count("StopEgress")
    await reconcile(api.services)
    assert api.livekit.calls.count("StopEgress") == asked
    # Another recorder put the file into the store, and its webhook got lost.
    api.livekit.failing.clear()
    complete(api)
    egress(api).error, egress(api).status = "the recorder was killed", STATUS.EGRESS_FAILED
    assert await reconcile(api.services) == 1
    found = await api.call("GET", f"/recordings/{recording_id}")
    assert (found["status"], found["error"]) == ("failed", "the recorder was killed")
    assert (found["has_file"], found["size_bytes"]) == (True, 1234)
    assert await told(api, stream_id) == ["recording.started", *["recording.failed"] * 2]
    assert await reconcile(api.services) == 0


async def test_a_recorder_that_dies_is_noticed_while_the_stream_goes_on(api: Api) -> None:
    _, recording_id = await active(api)
    room, egress_id = egress(api).room_name, egress(api).egress_id
    lose_recorder(api)
    await reconcile(api.services)
    api.clock.advance(minutes=_MINUTES - 1)
    # It comes back: an SFU was replaced.
    api.livekit.join_recorder(egress_id)
    await reconcile(api.services)
    assert await api.rows(select(Recording.recorder_absent_since)) == [None]
    del api.livekit.participants[room][egress_id]
    await reconcile(api.services)
    api.clock.advance(minutes=_MINUTES - 1)
    assert await reconcile(api.services) == 0
    assert await recording(api, recording_id) == ("active", "")
    api.clock.advance(minutes=1)
    assert await reconcile(api.services) == 1
    assert await recording(api, recording_id) == ("aborted", NO_REPORT)


async def test_a_recorder_that_dies_as_the_stream_ends_is_given_up_ten_minutes_later(api: Api) -> None:
    stream_id, recording_id = await active(api)
    lose_recorder(api)
    await api.call("POST", f"/streams/{stream_id}/end")
    api.clock.advance(minutes=_MINUTES - 0.1)
    await reconcile(api.services)
    assert (await recording(api, recording_id))[0] == "active"
    api.clock.advance(minutes=0.1)
    await reconcile(api.services)
    assert await recording(api, recording_id) == ("aborted", NO_REPORT)


async def test_a_recorder_that_reports_is_waited_for(api: Api) -> None:
    _, recording_id = await active(api)
    await api.call("POST", f"/recordings/{recording_id}/stop")
    api.clock.advance(minutes=_MINUTES - 1)
    # The store is away, and the recorder says that it still has the file.
    egress(api).updated_at = int(api.clock.now().timestamp()) * 1_000_000_000
    api.clock.advance(minutes=_MINUTES - 1)
    await reconcile(api.services)
    assert (await recording(api, recording_id))[0] == "ending"
    api.clock.advance(minutes=1)
    await reconcile(api.services)
    assert (await recording(api, recording_id))[0] == "aborted"


async def test_a_recorder_that_never_begins_is_given_up_and_stopped(api: Api) -> None:
    made = await begin(api, await stage(api))
    api.clock.advance(minutes=_MINUTES)
    assert await reconcile(api.services) == 1
    assert await recording(api, made["id"]) == ("aborted", NO_REPORT)
    await reconcile(api.services)
    assert egress(api).status == STATUS.EGRESS_ENDING


async def test_one_that_cannot_be_healed_keeps_no_other_from_it(api: Api) -> None:
    first, second = await active(api), await stage(api)
    other = await begin(api, second)
    for wanted in (first[1], other["id"]):
        async with api.services.database.begin() as transaction:
            (await transaction.get_one(Recording, wanted)).stop_requested_at = api.clock.now()
    broken = (await api.rows(select(Recording.egress_id).where(Recording.id == first[1])))[0]
    api.livekit.refusing = lambda method, request: (
        TwirpError("internal", 500) if method.endswith("Egress") and request.egress_id == broken else None
    )
    await reconcile(api.services)
    assert (await recording(api, first[1]))[0] == "active"
    assert (await recording(api, other["id"]))[0] == "ending"


async def test_a_start_that_a_crash_cut_short_is_carried_on(api: Api) -> None:
    stream_id = await stage(api)
    made = await begin(api, stream_id)
    async with api.services.database.begin() as transaction:
        row = await transaction.get_one(Recording, made["id"])
        row.egress_id, row.status = None, RecordingStatus.REQUESTED
    assert await reconcile(api.services) == 1
    assert (await api.call("GET", f"/recordings/{made['id']}"))["status"] == "starting"
    async with api.services.database.begin() as transaction:
        row = await transaction.get_one(Recording, made["id"])
        row.egress_id, row.status = None, RecordingStatus.REQUESTED
    api.livekit.egresses.clear()
    assert await reconcile(api.services) == 0
    api.clock.advance(seconds=61)
    assert await reconcile(api.services) == 1
    await api.call("GET", f"/recordings/{made['id']}", status=404)


async def test_strays_are_stopped_and_others_are_not_ours(api: Api) -> None:
    stream_id = await stage(api)
    room = next(iter(api.livekit.rooms))
    api.livekit.rooms["others"] = proto.Room(name="others")
    made = {}
    for name, key in (
        (room, recording_key(stream_id, stream_id, stream_id)),
        (room, "own.mp4"),
        ("others", "a.mp4"),
    ):
        asked = proto_egress.RoomCompositeEgressRequest(room_name=name)
        asked.file_outputs.add(filepath=key)
        made[name, key] = api.livekit.start_egress(asked)
    assert await reconcile(api.services) == 1
    assert [found.status for found in made.values()] == [
        STATUS.EGRESS_ENDING,
        STATUS.EGRESS_STARTING,
        STATUS.EGRESS_STARTING,
    ]
    assert await audit(api) == ["stray-stopped"]


def _signs(
    status: RecordingStatus,
    *,
    changed: int = 0,
    reported: int | None = None,
    unwanted: int | None = None,
    absent: int | None = None,
) -> Signs:
    """Signs at so many minutes after START."""
    at = [START + timedelta(minutes=at) if at is not None else None for at in (reported, unwanted, absent)]
    return Signs(status, START + timedelta(minutes=changed), *at)


@pytest.mark.parametrize(
    ("signs", "since"),
    [
        (_signs(RecordingStatus.STARTING), 0),
        (_signs(RecordingStatus.STARTING, reported=2), 2),
        (_signs(RecordingStatus.ACTIVE), None),
        (_signs(RecordingStatus.ACTIVE, reported=0), None),
        (_signs(RecordingStatus.ACTIVE, absent=5), 5),
        (_signs(RecordingStatus.ACTIVE, absent=5, unwanted=9), 5),
        (_signs(RecordingStatus.ACTIVE, unwanted=9, reported=1), 9),
        (_signs(RecordingStatus.ENDING, changed=7), 7),
        (_signs(RecordingStatus.ENDING, changed=7, unwanted=6), 6),
        (_signs(RecordingStatus.ENDING, changed=7, unwanted=6, reported=8), 8),
    ],
)
def test_since_when_a_recorder_is_silent(signs: Signs, since: int | None) -> None:
    expected = START + timedelta(minutes=since) if since is not None else None
    assert silent_since(signs) == expected
    if expected is None:
        assert not is_gone(signs, START + timedelta(days=1))
    else:
        assert not is_gone(signs, expected + SILENCE - timedelta(seconds=1))
        assert is_gone(signs, expected + SILENCE)
