"""Recordings over HTTP, on both databases: started, changed, stopped, and as LiveKit says in the end."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from livekit.protocol import egress as proto_egress
from livekit.protocol import models as proto
from sqlalchemy import select

from tests.unit.token_api.api import Api, problem
from tests.unit.token_api.livekit_double import TwirpError
from tests.unit.token_api.object_store_stand_in import StoreStandIn
from tests.unit.token_api.receiver import eventually
from token_api.database.tables import AuditEntry, Outbox, Recording
from token_api.domain.object_keys import recording_key
from token_api.livekit_api import gateway
from token_api.livekit_api.values import egress_of
from token_api.use_cases.recording_news import on_egress
from token_api.use_cases.recording_reconciliation import reconcile

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


async def without_recorder(api: Api) -> None:
    """The operator takes the recorders away."""
    # The worker's first round may still ask LiveKit.
    await eventually(lambda: "ListEgress" in api.livekit.calls, "the first round over recordings")
    settings = api.services.settings.model_copy(update={"egress_kind": "none"})
    object.__setattr__(api.services, "settings", settings)
    api.livekit.calls.clear()


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
    assert (made["status"], made["layout"], made["has_file"]) == ("starting", "grid", False)
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
    assert found["has_file"]
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


async def test_without_a_recorder_nothing_is_asked_of_livekit(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    stream_id = await stage(api)
    await without_recorder(api)
    capsys.readouterr()
    path = f"/v1/streams/{stream_id}/recordings"
    # Who may not record is told so, whatever there is to record with.
    assert (await api.client.post(path, json={}, headers=api.user("stranger"))).status_code == 404
    response = await api.client.post(path, json={}, headers=api.user("creator"))
    assert problem(response) == (409, "recording-unavailable")
    assert "egress" not in response.text.lower()
    assert await api.rows(select(Recording)) == []
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "recording_unavailable" in line]
    assert "warning" in line
    assert "setting=egress.kind" in line
    assert await reconcile(api.services) == 0
    assert not [method for method in api.livekit.calls if "Egress" in method]


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
    # The recorder of another egress is nobody who publishes, whatever LiveKit says of it.
    room = next(name for name in api.livekit.rooms if silent in name)
    asked = proto_egress.RoomCompositeEgressRequest(room_name=room)
    recorder = api.livekit.join_recorder(api.livekit.start_egress(asked).egress_id)
    recorder.tracks.append(proto.TrackInfo(sid="TR_1"))
    assert await refusal(silent) == (409, "no-tracks")
    api.livekit.egresses.clear()
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


async def test_a_recording_that_failed_keeps_what_was_saved(api: Api) -> None:
    stream_id = await stage(api)
    made = await begin(api, stream_id)
    complete(api)
    await say(api, STATUS.EGRESS_FAILED, error="the recorder crashed")
    found = await api.call("GET", f"/recordings/{made['id']}")
    assert (found["status"], found["error"]) == ("failed", "the recorder crashed")
    assert (found["has_file"], found["size_bytes"], found["duration_seconds"]) == (True, 1234, 65)
    settings = StoreStandIn("http://store.inside.test").known_to(api.services.settings)
    object.__setattr__(api.services, "settings", settings)
    assert (await api.call("GET", f"/recordings/{made['id']}/url"))["url"]
    assert await told(api, stream_id) == ["recording.failed"]


@pytest.mark.parametrize("in_backup", [False, True])
async def test_what_is_not_in_the_store_cannot_be_fetched(api: Api, in_backup: bool) -> None:
    made = await begin(api, await stage(api))
    # A recorder lists its file from the start, without a size until it is uploaded.
    egress(api).file_results.add(filename="x", duration=65_000_000_000, size=99 if in_backup else 0)
    await say(api, STATUS.EGRESS_COMPLETE, backup_storage_used=in_backup)
    found = await api.call("GET", f"/recordings/{made['id']}")
    assert (found["status"], found["has_file"]) == ("complete", False)
    assert found["size_bytes"] == (99 if in_backup else None)
    assert ("backup" in found["error"]) is in_backup
    await api.call("GET", f"/recordings/{made['id']}/url", status=409)


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
