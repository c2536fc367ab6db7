"""Recordings over HTTP, on both databases: started, stopped, and true to what LiveKit says in the end."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import egress as proto_egress
from livekit.protocol import models as proto
from sqlalchemy import select

from tests.unit.token_api.api import Api, problem
from tests.unit.token_api.livekit_double import TwirpError
from tests.unit.token_api.object_store_stand_in import StoreStandIn
from token_api.database.tables import AuditEntry, Outbox, Recording
from token_api.domain.object_keys import file_name, is_recording_key, recording_key
from token_api.domain.recording_states import FINAL, goes_on, status_of
from token_api.domain.vocabulary import RecordingStatus
from token_api.livekit_api import gateway
from token_api.livekit_api.values import egress_of
from token_api.storage.presign import address
from token_api.storage.store import Store
from token_api.use_cases.recording_news import on_egress
from token_api.use_cases.recording_reconciliation import STOP_PATIENCE, reconcile

STATUS = proto_egress.EgressStatus
AWAY = TwirpError("unavailable", 503)


async def stage(api: Api) -> str:
    """A live stream in which the creator publishes a camera; its id."""
    stream_id = await api.live_stream()
    token = await api.call("POST", f"/streams/{stream_id}/video-token", api.user("creator"), 201)
    room = next(name for name in api.livekit.rooms if stream_id in name)
    api.livekit.join(room, token["participant_token"])
    api.livekit.publish(room, "u:creator", proto.TrackSource.CAMERA)
    return stream_id


async def begin(api: Api, stream_id: str, **body: Any) -> dict[str, Any]:
    made: dict[str, Any] = await api.call("POST", f"/streams/{stream_id}/recordings", status=202, json=body)
    return made


def egress(api: Api) -> proto_egress.EgressInfo:
    """LiveKit's only recording."""
    (found,) = api.livekit.egresses.values()
    return found


async def say(api: Api, status: proto_egress.EgressStatus, **more: Any) -> bool:
    """LiveKit says how its only recording is."""
    told = egress(api)
    told.status = status
    for name, value in more.items():
        setattr(told, name, value)
    return await on_egress(api.services, egress_of(told))


def complete(api: Api) -> None:
    told = egress(api)
    told.status, told.ended_at = STATUS.EGRESS_COMPLETE, time.time_ns()
    told.file_results.add(filename="x", size=1234, duration=65_000_000_000)


async def told(api: Api, stream_id: str) -> list[str]:
    """The host's events of the recordings of a stream."""
    wanted = select(Outbox).where(Outbox.stream_id == stream_id).order_by(Outbox.position)
    return [row.event_type for row in await api.rows(wanted) if row.event_type.startswith("recording.")]


async def audit(api: Api) -> list[str]:
    found = await api.rows(select(AuditEntry).order_by(AuditEntry.at, AuditEntry.id))
    return [row.action.removeprefix("recording.") for row in found if row.action.startswith("recording.")]


async def test_from_start_to_file(api: Api) -> None:
    stream_id = await stage(api)
    made = await begin(api, stream_id, layout="grid")
    assert made["status"] == "starting"
    asked = egress(api).room_composite
    (output,) = asked.file_outputs
    assert asked.layout == "grid"
    assert output.filepath == recording_key(stream_id, made["session_id"], made["id"])
    # Which store: that is the recorder's own configuration.
    assert not output.HasField("s3")
    assert asked.custom_base_url == ""
    assert await say(api, STATUS.EGRESS_ACTIVE)
    assert not await say(api, STATUS.EGRESS_ACTIVE)
    stopped = await api.call("POST", f"/recordings/{made['id']}/stop")
    assert (stopped["status"], bool(stopped["stop_requested_at"])) == ("ending", True)
    complete(api)
    assert await on_egress(api.services, egress_of(egress(api)))
    found = await api.call("GET", f"/recordings/{made['id']}")
    assert (found["status"], found["size_bytes"], found["duration_seconds"]) == ("complete", 1234, 65)
    assert (await api.call("POST", f"/recordings/{made['id']}/stop")) == found
    assert await told(api, stream_id) == ["recording.started", "recording.ended"]
    actions = ["requested", "starting", "started", "stop-requested", "ending", "ended"]
    assert sorted(await audit(api)) == sorted(actions)


async def test_who_may(api: Api) -> None:
    stream_id = await stage(api)
    await api.grant("viewer", "stream", stream_id)
    await api.call("PUT", "/spaces/space/team/helper", json={"role": "moderator"}, status=201)
    path = f"/streams/{stream_id}/recordings"
    made = await api.call("POST", path, api.user("helper"), 202, json={})
    own = f"/recordings/{made['id']}"
    for method, where in (("GET", path), ("GET", own), ("POST", f"{own}/stop"), ("GET", f"{own}/url")):
        for user, status in (("viewer", 403), ("stranger", 404)):
            await api.call(method, where, api.user(user), status)
    assert (await api.call("GET", path, api.user("creator")))["items"] == [made]
    for nothing in ("nothing", "0" * 36, stream_id):
        await api.call("GET", f"/recordings/{nothing}", status=404)


@pytest.mark.parametrize(
    "body",
    [
        {"layout": "https://evil.test/"},
        {"layout": None},
        {"filepath": "a.mp4"},
        {"custom_base_url": "x"},
        {"s3": {}},
    ],
)
async def test_nothing_of_where_or_by_what(api: Api, body: dict[str, Any]) -> None:
    stream_id = await stage(api)
    await api.call("POST", f"/streams/{stream_id}/recordings", status=422, json=body)
    assert api.livekit.egresses == {}


async def test_what_cannot_be_recorded(api: Api) -> None:
    async def refusal(stream_id: str) -> tuple[int, str]:
        return problem(
            await api.client.post(f"/v1/streams/{stream_id}/recordings", json={}, headers=api.service())
        )

    draft = await api.stream()
    assert await refusal(draft) == (409, "stream-not-live")
    silent = await api.live_stream()
    assert await refusal(silent) == (409, "no-tracks")
    stream_id = await stage(api)
    await begin(api, stream_id)
    assert await refusal(stream_id) == (409, "recording-active")
    assert len(api.livekit.egresses) == 1
    assert len(await api.rows(select(Recording))) == 1


async def test_of_many_at_once_one_is_made(api: Api) -> None:
    stream_id = await stage(api)
    path = f"/v1/streams/{stream_id}/recordings"
    answers = await asyncio.gather(
        *(api.client.post(path, json={}, headers=api.service()) for _ in range(20))
    )
    assert sorted(answer.status_code for answer in answers) == [202, *[409] * 19]
    assert len(api.livekit.egresses) == 1


async def test_the_same_key_is_the_same_recording(api: Api) -> None:
    stream_id = await stage(api)
    path, headers = f"/streams/{stream_id}/recordings", {**api.service(), "Idempotency-Key": "key-one-1"}
    first = await api.call("POST", path, headers, 202, json={})
    assert await api.call("POST", path, headers, 202, json={}) == first
    # Also where the answer got lost before it was remembered: the row itself is found.
    other = {**api.service("creator"), "Idempotency-Key": "key-one-1"}
    assert problem(await api.client.post(f"/v1{path}", json={}, headers=other)) == (409, "recording-active")
    assert len(api.livekit.egresses) == 1


async def test_no_recorder_leaves_nothing_behind(api: Api) -> None:
    stream_id = await stage(api)
    api.livekit.failing["StartRoomCompositeEgress"] = AWAY
    path = f"/v1/streams/{stream_id}/recordings"
    headers = {**api.service(), "Idempotency-Key": "again-and-again"}
    response = await api.client.post(path, json={}, headers=headers)
    assert problem(response) == (503, "livekit-unavailable")
    assert response.headers["retry-after"]
    assert await api.rows(select(Recording)) == []
    assert sorted(await audit(api)) == ["requested", "withdrawn"]
    del api.livekit.failing["StartRoomCompositeEgress"]
    assert (await api.client.post(path, json={}, headers=headers)).status_code == 202


async def test_a_start_whose_answer_got_lost_is_found(api: Api) -> None:
    stream_id = await stage(api)

    def lose(method: str) -> None:
        # It is started, but all that the service hears is an error.
        if method == "StartRoomCompositeEgress" and not api.livekit.egresses:
            room = next(iter(api.livekit.rooms))
            asked = proto_egress.RoomCompositeEgressRequest(room_name=room)
            asked.file_outputs.add(filepath=keys[0])
            api.livekit.start_egress(asked)

    keys: list[str] = []
    original = api.services.livekit.start_recording

    async def noted(room: str, key: str, layout: str) -> Any:
        keys.append(key)
        return await original(room, key, layout)

    object.__setattr__(api.services.livekit, "start_recording", noted)
    api.livekit.before = lose
    api.livekit.failing["StartRoomCompositeEgress"] = TwirpError("deadline_exceeded", 408)
    made = await begin(api, stream_id)
    assert made["status"] == "starting"
    assert [row.egress_id for row in await api.rows(select(Recording))] == [egress(api).egress_id]


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


async def test_what_livekit_forgot_is_failed(api: Api) -> None:
    stream_id = await stage(api)
    made = await begin(api, stream_id)
    api.livekit.egresses.clear()
    assert await reconcile(api.services) == 0
    api.clock.advance(seconds=61)
    assert await reconcile(api.services) == 1
    found = await api.call("GET", f"/recordings/{made['id']}")
    assert (found["status"], found["error"]) == ("failed", "LiveKit does not know of it anymore")
    assert await told(api, stream_id) == ["recording.failed"]
    # Final is final.
    late = proto_egress.EgressInfo(
        egress_id="EG_0", room_name=next(iter(api.livekit.rooms)), status=STATUS.EGRESS_COMPLETE
    )
    late.room_composite.file_outputs.add(filepath=recording_key(stream_id, made["session_id"], made["id"]))
    assert not await on_egress(api.services, egress_of(late))
    assert (await api.call("GET", f"/recordings/{made['id']}")) == found


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


async def test_a_recorder_that_never_answers_is_given_up(api: Api) -> None:
    stream_id = await stage(api)
    made = await begin(api, stream_id)
    await say(api, STATUS.EGRESS_ACTIVE)
    api.livekit.failing["StopEgress"] = TwirpError("deadline_exceeded", 408)
    response = await api.client.post(f"/v1/recordings/{made['id']}/stop", headers=api.service())
    assert problem(response) == (503, "livekit-unavailable")
    assert await reconcile(api.services) == 0
    assert (await api.call("GET", f"/recordings/{made['id']}"))["status"] == "active"
    api.clock.advance(seconds=STOP_PATIENCE.total_seconds())
    assert await reconcile(api.services) == 1
    found = await api.call("GET", f"/recordings/{made['id']}")
    assert (found["status"], found["error"]) == ("failed", "the recorder does not answer")
    # LiveKit goes on saying that it is active: that is not healed each time anew, nor asked for ever.
    assert await reconcile(api.services) == 0
    api.clock.advance(hours=2)
    asked = api.livekit.calls.count("StopEgress")
    await reconcile(api.services)
    assert api.livekit.calls.count("StopEgress") == asked


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


async def test_livekit_away_breaks_nothing(api: Api) -> None:
    stream_id = await stage(api)
    made = await begin(api, stream_id)
    for method in ("StopEgress", "ListEgress", "StartRoomCompositeEgress"):
        api.livekit.failing[method] = AWAY
    await api.call("POST", f"/recordings/{made['id']}/stop", status=503)
    assert (await api.call("GET", f"/recordings/{made['id']}"))["stop_requested_at"]
    api.livekit.failing.clear()
    await reconcile(api.services)
    assert egress(api).status == STATUS.EGRESS_ENDING


async def test_livekit_is_not_waited_for_longer_than_said(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    stream_id = await stage(api)
    monkeypatch.setattr(gateway, "START_RECORDING_SECONDS", 0.2)
    slow = threading.Event()

    def wait(method: str) -> None:
        if method == "StartRoomCompositeEgress":
            slow.wait(20)

    api.livekit.before = wait
    begun = time.monotonic()
    try:
        await api.call("POST", f"/streams/{stream_id}/recordings", status=503, json={})
        assert time.monotonic() - begun < 10
    finally:
        slow.set()


async def test_pages(api: Api) -> None:
    stream_id = await stage(api)
    made = []
    for _ in range(3):
        made.append((await begin(api, stream_id))["id"])
        api.clock.advance(seconds=1)
        await api.call("POST", f"/recordings/{made[-1]}/stop")
        for told_of in api.livekit.egresses.values():
            told_of.status = STATUS.EGRESS_COMPLETE
        await reconcile(api.services)
    first = await api.call("GET", f"/streams/{stream_id}/recordings?limit=2")
    rest = await api.call("GET", f"/streams/{stream_id}/recordings?cursor={first['next_cursor']}")
    assert [item["id"] for item in (*first["items"], *rest["items"])] == made[::-1]
    assert rest["next_cursor"] is None


async def test_url_needs_a_file_and_a_store(api: Api) -> None:
    stream_id = await stage(api)
    made = await begin(api, stream_id)
    path = f"/v1/recordings/{made['id']}/url"
    assert problem(await api.client.get(path, headers=api.service())) == (409, "conflict")
    complete(api)
    await on_egress(api.services, egress_of(egress(api)))
    assert problem(await api.client.get(path, headers=api.service())) == (409, "no-storage")
    settings = StoreStandIn("http://store.inside.test").known_to(api.services.settings)
    object.__setattr__(api.services, "settings", settings)
    response = await api.client.get(path, headers=api.service())
    assert response.headers["cache-control"] == "no-store"
    parts = urlsplit(response.json()["url"])
    key = recording_key(stream_id, made["session_id"], made["id"])
    assert (parts.netloc, parts.path) == ("s3.test:9000", f"/recordings/{key}")
    query = parse_qs(parts.query)
    assert query["X-Amz-Expires"] == ["300"]
    assert query["response-content-disposition"] == [f'attachment; filename="{response.json()["file_name"]}"']
    assert "url-given" in await audit(api)


def test_the_signature_covers_key_and_name() -> None:
    store = Store("http://127.0.0.1:9000", "http://inner:9000", "recordings", "eu-west-1", "reader", "x" * 40)

    def signature(url: str) -> str:
        return parse_qs(urlsplit(url).query)["X-Amz-Signature"][0]

    one = address(store, "recordings/a.mp4", file_name="a.mp4")
    assert re.fullmatch(r"[0-9a-f]{64}", signature(one))
    assert signature(address(store, "recordings/b.mp4", file_name="a.mp4")) != signature(one)
    assert signature(address(store, "recordings/a.mp4", file_name="b.mp4")) != signature(one)
    assert "x" * 40 not in one
    assert "x" * 40 not in repr(store)


@given(st.text(max_size=300), st.datetimes())
def test_file_names_are_safe(title: str, at: Any) -> None:
    assert re.fullmatch(r"[A-Za-z0-9-]{1,90}\.mp4", file_name(title, at))
    assert not file_name(title, at).startswith("-")


@given(st.lists(st.sampled_from(list(RecordingStatus)), max_size=12))
def test_what_is_final_stays(news: list[RecordingStatus]) -> None:
    status, ended = RecordingStatus.REQUESTED, None
    for new in news:
        if goes_on(status, new):
            assert ended is None
            status = new
        ended = status if status in FINAL else None
    firsts = [new for new in news if new in FINAL][:1]
    assert status in FINAL or not firsts
    assert not firsts or status is firsts[0]


def test_every_status_of_livekit_is_known() -> None:
    known = [name.removeprefix("EGRESS_").lower() for name in STATUS.DESCRIPTOR.values_by_name]
    assert [name for name in known if status_of(name) is None] == []
    assert status_of("melted") is None


def test_only_our_keys_are_ours() -> None:
    one = "0" * 8 + "-0000-0000-0000-" + "0" * 12
    assert is_recording_key(recording_key(one, one, one))
    for other in ("", "a.mp4", f"recordings/{one}/{one}/../{one}.mp4", f"recordings/{one}/{one}/{one}.mp4\n"):
        assert not is_recording_key(other)
