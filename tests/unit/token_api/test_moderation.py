"""Moderation over HTTP, on both databases: participants, bans, raised hands, and what it does in LiveKit."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest
from livekit.protocol import models as proto
from sqlalchemy import event, select

from tests.unit.token_api.api import START, Api, problem
from tests.unit.token_api.livekit_double import TwirpError
from token_api import recent
from token_api.database.tables import AuditEntry, Outbox, Participant, StageRequest
from token_api.use_cases import enforcement, healing

_AWAY = TwirpError("unavailable", 503)


async def admit(api: Api, stream_id: str, user_id: str, *, grant: bool = True) -> str:
    """Have a user come into a live stream; the room's name."""
    if grant:
        await api.grant(user_id, "stream", stream_id)
    made = await api.call("POST", f"/streams/{stream_id}/video-token", api.user(user_id), 201)
    come_in(api, made["room_name"], made["participant_token"])
    return str(made["room_name"])


def come_in(api: Api, room: str, token: str) -> None:
    """Have the holder of `token` come in, by the test's clock."""
    joined = api.livekit.join(room, token)
    joined.joined_at = int(api.clock.now().timestamp())
    joined.joined_at_ms = joined.joined_at * 1000


async def told(api: Api, stream_id: str) -> list[str]:
    wanted = select(Outbox.event_type).where(Outbox.stream_id == stream_id).order_by(Outbox.position)
    return list(await api.rows(wanted))


def inside(api: Api, room: str) -> set[str]:
    return set(api.livekit.participants[room])


async def test_participants_are_those_whom_livekit_has_with_what_they_publish(api: Api) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "creator", grant=False)
    for number in range(3):
        await admit(api, stream_id, f"viewer-{number}")
    api.livekit.publish(room, "u:creator", proto.TrackSource.MICROPHONE)
    found, cursor = {}, ""
    while True:
        page = await api.call(
            "GET", f"/streams/{stream_id}/participants?limit=2{cursor}", api.user("creator")
        )
        assert len(page["items"]) <= 2
        found.update({item["identity"]: item for item in page["items"]})
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert set(found) == {"u:creator", *(f"u:viewer-{number}" for number in range(3))}
    assert found["u:creator"]["role"] == "creator"
    (track,) = found["u:creator"]["tracks"]
    assert (track["source"], track["kind"], track["muted"]) == ("microphone", "audio", False)
    # LiveKit is away: the list goes on by its events.
    await healing.heal(api.services)
    api.livekit.failing["ListParticipants"] = _AWAY
    api.services.participants.forget(room)
    known: dict[str, Any] = {}
    cursor = ""
    for _ in range(2):
        page = await api.call(
            "GET", f"/streams/{stream_id}/participants?limit=2{cursor}", api.user("creator")
        )
        known.update({item["identity"]: item for item in page["items"]})
        cursor = f"&cursor={page['next_cursor']}"
    assert (set(known), page["next_cursor"]) == (set(found), None)
    response = await api.client.get(f"/v1/streams/{stream_id}/participants", headers=api.user("viewer-0"))
    assert problem(response) == (403, "role-forbidden")
    response = await api.client.get(f"/v1/streams/{stream_id}/participants", headers=api.user("stranger"))
    assert problem(response) == (404, "not-found")


async def test_pages_of_participants_cost_one_list_of_livekits_and_the_rows_of_the_page(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "FRESH_SECONDS", 60.0)
    stream_id = await api.live_stream()
    await admit(api, stream_id, "creator", grant=False)
    for number in range(3):
        await admit(api, stream_id, f"viewer-{number}")
    api.livekit.calls.clear()
    rows = 0

    def count(*_: object) -> None:
        nonlocal rows
        rows += 1

    event.listen(Participant, "load", count)
    try:
        path, seen = f"/streams/{stream_id}/participants?limit=1", []
        page = await api.call("GET", path)
        while True:
            seen += [item["identity"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            page = await api.call("GET", f"{path}&cursor={page['next_cursor']}")
    finally:
        event.remove(Participant, "load", count)
    assert len(seen) == len(set(seen)) == 4
    assert api.livekit.calls.count("ListParticipants") == 1
    # Each page reads one row more, to know whether there is a next page.
    assert rows <= 2 * len(seen)
    await api.call("DELETE", f"/streams/{stream_id}/participants/u:viewer-0", status=204)
    left = await api.call("GET", f"/streams/{stream_id}/participants")
    assert "u:viewer-0" not in {item["identity"] for item in left["items"]}


async def test_who_is_removed_is_out_and_their_token_no_longer_good(api: Api) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "viewer")
    token = (await api.call("POST", f"/streams/{stream_id}/video-token", api.user("viewer"), 201))[
        "participant_token"
    ]
    path = f"/streams/{stream_id}/participants/u:viewer"
    await api.call("DELETE", path, api.user("creator"), 204)
    assert inside(api, room) == set()
    assert "participant.removed" in await told(api, stream_id)
    come_in(api, room, token)
    await healing.sweep(api.services)
    assert inside(api, room) == set()
    await admit(api, stream_id, "viewer", grant=False)
    await healing.sweep(api.services)
    assert inside(api, room) == {"u:viewer"}
    # Without LiveKit: written down, and done when it is back.
    api.livekit.failing["RemoveParticipant"] = _AWAY
    response = await api.client.delete(f"/v1{path}", headers=api.user("creator"))
    assert problem(response) == (503, "livekit-unavailable")
    assert response.headers["retry-after"]
    api.livekit.failing.clear()
    await healing.sweep(api.services)
    assert inside(api, room) == set()
    response = await api.client.delete(
        f"/v1/streams/{stream_id}/participants/u:nobody", headers=api.user("creator")
    )
    assert problem(response) == (404, "not-found")


async def test_the_team_does_not_put_the_owner_out(api: Api) -> None:
    stream_id = await api.live_stream()
    await api.call("PUT", "/spaces/space/team/mod", json={}, status=201)
    room = await admit(api, stream_id, "creator", grant=False)
    path = f"/streams/{stream_id}/participants/u:creator"
    response = await api.client.delete(f"/v1{path}", headers=api.user("mod"))
    assert problem(response) == (403, "role-forbidden")
    response = await api.client.post(
        f"/v1/streams/{stream_id}/bans", headers=api.user("mod"), json={"user_id": "creator"}
    )
    assert problem(response) == (409, "conflict")
    assert inside(api, room) == {"u:creator"}
    await api.call("DELETE", path, api.service(), 204)
    assert inside(api, room) == set()


async def test_a_track_or_all_audio_is_muted(api: Api) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "creator", grant=False)
    api.livekit.publish(room, "u:creator", proto.TrackSource.CAMERA)
    (video,) = api.livekit.participants[room]["u:creator"].tracks
    video.sid, video.type = "TR_camera", proto.TrackType.VIDEO
    api.livekit.publish(room, "u:creator", proto.TrackSource.MICROPHONE)
    path = f"/streams/{stream_id}/participants/u:creator/mute"
    muted = await api.call("POST", path)
    assert [(track["source"], track["muted"]) for track in muted["tracks"]] == [
        ("camera", False),
        ("microphone", True),
    ]
    await api.call("POST", path, json={"track_sid": "TR_camera"})
    assert all(track.muted for track in api.livekit.participants[room]["u:creator"].tracks)
    response = await api.client.post(f"/v1{path}", json={"track_sid": "TR_none"}, headers=api.service())
    assert problem(response) == (404, "not-found")
    assert (await told(api, stream_id)).count("participant.muted") == 2


async def test_a_guest_is_a_guest_by_every_token_until_demoted(api: Api) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "viewer")
    path = f"/streams/{stream_id}/participants/u:viewer/permissions"
    for _ in range(2):
        await api.call("PATCH", path, api.user("creator"), json={"role": "guest"})
    permission = api.livekit.participants[room]["u:viewer"].permission
    assert permission.can_publish
    assert not permission.can_publish_data
    guest = await api.call("POST", f"/streams/{stream_id}/video-token", api.user("viewer"), 201)
    assert guest["role"] == "guest"
    await api.call("PATCH", path, api.user("creator"), json={"role": "viewer"})
    assert not api.livekit.participants[room]["u:viewer"].permission.can_publish
    events = await told(api, stream_id)
    assert (events.count("participant.promoted"), events.count("participant.demoted")) == (1, 1)
    # The guest's token would still publish: taken back once, put out the second time.
    come_in(api, room, guest["participant_token"])
    await healing.sweep(api.services)
    assert inside(api, room) == {"u:viewer"}
    assert not api.livekit.participants[room]["u:viewer"].permission.can_publish
    api.clock.advance(seconds=10)
    come_in(api, room, guest["participant_token"])
    await healing.sweep(api.services)
    assert inside(api, room) == set()
    # A promotion that LiveKit was not told of is made good.
    await admit(api, stream_id, "viewer", grant=False)
    api.livekit.failing["UpdateParticipant"] = _AWAY
    response = await api.client.patch(f"/v1{path}", json={"role": "guest"}, headers=api.service())
    assert problem(response) == (503, "livekit-unavailable")
    api.livekit.failing.clear()
    await healing.sweep(api.services)
    assert api.livekit.participants[room]["u:viewer"].permission.can_publish
    await admit(api, stream_id, "creator", grant=False)
    response = await api.client.patch(
        f"/v1/streams/{stream_id}/participants/u:creator/permissions",
        json={"role": "viewer"},
        headers=api.service(),
    )
    assert problem(response) == (409, "conflict")


@pytest.mark.parametrize("scope", ["stream", "space"])
async def test_a_ban_holds_until_it_ends_or_is_lifted(api: Api, scope: str) -> None:
    stream_id, other_id = await api.live_stream(), await api.live_stream()
    await api.call("PUT", "/spaces/space/team/mod", json={}, status=201)
    room, other = await admit(api, stream_id, "viewer"), await admit(api, other_id, "viewer")
    path = f"/streams/{stream_id}/bans"
    wanted = {"user_id": "viewer", "scope": scope, "duration_seconds": 60, "reason": "spam"}
    ban = await api.call("POST", path, api.user("mod"), 201, json=wanted)
    assert (ban["scope"], ban["banned_by"], ban["reason"]) == (scope, "mod", "spam")
    assert inside(api, room) == set()
    assert inside(api, other) == (set() if scope == "space" else {"u:viewer"})
    token = f"/v1/streams/{stream_id}/video-token"
    assert problem(await api.client.post(token, headers=api.user("viewer"))) == (403, "banned")
    again = await api.call("POST", path, api.user("mod"), 200, json={**wanted, "duration_seconds": 90})
    assert again["id"] == ban["id"]
    assert [item["id"] for item in (await api.call("GET", path))["items"]] == [ban["id"]]
    assert (await api.call("GET", f"{path}/{ban['id']}"))["until"] == again["until"]
    api.clock.advance(seconds=91)
    assert (await api.call("GET", path))["items"] == []
    assert (await api.client.post(token, headers=api.user("viewer"))).status_code == 201
    ban = await api.call("POST", path, api.user("mod"), 201, json={"user_id": "viewer", "scope": scope})
    assert problem(await api.client.post(token, headers=api.user("viewer"))) == (403, "banned")
    for _ in range(2):
        await api.call("DELETE", f"{path}/{ban['id']}", api.user("mod"), 204)
    assert (await api.client.post(token, headers=api.user("viewer"))).status_code == 201
    events = await told(api, stream_id)
    assert (events.count("participant.banned"), events.count("participant.unbanned")) == (3, 1)


async def test_a_ban_holds_while_livekit_is_away_and_is_made_good(api: Api) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "viewer")
    api.livekit.failing.update(RemoveParticipant=_AWAY, GetParticipant=_AWAY)
    await api.call("POST", f"/streams/{stream_id}/bans", status=201, json={"user_id": "viewer"})
    response = await api.client.post(f"/v1/streams/{stream_id}/video-token", headers=api.user("viewer"))
    assert problem(response) == (403, "banned")
    assert inside(api, room) == {"u:viewer"}
    api.livekit.failing.clear()
    await healing.sweep(api.services)
    assert inside(api, room) == set()


@pytest.mark.parametrize(
    "wrong",
    [
        {"user_id": "with space"},
        {"user_id": "v", "scope": "world"},
        {"user_id": "v", "duration_seconds": 0},
        {"user_id": "v", "until": (START + timedelta(days=1)).isoformat(), "duration_seconds": 5},
        {"user_id": "v", "until": (START - timedelta(days=1)).isoformat()},
        {"user_id": "v", "until": "9999-12-31T23:59:59-01:00"},
        {"user_id": "v", "until": "0001-01-01T00:00:00+01:00"},
        {"user_id": "v", "reason": "a\x00"},
    ],
)
async def test_a_wrong_ban_is_refused(api: Api, wrong: dict[str, object]) -> None:
    stream_id = await api.stream()
    response = await api.client.post(f"/v1/streams/{stream_id}/bans", headers=api.service(), json=wrong)
    assert problem(response) == (422, "validation")


async def test_an_owner_outside_the_team_bans_from_the_stream_alone(api: Api) -> None:
    stream_id = await api.stream()
    path = f"/v1/streams/{stream_id}/bans"
    wanted = {"user_id": "viewer", "scope": "space"}
    response = await api.client.post(path, headers=api.user("creator"), json=wanted)
    assert problem(response) == (403, "role-forbidden")
    await api.grant("viewer", "stream", stream_id)
    response = await api.client.post(path, headers=api.user("viewer"), json={"user_id": "other"})
    assert problem(response) == (403, "role-forbidden")
    elsewhere = await api.stream(space_id="elsewhere")
    ban = await api.call("POST", f"/streams/{elsewhere}/bans", status=201, json={"user_id": "viewer"})
    assert problem(await api.client.get(f"{path}/{ban['id']}", headers=api.user("creator")))[0] == 404


async def test_a_raised_hand_is_one_and_is_decided_once(api: Api) -> None:
    stream_id = await api.live_stream()
    path = f"/streams/{stream_id}/stage/requests"
    await api.grant("viewer", "stream", stream_id)
    early = await api.client.post(f"/v1{path}", headers=api.user("viewer"))
    assert problem(early) == (409, "conflict")
    room = await admit(api, stream_id, "viewer", grant=False)
    answers = await asyncio.gather(
        *(api.client.post(f"/v1{path}", headers=api.user("viewer")) for _ in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    (request,) = await api.rows(select(StageRequest))
    response = await api.client.get(f"/v1{path}", headers=api.user("viewer"))
    assert problem(response) == (403, "role-forbidden")
    assert [item["id"] for item in (await api.call("GET", path, api.user("creator")))["items"]] == [
        request.id
    ]
    response = await api.client.post(f"/v1{path}/{request.id}/accept", headers=api.user("viewer"))
    assert problem(response) == (403, "role-forbidden")
    for _ in range(2):
        accepted = await api.call("POST", f"{path}/{request.id}/accept", api.user("creator"))
        assert (accepted["state"], accepted["decided_by"]) == ("accepted", "creator")
    assert api.livekit.participants[room]["u:viewer"].permission.can_publish
    response = await api.client.post(f"/v1{path}/{request.id}/decline", headers=api.user("creator"))
    assert problem(response) == (409, "conflict")
    response = await api.client.post(f"/v1{path}", headers=api.user("viewer"))
    assert problem(response) == (409, "conflict")
    await admit(api, stream_id, "second")
    asked = await api.call("POST", path, api.user("second"), 201)
    response = await api.client.delete(f"/v1{path}/{asked['id']}", headers=api.user("viewer"))
    assert problem(response) == (403, "role-forbidden")
    await api.call("DELETE", f"{path}/{asked['id']}", api.user("second"), 204)
    response = await api.client.post(f"/v1{path}", headers=api.user("second"))
    assert (problem(response), response.headers["retry-after"]) == ((429, "rate-limited"), "10")
    api.clock.advance(seconds=10)
    declined = await api.call("POST", path, api.user("second"), 201)
    await api.call("POST", f"{path}/{declined['id']}/decline", api.user("creator"))
    assert (await told(api, stream_id)).count("stage.requested") == 3
    audited = await api.rows(select(AuditEntry.actor).where(AuditEntry.action == "stage.accepted"))
    assert audited == ["user:creator"]


async def test_fifty_at_once_never_exceed_the_seats(api: Api) -> None:
    stream_id = await api.live_stream(capacity=1)
    await api.grant("first", "stream", stream_id)
    for number in range(50):
        await api.grant(f"viewer-{number}", "stream", stream_id)
    path = f"/v1/streams/{stream_id}/video-token"
    answers = await asyncio.gather(
        *(api.client.post(path, headers=api.user(f"viewer-{number}")) for number in range(50))
    )
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 49
    (winner,) = [answer.json() for answer in answers if answer.status_code == 201]
    room = winner["room_name"]
    come_in(api, room, winner["participant_token"])
    await healing.heal(api.services)
    # They leave, without an event that tells: the sweep frees the seat, and another has it.
    del api.livekit.participants[room][winner["identity"]]
    api.clock.advance(seconds=60)
    await healing.heal(api.services)
    assert (await api.client.post(path, headers=api.user("first"))).status_code == 201
    # By the token that they still have they come in, and are put out: the seat is another's.
    come_in(api, room, winner["participant_token"])
    await enforcement.on_joined(api.services, room, winner["identity"])
    assert inside(api, room) == set()
    rows = await api.rows(select(Participant).where(Participant.removed_at.is_not(None)))
    assert [row.identity for row in rows] == [winner["identity"]]


async def test_of_two_changes_of_a_role_at_once_the_later_is_what_livekit_permits(api: Api) -> None:
    stream_id = await api.live_stream()
    room = await admit(api, stream_id, "viewer")
    path = f"/streams/{stream_id}/participants/u:viewer/permissions"
    # No sweep makes it right: LiveKit gives no list.
    api.livekit.failing["ListParticipants"] = _AWAY
    promoting, demoted = threading.Event(), threading.Event()

    def before(method: str) -> None:
        # LiveKit takes the promotion after the demotion that followed it.
        if method == "UpdateParticipant" and not promoting.is_set():
            promoting.set()
            demoted.wait(30)

    api.livekit.before = before
    promotion = asyncio.create_task(api.call("PATCH", path, json={"role": "guest"}))
    try:
        assert await asyncio.to_thread(promoting.wait, 30)
        await api.call("PATCH", path, json={"role": "viewer"})
    finally:
        demoted.set()
        await promotion
    assert not api.livekit.participants[room]["u:viewer"].permission.can_publish
