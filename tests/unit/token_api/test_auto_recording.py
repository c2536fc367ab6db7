"""Automatic recordings on both databases: one at a time in each session, whatever fails meanwhile.

Tests look at what is due themselves, so that they know when that is done. The service's own worker is in
`test_auto_recording_worker`.
"""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from livekit.protocol import models as proto
from sqlalchemy import select, update

from tests.unit.token_api.api import Api, problem
from tests.unit.token_api.livekit_double import TwirpError
from tests.unit.token_api.test_inbox import event, send, someone, worked_off
from tests.unit.token_api.test_moderation import admit
from tests.unit.token_api.test_recordings import (
    STATUS,
    audit,
    begin,
    complete,
    egress,
    told,
    without_recorder,
)
from token_api.app import create_app
from token_api.database.tables import AutoRecording, Outbox, Recording, Stream
from token_api.domain.auto_recording import NEVER_STARTED_AFTER, pause_after
from token_api.domain.vocabulary import AutoRecordingState, StreamStatus
from token_api.livekit_api.values import egress_of
from token_api.use_cases import auto_recording, healing, recording_start
from token_api.use_cases.recording_news import on_egress
from token_api.use_cases.recording_reconciliation import reconcile
from token_api.use_cases.services import Services
from token_api.workers import auto_recordings
from token_api.workers.loop import IDLE_SECONDS

# How often LiveKit is asked whether anything is published.
_POLL = 60
_AWAY = TwirpError("unavailable", 503)
_START = "StartRoomCompositeEgress"


async def _rest(_services: Services) -> float:
    return IDLE_SECONDS


@pytest.fixture(autouse=True)
def by_hand(environment: pytest.MonkeyPatch) -> None:
    """The service's worker rests, and the reconciler has no round after its first while a test runs."""
    environment.setattr(auto_recordings, "work", _rest)
    environment.setenv("TOKEN_API_RECONCILE_SECONDS", str(_POLL))


async def on_air(api: Api, **fields: Any) -> tuple[str, str]:
    """A live stream that is to be recorded, with its creator in the room: its id, and the room's name."""
    stream_id = await api.live_stream(record=True, **fields)
    return stream_id, await admit(api, stream_id, "creator", grant=False)


async def pass_time(api: Api, **parts: float) -> None:
    """Have time pass, and look at what is due then."""
    api.clock.advance(**parts)
    await auto_recording.look(api.services)


async def publish(api: Api, room: str, identity: str = "u:creator", source: str = "CAMERA") -> None:
    """LiveKit sends the webhook of a track; what is due then is looked at."""
    who = someone(identity, f"PA_{identity}", 0)
    track = {"sid": f"TR_{source}", "source": source}
    await send(api, event("track_published", room, 1, participant=who, track=track))
    await worked_off(api)
    await auto_recording.look(api.services)


async def finish(api: Api) -> None:
    """LiveKit's only recording is complete."""
    complete(api)
    await on_egress(api.services, egress_of(egress(api)))


async def shown(api: Api, stream_id: str) -> tuple[str, str | None] | None:
    """What the stream shows of its recording: state and id."""
    found = (await api.call("GET", f"/streams/{stream_id}"))["recording"]
    return (found["state"], found["recording_id"]) if found is not None else None


async def state(api: Api, stream_id: str) -> str | None:
    found = await shown(api, stream_id)
    return found[0] if found is not None else None


async def test_the_creators_first_track_starts_one_recording(api: Api) -> None:
    stream_id, room = await on_air(api, record_layout="grid-light")
    assert await shown(api, stream_id) == ("armed", None)
    # Both webhooks come twice, as LiveKit's do.
    for source in ("CAMERA", "CAMERA", "MICROPHONE", "MICROPHONE"):
        await publish(api, room, source=source)
    assert egress(api).room_composite.layout == "grid-light"
    (item,) = (await api.call("GET", f"/streams/{stream_id}/recordings"))["items"]
    assert (item["requested_by"], item["layout"]) == ("auto-record", "grid-light")
    (listed,) = (await api.call("GET", "/streams"))["items"]
    assert (listed["record"], listed["record_layout"]) == (True, "grid-light")
    assert listed["recording"] == {"state": "starting", "recording_id": item["id"]}
    # It ends with the stream.
    await api.call("POST", f"/streams/{stream_id}/end")
    await reconcile(api.services)
    assert egress(api).status == STATUS.EGRESS_ENDING
    await finish(api)
    assert await shown(api, stream_id) == ("complete", item["id"])
    assert await told(api, stream_id) == ["recording.started", "recording.ended"]


async def test_users_who_may_not_enter_are_not_told(api: Api) -> None:
    stream_id, _ = await on_air(api)
    grant_id = await api.grant("viewer", "stream", stream_id)
    as_viewer = api.user("viewer")
    assert (await api.call("GET", f"/streams/{stream_id}", as_viewer))["recording"]["state"] == "armed"
    await api.call("POST", f"/access-grants/{grant_id}/cancel")
    assert (await api.call("GET", f"/streams/{stream_id}", as_viewer))["recording"] is None


async def test_tracks_of_others_start_nothing(api: Api) -> None:
    stream_id, room = await on_air(api, kind="consultation")
    await admit(api, stream_id, "guest")
    await publish(api, room, "u:guest")
    await publish(api, room, "stranger")
    assert await shown(api, stream_id) == ("armed", None)
    plain = await api.live_stream()
    await publish(api, await admit(api, plain, "creator", grant=False))
    assert await shown(api, plain) is None
    assert api.livekit.egresses == {}


async def test_a_track_whose_webhook_got_lost_is_found(api: Api) -> None:
    stream_id, room = await on_air(api)
    await auto_recording.look(api.services)
    api.livekit.publish(room, "u:creator", proto.TrackSource.CAMERA)
    await pass_time(api, seconds=_POLL - 1)
    assert await state(api, stream_id) == "armed"
    await pass_time(api, seconds=1)
    assert await state(api, stream_id) == "starting"


async def test_without_a_free_recorder_it_is_tried_again_and_again(api: Api) -> None:
    stream_id, room = await on_air(api)
    api.livekit.failing[_START] = _AWAY
    await publish(api, room)
    for attempts in range(1, 7):
        assert await shown(api, stream_id) == ("waiting", None)
        assert api.livekit.calls.count(_START) == attempts
        pause = pause_after(attempts).total_seconds()
        await pass_time(api, seconds=pause - 1)
        assert api.livekit.calls.count(_START) == attempts
        await pass_time(api, seconds=1)
    assert await api.rows(select(Recording)) == []
    api.livekit.failing.clear()
    await pass_time(api, seconds=60)
    assert await state(api, stream_id) == "starting"
    assert await told(api, stream_id) == []


async def test_a_stream_that_ends_without_a_free_recorder_was_never_recorded(api: Api) -> None:
    stream_id, room = await on_air(api)
    api.livekit.failing[_START] = _AWAY
    await publish(api, room)
    await api.call("POST", f"/streams/{stream_id}/end")
    assert await shown(api, stream_id) == ("never-started", None)
    assert await told(api, stream_id) == ["recording.never-started"]
    api.livekit.failing.clear()
    await pass_time(api, hours=1)
    assert api.livekit.egresses == {}


async def test_nothing_published_in_ten_minutes_is_told_and_a_later_track_still_starts_it(api: Api) -> None:
    stream_id, room = await on_air(api)
    await healing.heal(api.services)
    minutes = int(NEVER_STARTED_AFTER.total_seconds() / 60)
    for _ in range(minutes - 1):
        await pass_time(api, minutes=1)
    assert await shown(api, stream_id) == ("armed", None)
    for _ in range(3):
        await pass_time(api, minutes=1)
    assert await shown(api, stream_id) == ("never-started", None)
    (payload,) = await api.rows(select(Outbox.payload).where(Outbox.event_type == "recording.never-started"))
    data = json.loads(payload)["data"]
    assert (data["stream_id"], data["recording_id"], data["status"]) == (stream_id, None, "never-started")
    assert (data["error"], data["has_file"]) == ("nothing was published", False)
    await publish(api, room)
    assert await state(api, stream_id) == "starting"


@pytest.mark.parametrize("minutes", [1, 20])
async def test_a_stream_that_ends_without_a_track_tells_it_once(api: Api, minutes: int) -> None:
    stream_id, _ = await on_air(api)
    await pass_time(api, minutes=minutes)
    await api.call("POST", f"/streams/{stream_id}/end")
    assert await shown(api, stream_id) == ("never-started", None)
    assert await told(api, stream_id) == ["recording.never-started"]


async def test_who_stops_it_stops_it_for_good(api: Api) -> None:
    stream_id, room = await on_air(api)
    await publish(api, room)
    found = await shown(api, stream_id)
    assert found is not None
    await api.call("POST", f"/recordings/{found[1]}/stop", api.user("creator"))
    await finish(api)
    # Neither another track, nor switching it off and on, nor deleting the recording starts another.
    await publish(api, room, source="MICROPHONE")
    for record in (False, True):
        await api.call("PATCH", f"/streams/{stream_id}", json={"record": record})
    async with api.services.database.begin() as transaction:
        await transaction.delete(await transaction.get_one(Recording, found[1]))
    await publish(api, room, source="SCREEN_SHARE")
    await pass_time(api, hours=1)
    assert len(api.livekit.egresses) == 1
    assert await shown(api, stream_id) is None


@pytest.mark.parametrize("first", ["by-hand", "armed"])
async def test_a_recording_that_somebody_starts_by_hand_is_the_one(api: Api, first: str) -> None:
    stream_id = await api.live_stream(record=first == "armed")
    room = await admit(api, stream_id, "creator", grant=False)
    api.livekit.publish(room, "u:creator", proto.TrackSource.CAMERA)
    made = await begin(api, stream_id)
    await api.call("PATCH", f"/streams/{stream_id}", json={"record": True})
    await publish(api, room)
    assert await shown(api, stream_id) == ("starting", made["id"])
    await api.call("POST", f"/recordings/{made['id']}/stop")
    await finish(api)
    await pass_time(api, hours=1)
    assert len(api.livekit.egresses) == 1


async def test_record_may_be_switched_while_the_stream_is_on_air(api: Api) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "creator", grant=False)
    path = f"/streams/{stream_id}"
    assert (await api.call("PATCH", path, json={"record": True}))["recording"]["state"] == "armed"
    assert (await api.call("PATCH", path, json={"record": False}))["recording"] is None
    await publish(api, room)
    assert await shown(api, stream_id) is None
    api.livekit.publish(room, "u:creator", proto.TrackSource.CAMERA)
    # What is published already is recorded at once.
    await api.call("PATCH", path, json={"record": True, "record_layout": "single-speaker"})
    await auto_recording.look(api.services)
    assert egress(api).room_composite.layout == "single-speaker"
    # What goes on is stopped by hand alone.
    assert (await api.call("PATCH", path, json={"record": False}))["recording"]["state"] == "starting"


async def test_a_session_is_armed_once_it_is_open(api: Api) -> None:
    stream_id = await api.stream()
    api.livekit.failing["CreateRoom"] = _AWAY
    await api.call("POST", f"/streams/{stream_id}/go-live", status=503)
    await api.call("PATCH", f"/streams/{stream_id}", json={"record": True})
    # A session that never opens would be looked at for ever.
    assert await api.rows(select(AutoRecording)) == []
    api.livekit.failing.clear()
    await api.call("POST", f"/streams/{stream_id}/go-live")
    assert await shown(api, stream_id) == ("armed", None)


async def test_record_that_is_switched_on_after_a_recording_by_hand_makes_another(api: Api) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "creator", grant=False)
    api.livekit.publish(room, "u:creator", proto.TrackSource.CAMERA)
    by_hand = await begin(api, stream_id)
    await finish(api)
    api.clock.advance(seconds=1)
    switched = await api.call("PATCH", f"/streams/{stream_id}", json={"record": True})
    assert switched["recording"] == {"state": "armed", "recording_id": None}
    await auto_recording.look(api.services)
    found = await shown(api, stream_id)
    assert found is not None
    assert (found[0], found[1] != by_hand["id"]) == ("starting", True)


async def test_a_new_session_is_recorded_anew(api: Api) -> None:
    stream_id, room = await on_air(api)
    await publish(api, room)
    await finish(api)
    await api.call("POST", f"/streams/{stream_id}/end")
    async with api.services.database.begin() as transaction:
        failed = update(Stream).where(Stream.id == stream_id).values(status=StreamStatus.FAILED)
        await transaction.execute(failed)
    api.clock.advance(seconds=1)
    await api.call("POST", f"/streams/{stream_id}/go-live")
    assert await shown(api, stream_id) == ("armed", None)


@pytest.mark.parametrize("taken", [False, True], ids=["before-livekit-took-it", "after-livekit-took-it"])
async def test_a_process_that_dies_while_it_starts_one(
    api: Api, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    stream_id, room = await on_air(api)

    async def die(services: Services, recording: Recording, room_name: str, _actor: str) -> None:
        if taken:
            layout = recording.layout.value
            await services.livekit.start_recording(room_name, recording.object_key, layout)
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(recording_start, "carry_out", die)
        await publish(api, room)
    # Its claim ends, and another process looks: LiveKit may still answer.
    await pass_time(api, seconds=40)
    assert len(api.livekit.egresses) == taken
    assert await state(api, stream_id) == "requested"
    api.clock.advance(seconds=40)
    assert await reconcile(api.services) == 1
    await auto_recording.look(api.services)
    assert await state(api, stream_id) == "starting"
    assert len(api.livekit.egresses) == 1
    assert len(await api.rows(select(Recording))) == 1
    assert await api.rows(select(AutoRecording.state)) == [AutoRecordingState.STARTED]


async def test_a_claim_of_a_process_that_died_ends(api: Api) -> None:
    stream_id, room = await on_air(api)
    until = api.clock.now() + timedelta(seconds=30)
    claimed = update(AutoRecording).values(state=AutoRecordingState.WAITING, next_at=until)
    async with api.services.database.begin() as transaction:
        await transaction.execute(claimed)
    await publish(api, room)
    assert await state(api, stream_id) == "waiting"
    await pass_time(api, seconds=30)
    assert await state(api, stream_id) == "starting"


async def test_a_start_that_livekit_did_not_take_before_the_stream_ended_never_started(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream_id, room = await on_air(api)

    async def die(*_given: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(recording_start, "carry_out", die)
        await publish(api, room)
    await api.call("POST", f"/streams/{stream_id}/end")
    # LiveKit may still say that it took it.
    assert await state(api, stream_id) == "requested"
    assert await told(api, stream_id) == []
    api.clock.advance(minutes=2)
    await reconcile(api.services)
    assert await state(api, stream_id) == "never-started"
    assert await told(api, stream_id) == ["recording.never-started"]


async def test_many_that_look_at_once_start_one(api: Api) -> None:
    stream_id, room = await on_air(api)
    api.livekit.publish(room, "u:creator", proto.TrackSource.CAMERA)
    other = create_app(api.services.settings, clock=api.clock).state.token_api.services
    api.livekit.calls.clear()
    await asyncio.gather(*(auto_recording.look(replica) for replica in (api.services, other) * 8))
    assert await state(api, stream_id) == "starting"
    assert len(api.livekit.egresses) == 1
    assert (await audit(api)).count("requested") == 1
    # Who has the claim asks whether anything is published, and nobody else.
    assert api.livekit.calls.count("GetParticipant") == 1
    await other.livekit.aclose()
    await other.database.aclose()


async def test_one_that_cannot_be_looked_at_keeps_no_other_from_its_recording(api: Api) -> None:
    (first, broken), (second, room) = [await on_air(api) for _ in range(2)]
    for name in (broken, room):
        api.livekit.publish(name, "u:creator", proto.TrackSource.CAMERA)
    api.livekit.refusing = lambda method, request: (
        _AWAY if method == "GetParticipant" and request.room == broken else None
    )
    await auto_recording.look(api.services)
    assert (await state(api, first), await state(api, second)) == ("armed", "starting")


async def test_where_nothing_is_recorded_no_stream_is_to_be(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    known = await api.stream(record=True)
    plain = await api.stream()
    await without_recorder(api)
    wanted = {"title": "A", "owner_id": "creator", "space_id": "space", "record": True}
    for response in (
        await api.client.post("/v1/streams", json=wanted, headers=api.service()),
        await api.client.patch(f"/v1/streams/{plain}", json={"record": True}, headers=api.service()),
    ):
        assert problem(response) == (409, "recording-unavailable")
        assert "egress" not in response.text.lower()
    assert (await api.call("GET", f"/streams/{plain}"))["record"] is False
    # This one was made while there was a recorder. What it has may be sent back.
    await api.call("PATCH", f"/streams/{known}", json={"record": True, "title": "B"})
    capsys.readouterr()
    await api.call("POST", f"/streams/{known}/go-live")
    assert "setting=egress.kind" in capsys.readouterr().out
    await publish(api, await admit(api, known, "creator", grant=False))
    assert await shown(api, known) == ("never-started", None)
    await api.call("POST", f"/streams/{known}/end")
    assert await told(api, known) == ["recording.never-started"]
    assert not [method for method in api.livekit.calls if "Egress" in method]


@pytest.mark.parametrize("was_told", [False, True])
async def test_a_session_loses_its_recorder_before_it_is_recorded(api: Api, was_told: bool) -> None:
    stream_id, room = await on_air(api)
    if was_told:
        await pass_time(api, minutes=NEVER_STARTED_AFTER.total_seconds() / 60)
    await without_recorder(api)
    await publish(api, room)
    await pass_time(api, seconds=_POLL)
    assert await shown(api, stream_id) == ("never-started", None)
    assert await told(api, stream_id) == ["recording.never-started"] * (1 + was_told)
    assert not [method for method in api.livekit.calls if "Egress" in method]


def test_pauses_grow_to_a_minute() -> None:
    assert [pause_after(attempts).total_seconds() for attempts in range(1, 8)] == [5, 10, 20, 40, 60, 60, 60]
