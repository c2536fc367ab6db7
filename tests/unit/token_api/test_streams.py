"""Streams over HTTP, on both databases: their life, their room, and that many at once are as one."""

from __future__ import annotations

import asyncio
import json

import pytest
from sqlalchemy import select

from tests.unit.token_api.api import Api, problem
from tests.unit.token_api.livekit_double import TwirpError
from token_api.database.tables import AuditEntry, Outbox, Stream, StreamSession
from token_api.domain.vocabulary import SessionState


async def events(api: Api, stream_id: str) -> list[str]:
    wanted = select(Outbox).where(Outbox.stream_id == stream_id).order_by(Outbox.position)
    return [row.event_type for row in await api.rows(wanted)]


async def test_from_draft_to_live_to_ended(api: Api) -> None:
    stream_id = await api.stream(kind="consultation", metadata={"a": [1]}, capacity=3)
    draft = await api.call("GET", f"/streams/{stream_id}")
    assert (draft["status"], draft["room_name"], draft["started_at"]) == ("draft", None, None)
    api.clock.advance(seconds=5)
    live = await api.call("POST", f"/streams/{stream_id}/go-live")
    assert live["status"] == "live"
    assert live["started_at"] > draft["created_at"]
    assert live["room_name"].startswith(f"consultation_{stream_id}_")
    room = api.livekit.rooms[live["room_name"]]
    told = json.loads(room.metadata)
    assert (told["stream_id"], told["metadata"], told["status"]) == (stream_id, {"a": [1]}, "live")
    assert room.max_participants > 3
    paused = await api.call("POST", f"/streams/{stream_id}/pause")
    assert paused["status"] == "paused"
    assert json.loads(room.metadata)["status"] == "paused"
    assert (await api.call("POST", f"/streams/{stream_id}/resume"))["status"] == "live"
    ended = await api.call("POST", f"/streams/{stream_id}/end")
    assert (ended["status"], ended["room_name"]) == ("ended", None)
    assert ended["ended_at"]
    assert api.livekit.rooms == {}
    assert await events(api, stream_id) == [
        *("stream.created", "stream.live", "stream.paused", "stream.resumed", "stream.ended")
    ]
    audit = await api.rows(select(AuditEntry).where(AuditEntry.stream_id == stream_id))
    assert {entry.actor for entry in audit} == {"service"}


async def test_fifty_at_once_make_one_room_and_one_answer(api: Api) -> None:
    stream_id = await api.stream()
    answers = await asyncio.gather(*(api.call("POST", f"/streams/{stream_id}/go-live") for _ in range(50)))
    assert all(answer == answers[0] for answer in answers)
    assert list(api.livekit.rooms) == [answers[0]["room_name"]]
    assert len(await api.rows(select(StreamSession))) == 1
    assert (await events(api, stream_id)).count("stream.live") == 1
    ended = await asyncio.gather(*(api.call("POST", f"/streams/{stream_id}/end") for _ in range(10)))
    assert all(answer == ended[0] for answer in ended)
    assert (await events(api, stream_id)).count("stream.ended") == 1


@pytest.mark.parametrize(
    ("before", "action"),
    [
        ([], "pause"),
        ([], "resume"),
        ([], "end"),
        (["go-live", "pause"], "go-live"),
        (["go-live", "end"], "go-live"),
        (["go-live", "end"], "pause"),
        (["go-live", "end"], "resume"),
    ],
)
async def test_what_the_status_does_not_allow_is_refused(api: Api, before: list[str], action: str) -> None:
    stream_id = await api.stream()
    for step in before:
        await api.call("POST", f"/streams/{stream_id}/{step}")
    response = await api.client.post(f"/v1/streams/{stream_id}/{action}", headers=api.service())
    assert problem(response) == (409, "invalid-transition")


async def test_a_status_by_patch_does_what_its_endpoint_does(api: Api) -> None:
    stream_id = await api.stream()
    for status in ("live", "paused", "live", "ended"):
        changed = await api.call("PATCH", f"/streams/{stream_id}", json={"status": status})
        assert changed["status"] == status
        assert len(api.livekit.rooms) == (0 if status == "ended" else 1)
    for status in ("draft", "failed"):
        refused = await api.client.patch(
            f"/v1/streams/{stream_id}", json={"status": status}, headers=api.service()
        )
        assert problem(refused) == (409, "invalid-transition")
    assert (await events(api, stream_id))[1:] == [
        *("stream.live", "stream.paused", "stream.resumed", "stream.ended")
    ]


async def test_without_livekit_nothing_goes_live_and_the_next_try_does(api: Api) -> None:
    stream_id = await api.stream()
    api.livekit.failing["CreateRoom"] = TwirpError("unavailable", 503)
    response = await api.client.post(f"/v1/streams/{stream_id}/go-live", headers=api.service())
    assert problem(response) == (503, "livekit-unavailable")
    assert response.headers["retry-after"]
    assert (await api.call("GET", f"/streams/{stream_id}"))["status"] == "draft"
    (intent,) = await api.rows(select(StreamSession))
    assert intent.state is SessionState.OPENING
    api.livekit.failing.clear()
    live = await api.call("POST", f"/streams/{stream_id}/go-live")
    assert live["room_name"] == intent.room_name
    api.livekit.failing["DeleteRoom"] = TwirpError("internal", 500)
    response = await api.client.post(f"/v1/streams/{stream_id}/end", headers=api.service())
    assert problem(response) == (502, "livekit-error")
    # Whoever is ending lets nobody in anymore.
    refused = await api.client.post(f"/v1/streams/{stream_id}/video-token", headers=api.user("creator"))
    assert problem(refused) == (409, "stream-not-live")
    api.livekit.failing.clear()
    assert (await api.call("POST", f"/streams/{stream_id}/end"))["status"] == "ended"


async def test_a_livekit_that_is_not_there_is_503_and_reading_goes_on(
    api: Api, environment: pytest.MonkeyPatch
) -> None:
    stream_id = await api.stream()
    gateway = api.services.livekit
    await gateway.aclose()
    environment.setattr(gateway, "_url", "http://127.0.0.1:1")
    response = await api.client.post(f"/v1/streams/{stream_id}/go-live", headers=api.service())
    assert problem(response) == (503, "livekit-unavailable")
    assert len((await api.call("GET", "/streams"))["items"]) == 1


async def test_a_stream_deleted_while_its_room_is_made_leaves_no_room(api: Api) -> None:
    stream_id = await api.stream()
    loop = asyncio.get_running_loop()

    def delete(method: str) -> None:
        if method == "CreateRoom":
            api.livekit.before = None
            deleting = api.call("DELETE", f"/streams/{stream_id}", status=204)
            asyncio.run_coroutine_threadsafe(deleting, loop).result(timeout=20)

    api.livekit.before = delete
    response = await api.client.post(f"/v1/streams/{stream_id}/go-live", headers=api.service())
    assert problem(response) == (404, "not-found")
    assert api.livekit.rooms == {}


async def test_a_stream_on_air_is_not_deleted_and_one_off_air_is(api: Api) -> None:
    stream_id = await api.live_stream()
    response = await api.client.delete(f"/v1/streams/{stream_id}", headers=api.service())
    assert problem(response) == (409, "conflict")
    await api.call("POST", f"/streams/{stream_id}/end")
    await api.call("DELETE", f"/streams/{stream_id}", status=204)
    assert problem(await api.client.get(f"/v1/streams/{stream_id}", headers=api.service())) == (
        404,
        "not-found",
    )
    assert await api.rows(select(Stream)) == []
    assert await api.rows(select(StreamSession)) == []
    kept = await api.rows(select(AuditEntry).where(AuditEntry.stream_id == stream_id))
    assert "stream.deleted" in {entry.action for entry in kept}


async def test_pages_have_every_stream_once_newest_first(api: Api) -> None:
    made = []
    for number in range(7):
        made.append(await api.stream(title=f"Number {number}"))
        if number % 2:
            api.clock.advance(seconds=1)
    found: list[str] = []
    cursor = ""
    while True:
        page = await api.call("GET", f"/streams?limit=2{cursor}")
        found += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(found) == sorted(made)
    assert found[0] == made[6]
    wrong = await api.client.get("/v1/streams?cursor=abc", headers=api.service())
    assert problem(wrong) == (422, "validation")
    assert [item["id"] for item in (await api.call("GET", "/streams?status=live"))["items"]] == []


async def test_the_same_key_makes_one_stream_and_gives_one_answer(api: Api) -> None:
    wanted = {"title": "A", "owner_id": "creator", "space_id": "space"}
    headers = {**api.service(), "Idempotency-Key": "key-000001"}
    answers = await asyncio.gather(
        *(api.client.post("/v1/streams", json=wanted, headers=headers) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert len(await api.rows(select(Stream))) == 1
    other = await api.client.post("/v1/streams", json={**wanted, "title": "B"}, headers=headers)
    assert problem(other) == (422, "idempotency-key-reused")
    # A refused request leaves nothing behind: the key is free for the right one.
    user = {**api.user("creator"), "Idempotency-Key": "key-000002"}
    assert problem(await api.client.post("/v1/streams", json=wanted, headers=user)) == (403, "role-forbidden")
    await api.call("PUT", "/spaces/space/team/creator", json={"role": "owner"}, status=201)
    await api.call("POST", "/streams", user, 201, json=wanted)
    stream_id = json.loads(answers[0].text)["id"]
    live = {**api.service(), "Idempotency-Key": "key-000003"}
    first = await api.call("POST", f"/streams/{stream_id}/go-live", live)
    await api.call("POST", f"/streams/{stream_id}/end")
    assert await api.call("POST", f"/streams/{stream_id}/go-live", live) == first


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", ""),
        ("title", "a" * 201),
        ("title", "bell\x07"),
        ("title", None),
        ("kind", "film"),
        ("owner_id", "with space"),
        ("space_id", ""),
        ("metadata", {"a": "b" * 2048}),
        ("metadata", "text"),
        ("capacity", 0),
        ("capacity", "5"),
        ("status", "live"),
        ("room_name", "mine"),
    ],
)
async def test_a_wrong_field_of_a_stream_is_named(api: Api, field: str, value: object) -> None:
    wanted = {"title": "A", "owner_id": "creator", "space_id": "space", field: value}
    response = await api.client.post("/v1/streams", json=wanted, headers=api.service())
    assert problem(response) == (422, "validation")
    assert [error["pointer"] for error in response.json()["errors"]] == [f"#/{field}"]


async def test_changes_are_told_to_the_room_and_counted(api: Api) -> None:
    stream_id = await api.live_stream(capacity=2)
    changed = await api.call("PATCH", f"/streams/{stream_id}", json={"title": "New", "metadata": {"b": 2}})
    assert (changed["title"], changed["metadata"], changed["version"]) == ("New", {"b": 2}, 3)
    (room,) = api.livekit.rooms.values()
    assert json.loads(room.metadata)["title"] == "New"
    same = await api.call("PATCH", f"/streams/{stream_id}", json={"title": "New"})
    assert same["version"] == 3
    refused = await api.client.patch(f"/v1/streams/{stream_id}", json={"capacity": 5}, headers=api.service())
    assert problem(refused) == (409, "conflict")
