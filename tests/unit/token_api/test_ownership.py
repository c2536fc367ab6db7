"""What only the host application decides: to whom a stream belongs, what it is part of, and its own bans."""

from __future__ import annotations

import pytest

from tests.unit.token_api.api import Api, problem
from tests.unit.token_api.test_moderation import admit, inside

CREATE = {"title": "Mine", "space_id": "space"}


@pytest.mark.parametrize("by_host", [False, True], ids=["themselves", "on-behalf"])
async def test_no_user_puts_a_stream_into_an_experience(api: Api, by_host: bool) -> None:
    """Who bought the experience of another creator would get into the stream."""
    await api.call("PUT", "/spaces/space/team/intruder", json={}, status=201)
    intruder = api.service("intruder") if by_host else api.user("intruder")
    refused = await api.client.post(
        "/v1/streams", headers=intruder, json={**CREATE, "experience_id": "anothers"}
    )
    assert problem(refused) == (403, "role-forbidden")
    assert "experience_id" in refused.json()["detail"]
    stream_id = (await api.call("POST", "/streams", intruder, 201, json=CREATE))["id"]
    path = f"/v1/streams/{stream_id}"
    for value in ("anothers", "own"):
        refused = await api.client.patch(path, headers=intruder, json={"experience_id": value})
        assert problem(refused) == (403, "role-forbidden")
    await api.grant("buyer", "experience", "anothers")
    await api.call("POST", f"/streams/{stream_id}/go-live", intruder)
    refused = await api.client.post(f"{path}/video-token", headers=api.user("buyer"))
    assert problem(refused) == (404, "not-found")
    await api.call("PATCH", f"/streams/{stream_id}", json={"experience_id": "anothers"})
    await api.call("POST", f"/streams/{stream_id}/video-token", api.user("buyer"), 201)
    # What does not change needs no permission: clients send back what they read.
    same = {"experience_id": "anothers", "owner_id": "intruder", "title": "New"}
    assert (await api.call("PATCH", f"/streams/{stream_id}", intruder, json=same))["title"] == "New"


async def test_the_host_transfers_a_stream_and_the_former_owner_is_removed(api: Api) -> None:
    stream_id = await api.live_stream()
    path = f"/v1/streams/{stream_id}"
    room = await admit(api, stream_id, "creator", grant=False)
    for headers in (api.user("creator"), api.service("creator")):
        refused = await api.client.patch(path, headers=headers, json={"owner_id": "friend"})
        assert problem(refused) == (403, "role-forbidden")
    refused = await api.client.patch(path, headers=api.service(), json={"owner_id": None})
    assert problem(refused) == (422, "validation")
    changed = await api.call("PATCH", f"/streams/{stream_id}", json={"owner_id": "heir"})
    assert changed["owner_id"] == "heir"
    assert inside(api, room) == set()
    assert problem(await api.client.get(path, headers=api.user("creator"))) == (404, "not-found")
    made = await api.call("POST", f"/streams/{stream_id}/video-token", api.user("heir"), 201)
    assert made["role"] == "creator"
    await api.call("POST", f"/streams/{stream_id}/end", api.user("heir"))


@pytest.mark.parametrize("scope", ["stream", "space"])
@pytest.mark.parametrize("who", ["creator", "member"])
async def test_a_ban_by_the_host_keeps_out_owner_and_team(api: Api, who: str, scope: str) -> None:
    stream_id = await api.live_stream()
    for user in ("member", "moderator"):
        await api.call("PUT", f"/spaces/space/team/{user}", json={}, status=201)
    room = await admit(api, stream_id, who, grant=False)
    bans, wanted = f"/v1/streams/{stream_id}/bans", {"user_id": who, "scope": scope}
    for headers in (api.user("moderator"), api.service("moderator")):
        refused = await api.client.post(bans, headers=headers, json=wanted)
        assert problem(refused) == (409, "conflict")
    made = await api.call("POST", f"/streams/{stream_id}/bans", status=201, json=wanted)
    assert (made["banned_by"], made["by_host"]) == ("service", True)
    assert inside(api, room) == set()
    headers = api.user(who)
    for method, path, kind in (
        ("POST", "video-token", "banned"),
        ("GET", "stream-info", "banned"),
        ("POST", "end", "role-forbidden"),
        ("GET", "bans", "role-forbidden"),
        ("DELETE", f"bans/{made['id']}", "role-forbidden"),
    ):
        refused = await api.client.request(method, f"/v1/streams/{stream_id}/{path}", headers=headers)
        assert problem(refused) == (403, kind), path
    refused = await api.client.delete(f"{bans}/{made['id']}", headers=api.user("moderator"))
    assert problem(refused) == (403, "role-forbidden")
    assert "host application" in refused.json()["detail"]
    await api.call("DELETE", f"/streams/{stream_id}/bans/{made['id']}", status=204)
    await api.call("POST", f"/streams/{stream_id}/video-token", headers, 201)


async def test_who_the_host_bans_from_a_space_plans_no_streams_there(api: Api) -> None:
    stream_id = await api.stream()
    await api.call("PUT", "/spaces/space/team/member", json={}, status=201)
    ban = await api.call(
        "POST", f"/streams/{stream_id}/bans", status=201, json={"user_id": "member", "scope": "space"}
    )
    for headers in (api.user("member"), api.service("member")):
        refused = await api.client.post("/v1/streams", headers=headers, json=CREATE)
        assert problem(refused) == (403, "banned")
    await api.call("DELETE", f"/streams/{stream_id}/bans/{ban['id']}", status=204)
    await api.call("POST", "/streams", api.user("member"), 201, json=CREATE)


async def test_a_moderator_does_not_shorten_a_ban_by_the_host(api: Api) -> None:
    stream_id = await api.live_stream()
    await api.grant("viewer", "stream", stream_id)
    bans = f"/streams/{stream_id}/bans"
    await api.call("POST", bans, status=201, json={"user_id": "viewer"})
    short = {"user_id": "viewer", "duration_seconds": 5}
    await api.call("POST", bans, api.user("creator"), 201, json=short)
    api.clock.advance(seconds=6)
    refused = await api.client.post(f"/v1/streams/{stream_id}/video-token", headers=api.user("viewer"))
    assert problem(refused) == (403, "banned")
    assert [ban["by_host"] for ban in (await api.call("GET", bans))["items"]] == [True]


async def test_who_may_not_enter_sees_neither_metadata_nor_room(api: Api) -> None:
    now = api.clock.now()
    stream_id = await api.live_stream(metadata={"secret": 1})
    room = (await api.call("GET", f"/streams/{stream_id}"))["room_name"]
    late = {"starts_at": now.replace(year=now.year + 1).isoformat()}
    await api.grant("early", "stream", stream_id, **late)
    await api.grant("expired", "space", "space", expires_at=now.replace(year=now.year - 1).isoformat())
    cancelled = await api.grant("cancelled", "stream", stream_id)
    await api.call("POST", f"/access-grants/{cancelled}/cancel")
    for user in ("banned", "viewer"):
        await api.grant(user, "stream", stream_id)
    await api.call("POST", f"/streams/{stream_id}/bans", status=201, json={"user_id": "banned"})
    other = await api.live_stream(owner_id="viewer")
    shown = {
        **dict.fromkeys(("banned", "expired", "cancelled"), ({}, None)),
        "early": ({"secret": 1}, None),
        **dict.fromkeys(("viewer", "creator"), ({"secret": 1}, room)),
    }
    for user, wanted in shown.items():
        for headers in (api.user(user), api.service(user)):
            one = await api.call("GET", f"/streams/{stream_id}", headers)
            assert (one["metadata"], one["room_name"]) == wanted, user
            items = {item["id"]: item for item in (await api.call("GET", "/streams", headers))["items"]}
            assert items[stream_id] == one
            assert (other in items) == (user in {"viewer", "expired"})
    whole = {item["id"]: item for item in (await api.call("GET", "/streams"))["items"]}
    assert (whole[stream_id]["metadata"], whole[stream_id]["room_name"]) == ({"secret": 1}, room)


async def test_in_a_consultation_who_has_paid_may_publish(api: Api) -> None:
    stream_id = await api.live_stream(kind="consultation", capacity=2)
    room = await admit(api, stream_id, "client")
    joined = api.livekit.participants[room]["u:client"].permission
    assert joined.can_publish
    assert not joined.can_publish_data
    path = f"/streams/{stream_id}"
    info = await api.call("GET", f"{path}/stream-info", api.user("client"))
    assert (info["role"], info["connection"]["publish_sources"]) == ("guest", ["camera", "microphone"])
    permissions = f"/v1{path}/participants/u:client/permissions"
    refused = await api.client.patch(permissions, headers=api.user("creator"), json={"role": "viewer"})
    assert problem(refused) == (409, "conflict")
    # Removed, they come back by a new token as what they were.
    await api.call("DELETE", f"{path}/participants/u:client", api.user("creator"), 204)
    made = await api.call("POST", f"{path}/video-token", api.user("client"), 201)
    assert made["role"] == "guest"
