"""A recording that ends before its session: another one follows, unless somebody wanted the end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from livekit.protocol import egress as proto
from livekit.protocol import models
from sqlalchemy import select

from tests.unit.token_api.api import Api
from tests.unit.token_api.test_auto_recording import (
    by_hand,
    on_air,
    pass_time,
    publish,
    shown,
    state,
)
from tests.unit.token_api.test_moderation import admit
from tests.unit.token_api.test_recordings import STATUS, begin, egress, told, without_recorder
from token_api.database.tables import AutoRecording, Recording
from token_api.domain.auto_recording import NEVER_STARTED_AFTER, pause_before_next
from token_api.livekit_api.values import egress_of
from token_api.use_cases.recording_news import on_egress
from token_api.use_cases.recording_reconciliation import reconcile

__all__ = ["by_hand"]

_EARLY_ENDS = {
    "killed": {"status": STATUS.EGRESS_ABORTED, "error": "the recorder was killed"},
    "failed": {"status": STATUS.EGRESS_FAILED, "error": "the store refused"},
    "evicted": {"status": STATUS.EGRESS_COMPLETE, "details": "End reason: Process killed"},
    "room-closed": {"status": STATUS.EGRESS_COMPLETE, "details": "End reason: Source closed"},
}
_WANTED_ENDS = {
    "by-livekits-api": {"status": STATUS.EGRESS_COMPLETE, "details": "End reason: StopEgress API"},
    "limit": {"status": STATUS.EGRESS_LIMIT_REACHED, "details": "End reason: Session limit reached"},
}


def _latest(api: Api) -> proto.EgressInfo:
    return list(api.livekit.egresses.values())[-1]


async def _end(api: Api, fields: dict[str, Any]) -> None:
    """LiveKit says that the latest recording is over."""
    info = _latest(api)
    for name, value in fields.items():
        setattr(info, name, value)
    await on_egress(api.services, egress_of(info))


async def _recorded(api: Api) -> tuple[str, str]:
    """A live stream that is being recorded by itself: its id, and the room's name."""
    stream_id, room = await on_air(api)
    api.livekit.publish(room, "u:creator", models.TrackSource.CAMERA)
    await publish(api, room)
    assert await state(api, stream_id) == "starting"
    return stream_id, room


@pytest.mark.parametrize("end", _EARLY_ENDS.values(), ids=_EARLY_ENDS)
async def test_another_recording_follows_one_that_ended_early(api: Api, end: dict[str, Any]) -> None:
    stream_id, room = await _recorded(api)
    first = await shown(api, stream_id)
    api.clock.advance(seconds=1)
    await _end(api, end)
    assert await shown(api, stream_id) == ("armed", None)
    # The creator still publishes: no webhook comes.
    await pass_time(api, seconds=4)
    assert len(api.livekit.egresses) == 1
    await pass_time(api, seconds=1)
    second = await shown(api, stream_id)
    assert first is not None
    assert second is not None
    assert (second[0], second[1] != first[1]) == ("starting", True)
    assert _latest(api).room_name == room
    # The same end, told again, is no news.
    await on_egress(api.services, egress_of(next(iter(api.livekit.egresses.values()))))
    await pass_time(api, hours=1)
    assert len(api.livekit.egresses) == 2
    await api.call("POST", f"/streams/{stream_id}/end")
    await _end(api, {"status": STATUS.EGRESS_COMPLETE})
    assert (await told(api, stream_id))[-1] == "recording.ended"
    assert "recording.never-started" not in await told(api, stream_id)


@pytest.mark.parametrize("end", _WANTED_ENDS.values(), ids=_WANTED_ENDS)
async def test_no_recording_follows_an_end_that_somebody_wanted(api: Api, end: dict[str, Any]) -> None:
    stream_id, room = await _recorded(api)
    await _end(api, end)
    await publish(api, room, source="MICROPHONE")
    await pass_time(api, hours=1)
    assert (await state(api, stream_id), len(api.livekit.egresses)) == ("complete", 1)


async def test_no_recording_follows_one_that_was_asked_to_stop_and_failed_then(api: Api) -> None:
    stream_id, _ = await _recorded(api)
    found = await shown(api, stream_id)
    assert found is not None
    await api.call("POST", f"/recordings/{found[1]}/stop")
    await _end(api, _EARLY_ENDS["killed"])
    await pass_time(api, hours=1)
    assert (await state(api, stream_id), len(api.livekit.egresses)) == ("aborted", 1)


@pytest.mark.parametrize("change", ["record-off", "stream-over"])
async def test_no_recording_follows_if_none_is_wanted_any_more(api: Api, change: str) -> None:
    stream_id, _ = await _recorded(api)
    if change == "record-off":
        await api.call("PATCH", f"/streams/{stream_id}", json={"record": False})
    else:
        await api.call("POST", f"/streams/{stream_id}/end")
    await _end(api, _EARLY_ENDS["killed"])
    await pass_time(api, hours=1)
    assert (await state(api, stream_id), len(api.livekit.egresses)) == ("aborted", 1)
    # Nothing is left to do.
    assert await api.rows(select(AutoRecording.next_at)) == [None]


async def test_a_failed_recording_by_hand_is_followed_only_if_the_stream_records(api: Api) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "creator", grant=False)
    api.livekit.publish(room, "u:creator", models.TrackSource.CAMERA)
    await begin(api, stream_id)
    await _end(api, _EARLY_ENDS["killed"])
    await pass_time(api, hours=1)
    assert (await state(api, stream_id), len(api.livekit.egresses)) == ("aborted", 1)


@pytest.mark.parametrize("meanwhile", ["stream-over", "no-recorder", "nothing-published"])
async def test_a_session_of_which_a_part_was_recorded_is_no_session_without_recording(
    api: Api, meanwhile: str
) -> None:
    stream_id, room = await _recorded(api)
    await _end(api, _EARLY_ENDS["killed"])
    if meanwhile == "no-recorder":
        await without_recorder(api)
        await publish(api, room, source="MICROPHONE")
        await pass_time(api, seconds=10)
    if meanwhile == "nothing-published":
        api.livekit.participants[room]["u:creator"].ClearField("tracks")
        await pass_time(api, minutes=NEVER_STARTED_AFTER.total_seconds() / 60)
    await api.call("POST", f"/streams/{stream_id}/end")
    assert await told(api, stream_id) == ["recording.failed"]
    assert await api.rows(select(AutoRecording.next_at)) == [None]
    assert (await state(api, stream_id), len(api.livekit.egresses)) == ("aborted", 1)


async def test_a_recorder_that_was_given_up_is_replaced_once(api: Api) -> None:
    stream_id, _ = await _recorded(api)
    lost = egress(api)
    lost.status = STATUS.EGRESS_ACTIVE
    await on_egress(api.services, egress_of(lost))
    # LiveKit lists it, but it is not in the room.
    for _ in range(3):
        api.clock.advance(minutes=6)
        await reconcile(api.services)
    assert await state(api, stream_id) == "armed"
    await pass_time(api, seconds=5)
    assert (await state(api, stream_id), len(api.livekit.egresses)) == ("starting", 2)
    second = await shown(api, stream_id)
    assert second is not None
    await api.call("POST", f"/recordings/{second[1]}/stop")
    await _end(api, _WANTED_ENDS["by-livekits-api"])
    # The lost one reports after all.
    lost.status, lost.details = STATUS.EGRESS_COMPLETE, "End reason: Process killed"
    await on_egress(api.services, egress_of(lost))
    await pass_time(api, hours=1)
    assert len(api.livekit.egresses) == 2
    statuses = await api.rows(select(Recording.status).order_by(Recording.created_at))
    assert [status.value for status in statuses] == ["complete", "complete"]


async def test_a_track_that_is_published_again_and_again_does_not_shorten_the_pause(api: Api) -> None:
    _, room = await _recorded(api)
    for number in range(2, 5):
        await _end(api, _EARLY_ENDS["failed"])
        await publish(api, room, source="MICROPHONE")
        assert len(api.livekit.egresses) == number - 1
        await pass_time(api, seconds=pause_before_next(number - 1).total_seconds() - 1)
        assert len(api.livekit.egresses) == number - 1
        await pass_time(api, seconds=1)
        assert len(api.livekit.egresses) == number


def test_pauses_grow_to_ten_minutes() -> None:
    pauses = [pause_before_next(recordings) for recordings in range(1, 10)]
    seconds = [pause / timedelta(seconds=1) for pause in pauses]
    assert seconds == [5, 10, 20, 40, 80, 160, 320, 600, 600]
