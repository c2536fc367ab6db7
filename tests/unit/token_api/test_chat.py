"""The chat over HTTP, on both databases: who may, in which order, how slowly, and what the room is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from tests.unit.token_api.api import Api, problem
from tests.unit.token_api.livekit_double import TwirpError
from token_api.database.tables import AuditEntry, Ban, ChatMessage, ChatRelay, Outbox
from token_api.use_cases.chat_relay import GIVE_UP_SECONDS, relay_due


async def eventually(condition: Callable[[], Any]) -> None:
    """Wait until `condition` holds: background workers make it so."""
    async with asyncio.timeout(20):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def chat_stream(api: Api, *viewers: str, **fields: Any) -> str:
    """A live stream that `viewers` may watch; its id."""
    stream_id = await api.live_stream(**fields)
    for viewer in viewers:
        await api.grant(viewer, "stream", stream_id)
    return stream_id


async def write(api: Api, stream_id: str, user: str, text: str, status: int = 201) -> Any:
    path = f"/streams/{stream_id}/chat/messages"
    return await api.call("POST", path, api.user(user, name=user.title()), status, json={"text": text})


async def read(api: Api, stream_id: str, user: str, query: str = "") -> Any:
    return await api.call("GET", f"/streams/{stream_id}/chat/messages{query}", api.user(user))


def told(api: Api) -> list[Any]:
    return [json.loads(packet.data) for packet in api.livekit.data]


async def test_a_message_is_kept_read_and_told_to_the_room(api: Api) -> None:
    stream_id = await chat_stream(api, "anna", "ben")
    text = '</script><img src=x onerror="alert(1)"> & \u202eolleh'
    written = await write(api, stream_id, "anna", text)
    kept = '</script><img src=x onerror="alert(1)"> & olleh'
    assert (written["text"], written["name"], written["role"]) == (kept, "Anna", "viewer")
    page = await read(api, stream_id, "ben")
    assert page["items"] == [written]
    assert page["settings"] == {"enabled": True, "slow_mode_seconds": 0, "max_length": 500}
    await eventually(lambda: api.livekit.data)
    (packet,) = api.livekit.data
    assert (packet.topic, packet.kind, list(packet.destination_identities)) == ("chat", 0, [])
    assert told(api) == [{"type": "message", "message": written, "revision": written["revision"]}]
    raw = await api.client.get(f"/v1/streams/{stream_id}/chat/messages", headers=api.user("ben"))
    for sent in (raw.content, packet.data):
        assert not set(b"<>&") & set(sent)
    assert raw.headers["x-content-type-options"] == "nosniff"
    info = await api.call("GET", f"/streams/{stream_id}/stream-info", api.user("ben"))
    assert info["chat_messages_path"] == f"/v1/streams/{stream_id}/chat/messages"
    assert info["chat_max_length"] == 500


async def test_history_is_newest_first_in_pages_and_after_has_what_was_missed(api: Api) -> None:
    stream_id = await chat_stream(api, "anna")
    for number in range(7):
        await write(api, stream_id, "anna", f"Number {number}")
    found: list[str] = []
    page = await read(api, stream_id, "anna", "?limit=3")
    revision = page["revision"]
    found += [item["text"] for item in page["items"]]
    while page["next_cursor"]:
        page = await read(api, stream_id, "anna", f"?limit=3&cursor={page['next_cursor']}")
        found += [item["text"] for item in page["items"]]
    assert found == [f"Number {number}" for number in reversed(range(7))]
    assert (await read(api, stream_id, "anna", f"?after={revision}"))["items"] == []
    late = [await write(api, stream_id, "anna", text) for text in ("late 1", "late 2", "late 3")]
    await api.call("DELETE", f"/streams/{stream_id}/chat/messages/{late[1]['id']}", api.user("creator"), 204)
    missed = await read(api, stream_id, "anna", f"?after={revision}&limit=2")
    assert [item["text"] for item in missed["items"]] == ["late 1", "late 3"]
    assert missed["more"]
    rest = await read(api, stream_id, "anna", f"?after={missed['revision']}&limit=2")
    assert [(item["id"], item["text"], item["deleted"]) for item in rest["items"]] == [
        (late[1]["id"], None, True)
    ]
    assert not rest["more"]
    assert (await read(api, stream_id, "anna", f"?after={rest['revision']}"))["items"] == []
    both = await api.client.get(
        f"/v1/streams/{stream_id}/chat/messages?after=1&cursor=abc", headers=api.user("anna")
    )
    assert problem(both) == (422, "validation")
    cursor = (await api.call("GET", "/streams?limit=1"))["next_cursor"] or "WzAsImEiXQ"
    foreign = await api.client.get(
        f"/v1/streams/{stream_id}/chat/messages?cursor={cursor}", headers=api.user("anna")
    )
    assert problem(foreign) == (422, "validation")


async def test_fifty_at_once_have_fifty_places_and_the_room_is_told_of_each(api: Api) -> None:
    users = [f"user{number}" for number in range(25)]
    stream_id = await chat_stream(api, *users)
    written = await asyncio.gather(*(write(api, stream_id, user, "hi") for user in users + users))
    assert sorted(message["sequence"] for message in written) == list(range(1, 51))
    await eventually(lambda: len(api.livekit.data) >= 50)
    assert [packet["revision"] for packet in told(api)] == list(range(1, 51))
    page = await read(api, stream_id, "creator", "?limit=100")
    assert [item["sequence"] for item in page["items"]] == list(range(50, 0, -1))


async def test_only_who_gets_into_the_stream_reads_and_writes(api: Api) -> None:
    stream_id = await chat_stream(api, "anna")
    over = api.clock.now().isoformat()
    await api.grant("late", "stream", stream_id, expires_at=over)
    cancelled = await api.grant("left", "stream", stream_id)
    await api.call("POST", f"/access-grants/{cancelled}/cancel")
    api.clock.advance(seconds=1)
    await api.grant("bad", "stream", stream_id)
    async with api.services.database.begin() as transaction:
        transaction.add(
            Ban(stream_id=stream_id, user_id="bad", banned_by="creator", created_at=api.clock.now())
        )
    path = f"/v1/streams/{stream_id}/chat/messages"
    for user, refusal in (
        ("bad", (403, "banned")),
        ("nobody", (404, "not-found")),
        ("late", (403, "grant-expired")),
        ("left", (403, "grant-cancelled")),
    ):
        headers = api.user(user)
        assert problem(await api.client.post(path, json={"text": "a"}, headers=headers)) == refusal
        assert problem(await api.client.get(path, headers=headers)) == refusal
        assert problem(await api.client.get(f"{path}?after=0", headers=headers)) == refusal
    assert problem(await api.client.get(path)) == (401, "unauthenticated")
    by_service = await api.client.post(path, json={"text": "a"}, headers=api.service())
    assert problem(by_service) == (400, "bad-request")
    named = await api.call(
        "POST", path.removeprefix("/v1"), api.service("anna"), 201, json={"text": "a", "name": "Anna A."}
    )
    assert (named["user_id"], named["name"]) == ("anna", "Anna A.")
    assert len((await api.call("GET", path.removeprefix("/v1")))["items"]) == 1
    # A name in the body is the host application's to give.
    own = await api.call(
        "POST",
        path.removeprefix("/v1"),
        api.user("anna", name="Anna"),
        201,
        json={"text": "a", "name": "Ben"},
    )
    assert own["name"] == "Anna"


async def test_the_chat_is_open_while_the_stream_is_on_air(api: Api) -> None:
    stream_id = await api.stream()
    path = f"/v1/streams/{stream_id}/chat/messages"
    message, creator = {"text": "a"}, api.user("creator")
    assert problem(await api.client.post(path, json=message, headers=creator)) == (409, "stream-not-live")
    await api.call("POST", f"/streams/{stream_id}/go-live")
    await write(api, stream_id, "creator", "a")
    await api.call("POST", f"/streams/{stream_id}/pause")
    await write(api, stream_id, "creator", "b")
    await api.call("POST", f"/streams/{stream_id}/end")
    assert problem(await api.client.post(path, json=message, headers=creator)) == (409, "stream-not-live")
    assert len((await read(api, stream_id, "creator"))["items"]) == 2


async def test_a_stream_that_is_ending_takes_no_messages(api: Api) -> None:
    stream_id = await chat_stream(api, "anna")
    # The end is written down, and LiveKit does not answer.
    api.livekit.failing["DeleteRoom"] = TwirpError("deadline_exceeded", 408)
    await api.call("POST", f"/streams/{stream_id}/end", status=503)
    path = f"/v1/streams/{stream_id}/chat/messages"
    for user in ("anna", "creator"):
        answer = await api.client.post(path, json={"text": "a"}, headers=api.user(user))
        assert problem(answer) == (409, "stream-not-live")
    assert await api.rows(select(ChatMessage)) == []
    assert await api.rows(select(ChatRelay)) == []


async def test_slow_mode_holds_back_viewers_also_many_at_once(api: Api) -> None:
    stream_id = await chat_stream(api, "anna", "ben")
    settings = f"/streams/{stream_id}/chat/settings"
    await api.call("PATCH", settings, api.user("creator"), json={"slow_mode_seconds": 30})
    path = f"/v1/streams/{stream_id}/chat/messages"
    answers = await asyncio.gather(
        *(api.client.post(path, json={"text": "a"}, headers=api.user("anna")) for _ in range(10))
    )
    assert sorted(answer.status_code for answer in answers) == [201, *[429] * 9]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert problem(refused) == (429, "slow-mode")
    assert 1 <= int(refused.headers["retry-after"]) <= 31
    await write(api, stream_id, "ben", "a")
    for _ in range(3):
        await write(api, stream_id, "creator", "a")
    # Deleting what one wrote gives no second turn.
    (mine,) = [item for item in (await read(api, stream_id, "anna"))["items"] if item["user_id"] == "anna"]
    await api.call("DELETE", f"/streams/{stream_id}/chat/messages/{mine['id']}", api.user("anna"), 204)
    api.clock.advance(seconds=29)
    await write(api, stream_id, "anna", "a", 429)
    api.clock.advance(seconds=1)
    await write(api, stream_id, "anna", "a")


async def test_settings_are_the_owners_and_teams_and_the_room_is_told(api: Api) -> None:
    stream_id = await chat_stream(api, "anna")
    path = f"/v1/streams/{stream_id}/chat/settings"
    refused = await api.client.patch(path, json={"enabled": False}, headers=api.user("anna"))
    assert problem(refused) == (403, "role-forbidden")
    await api.call("PUT", "/spaces/space/team/mod", json={"role": "moderator"}, status=201)
    wanted = {"enabled": True, "slow_mode_seconds": 5, "max_length": 10}
    changed = await api.call("PATCH", path.removeprefix("/v1"), api.user("mod"), json=wanted)
    assert changed == wanted
    assert await api.call("PATCH", path.removeprefix("/v1"), api.user("mod"), json=wanted) == wanted
    await eventually(lambda: api.livekit.data)
    assert told(api) == [{"type": "settings", "settings": wanted, "revision": 1}]
    await write(api, stream_id, "anna", "a" * 11, 422)
    await write(api, stream_id, "anna", "a" * 10)
    await api.call("PATCH", path.removeprefix("/v1"), api.user("mod"), json={"enabled": False})
    closed = await api.client.post(
        f"/v1/streams/{stream_id}/chat/messages", json={"text": "a"}, headers=api.user("creator")
    )
    assert problem(closed) == (409, "chat-closed")
    entries = await api.rows(select(AuditEntry).where(AuditEntry.action == "chat.settings-changed"))
    assert [entry.actor for entry in entries] == ["user:mod"] * 2
    assert len(await api.rows(select(Outbox).where(Outbox.event_type == "stream.updated"))) == 2
    for wrong in ({"slow_mode_seconds": 601}, {"max_length": 501}, {"max_length": 0}, {"enabled": None}):
        answer = await api.client.patch(path, json=wrong, headers=api.user("mod"))
        assert problem(answer) == (422, "validation")


async def test_who_may_delete_which_message(api: Api) -> None:
    stream_id = await chat_stream(api, "anna", "ben")
    other_id = await chat_stream(api, "anna")
    path = f"/v1/streams/{stream_id}/chat/messages"
    first = await write(api, stream_id, "anna", "first")
    second = await write(api, stream_id, "anna", "second")
    assert problem(await api.client.delete(f"{path}/{first['id']}", headers=api.user("ben"))) == (
        403,
        "role-forbidden",
    )
    elsewhere = f"/v1/streams/{other_id}/chat/messages/{first['id']}"
    for wrong in (elsewhere, f"{path}/none"):
        answer = await api.client.delete(wrong, headers=api.user("creator"))
        assert problem(answer) == (404, "not-found")
    await api.call("DELETE", f"/streams/{stream_id}/chat/messages/{first['id']}", api.user("anna"), 204)
    await eventually(lambda: len(api.livekit.data) == 3)
    api.clock.advance(seconds=301)
    too_late = await api.client.delete(f"{path}/{second['id']}", headers=api.user("anna"))
    assert problem(too_late) == (403, "role-forbidden")
    for _ in range(2):
        await api.call("DELETE", f"/streams/{stream_id}/chat/messages/{second['id']}", status=204)
    assert (await read(api, stream_id, "ben"))["items"] == []
    await eventually(lambda: len(api.livekit.data) == 4)
    deletions = [packet for packet in told(api) if packet["type"] == "deleted"]
    assert [packet["message"]["id"] for packet in deletions] == [first["id"], second["id"]]
    assert {packet["message"]["text"] for packet in deletions} == {None}
    events = await api.rows(select(Outbox).where(Outbox.event_type == "chat.message-deleted"))
    assert len(events) == 2
    actors = await api.rows(select(AuditEntry.actor).where(AuditEntry.action == "chat.message-deleted"))
    assert sorted(actors) == ["service", "user:anna"]


async def test_without_livekit_messages_are_kept_and_told_in_order_once_it_is_back(
    api: Api,
) -> None:
    stream_id = await chat_stream(api, "anna")
    api.livekit.failing["SendData"] = TwirpError("unavailable", 503)
    for text in ("one", "two", "three"):
        await write(api, stream_id, "anna", text)
    await eventually(lambda: "SendData" in api.livekit.calls)
    assert len((await read(api, stream_id, "anna"))["items"]) == 3
    assert api.livekit.data == []
    api.livekit.failing.clear()

    def all_came() -> bool:
        # The room's pause ends by this clock.
        api.clock.advance(seconds=0.05)
        return len(api.livekit.data) >= 3

    await eventually(all_came)
    assert [packet["message"]["text"] for packet in told(api)] == ["one", "two", "three"]
    # What is too old to be of use is given up, and told of by the history.
    api.livekit.failing["SendData"] = TwirpError("unavailable", 503)
    await write(api, stream_id, "anna", "lost")
    api.clock.advance(seconds=GIVE_UP_SECONDS + 1)
    async with asyncio.timeout(20):
        # Unless the service's own round does it.
        while await api.rows(select(ChatRelay)):
            await relay_due(api.services)
    assert len(api.livekit.data) == 3
    assert len(await api.rows(select(ChatMessage))) == 4


async def test_the_same_key_writes_one_message(api: Api) -> None:
    stream_id = await chat_stream(api, "anna")
    headers = {**api.user("anna"), "Idempotency-Key": "message-0001"}
    answers = await asyncio.gather(
        *(
            api.client.post(f"/v1/streams/{stream_id}/chat/messages", json={"text": "a"}, headers=headers)
            for _ in range(5)
        )
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert len((await read(api, stream_id, "anna"))["items"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"text": ""},
        {"text": " \u202e "},
        {"text": "a" * 501},
        {"text": "\U0001f600" * 400},
        {"text": 5},
        {},
        {"text": "a", "html": "b"},
    ],
)
async def test_a_wrong_message_is_refused(api: Api, body: dict[str, Any]) -> None:
    stream_id = await chat_stream(api, "anna")
    answer = await api.client.post(
        f"/v1/streams/{stream_id}/chat/messages", json=body, headers=api.user("anna")
    )
    assert problem(answer) == (422, "validation")
    assert await api.rows(select(ChatMessage)) == []
