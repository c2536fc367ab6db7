"""Who gets in: the predicate in Python and in SQL, the decision, and what HTTP makes of it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import create_engine, delete, select
from sqlalchemy.orm import Session

from tests.unit.token_api.api import START, Api, problem
from tests.unit.token_api.support import SECRET
from token_api.database.engine import database_url, prepare_sqlite
from token_api.database.tables import AccessGrant, Ban, Participant
from token_api.domain.access import (
    Admitted,
    BanWindow,
    GrantStatus,
    GrantWindow,
    Refusal,
    Refused,
    Relation,
    active_clause,
    decide,
    in_force_clause,
    is_active,
    is_in_force,
    status_of,
)
from token_api.domain.roles import StreamRole
from token_api.domain.vocabulary import GrantScope

# Around the moments that decide, to the microsecond: there the two forms would differ.
moments = st.sampled_from([-86400.0, -1.0, -0.000001, 0.0, 0.000001, 0.5, 1.0, 86400.0]).map(
    lambda seconds: START + timedelta(seconds=seconds)
)
maybe = st.none() | moments
grants = st.builds(GrantWindow, maybe, maybe, maybe)
bans = st.builds(BanWindow, maybe, maybe)


@examples(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(
    found=st.lists(grants, min_size=1, max_size=20),
    kept_out=st.lists(bans, min_size=1, max_size=20),
    now=moments,
)
def test_the_predicates_are_the_same_in_sql_as_in_python(
    database: str, found: list[GrantWindow], kept_out: list[BanWindow], now: datetime
) -> None:
    engine = create_engine(database_url(database, driver=False))
    if engine.dialect.name == "sqlite":
        prepare_sqlite(engine)
    with Session(engine) as session:
        session.execute(delete(AccessGrant))
        session.execute(delete(Ban))
        session.add_all(
            AccessGrant(
                id=str(number),
                user_id="u",
                scope=GrantScope.SPACE,
                scope_id="s",
                starts_at=window.starts_at,
                expires_at=window.expires_at,
                cancelled_at=window.cancelled_at,
                created_at=START,
            )
            for number, window in enumerate(found)
        )
        session.add_all(
            Ban(
                id=str(number),
                space_id="s",
                user_id="u",
                banned_by="o",
                created_at=START,
                until=window.until,
                lifted_at=window.lifted_at,
            )
            for number, window in enumerate(kept_out)
        )
        session.commit()
        active = active_clause(AccessGrant.starts_at, AccessGrant.expires_at, AccessGrant.cancelled_at, now)
        in_force = in_force_clause(Ban.until, Ban.lifted_at, now)
        by_sql = set(session.scalars(select(AccessGrant.id).where(active)))
        banned = set(session.scalars(select(Ban.id).where(in_force)))
    engine.dispose()
    assert by_sql == {str(number) for number, window in enumerate(found) if is_active(window, now)}
    assert banned == {str(number) for number, window in enumerate(kept_out) if is_in_force(window, now)}


@given(
    relation=st.builds(
        Relation, st.booleans(), st.booleans(), st.lists(grants), st.lists(bans), st.booleans()
    ),
    now=moments,
)
def test_the_decision(relation: Relation, now: datetime) -> None:
    decision = decide(relation, now)
    statuses = {status_of(grant, now) for grant in relation.grants}
    banned = any(is_in_force(ban, now) for ban in relation.bans)
    if relation.is_owner:
        assert decision == Admitted(StreamRole.CREATOR)
    elif relation.is_team:
        assert decision == Admitted(StreamRole.TEAM)
    elif banned:
        assert decision == Refused(Refusal.BANNED)
    elif GrantStatus.ACTIVE in statuses:
        assert isinstance(decision, Admitted)
        assert decision.role is (StreamRole.GUEST if relation.promoted else StreamRole.VIEWER)
        assert decision.until is None or decision.until > now
    else:
        assert isinstance(decision, Refused)
        assert decision.reason is not Refusal.BANNED
        assert (decision.reason is Refusal.NO_GRANT) is not relation.exists


def claims(answer: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(answer["participant_token"], SECRET, algorithms=["HS256"])
    return found


@pytest.mark.parametrize("scope", ["stream", "experience", "space"])
async def test_a_pass_lets_its_owner_in_at_once_and_only_while_it_holds(api: Api, scope: str) -> None:
    stream_id = await api.live_stream(experience_id="experience")
    viewer = api.user("viewer")
    path = f"/v1/streams/{stream_id}/video-token"
    assert problem(await api.client.post(path, headers=viewer)) == (404, "not-found")
    behalf = api.service("viewer")
    assert problem(await api.client.post(path, headers=behalf)) == (403, "no-grant")
    scope_id = {"stream": stream_id, "experience": "experience", "space": "space"}[scope]
    grant_id = await api.grant(
        "viewer",
        scope,
        scope_id,
        starts_at=(START + timedelta(seconds=10)).isoformat(),
        expires_at=(START + timedelta(seconds=100)).isoformat(),
    )
    assert problem(await api.client.post(path, headers=viewer)) == (403, "grant-not-started")
    api.clock.advance(seconds=10)
    made = await api.call("POST", f"/streams/{stream_id}/video-token", viewer, 201)
    assert (made["role"], made["identity"]) == ("viewer", "u:viewer")
    found = claims(made)
    # Never beyond the grant.
    assert found["exp"] - found["nbf"] <= 90
    video = found["video"]
    assert isinstance(video, dict)
    assert (video["canPublish"], video["canPublishData"], video["hidden"]) == (False, False, False)
    assert "roomAdmin" not in video
    api.clock.advance(seconds=90)
    assert problem(await api.client.post(path, headers=api.user("viewer"))) == (403, "grant-expired")
    await api.call("POST", f"/access-grants/{grant_id}/cancel")
    assert problem(await api.client.post(path, headers=api.user("viewer"))) == (403, "grant-cancelled")


async def test_owner_and_team_always_get_in_with_their_own_permissions(api: Api) -> None:
    stream_id = await api.live_stream()
    await api.call("PUT", "/spaces/space/team/mod", json={}, status=201)
    await api.call("PUT", "/spaces/space/team/mod", json={"role": "owner"}, status=200)
    creator = await api.call("POST", f"/streams/{stream_id}/video-token", api.user("creator"), 201, json={})
    team = await api.call("POST", f"/streams/{stream_id}/video-token", api.user("mod"), 201)
    assert (creator["role"], team["role"]) == ("creator", "team")
    video = claims(creator)["video"]
    assert isinstance(video, dict)
    assert video["canPublishSources"] == ["camera", "microphone", "screen_share", "screen_share_audio"]
    await api.call("POST", f"/streams/{stream_id}/pause", api.user("mod"))
    await api.call("DELETE", "/spaces/space/team/mod", status=204)
    response = await api.client.post(f"/v1/streams/{stream_id}/resume", headers=api.user("mod"))
    assert problem(response) == (404, "not-found")


async def test_a_viewer_may_look_and_not_steer(api: Api) -> None:
    stream_id = await api.live_stream()
    await api.grant("viewer", "stream", stream_id)
    viewer = api.user("viewer")
    info = await api.call("GET", f"/streams/{stream_id}/stream-info", viewer)
    assert (info["role"], info["viewer_count"], info["status"]) == ("viewer", 0, "live")
    assert info["connection"]["can_publish"] is False
    assert [item["id"] for item in (await api.call("GET", "/streams", viewer))["items"]] == [stream_id]
    assert (await api.call("GET", "/streams", api.user("stranger")))["items"] == []
    for method, path in (("POST", "/end"), ("DELETE", ""), ("POST", "/pause")):
        response = await api.client.request(method, f"/v1/streams/{stream_id}{path}", headers=viewer)
        assert problem(response) == (403, "role-forbidden")
    for path in ("/access-grants", "/spaces/space/team"):
        assert problem(await api.client.get(f"/v1{path}", headers=viewer)) == (403, "role-forbidden")


async def test_the_last_seat_is_taken_once(api: Api) -> None:
    stream_id = await api.live_stream(capacity=3)
    await api.call("PUT", "/spaces/space/team/mod", json={}, status=201)
    for number in range(12):
        await api.grant(f"viewer-{number}", "stream", stream_id)
    path = f"/v1/streams/{stream_id}/video-token"
    answers = await asyncio.gather(
        *(api.client.post(path, headers=api.user(f"viewer-{number}")) for number in range(12))
    )
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 9
    assert {problem(answer)[1] for answer in answers if answer.status_code == 409} == {"room-full"}
    inside = next(answer.json()["identity"] for answer in answers if answer.status_code == 201)
    # Their own seat is no other's; the team needs none.
    again = await api.client.post(path, headers=api.user(inside.removeprefix("u:")))
    assert again.status_code == 201
    assert (await api.client.post(path, headers=api.user("mod"))).status_code == 201
    assert len(await api.rows(select(Participant))) == 4
    # A token that was never used gives its seat back.
    api.clock.advance(seconds=601)
    late = next(number for number in range(12) if answers[number].status_code == 409)
    assert (await api.client.post(path, headers=api.user(f"viewer-{late}"))).status_code == 201


async def test_users_name_a_room_and_nothing_else_at_the_standard_endpoint(api: Api) -> None:
    stream_id = await api.live_stream()
    (room,) = api.livekit.rooms
    await api.grant("viewer", "stream", stream_id)
    viewer = api.user("viewer")
    made = await api.call("POST", "/token", viewer, 201, json={"room_name": room})
    assert set(made) == {"server_url", "participant_token"}
    assert api.livekit.join(room, made["participant_token"]).identity == "u:viewer"
    for field, value in (
        ("participant_identity", "u:creator"),
        ("participant_name", "Creator"),
        ("participant_attributes", {"a": "b"}),
        ("participant_metadata", "x"),
        ("role", "publisher"),
    ):
        response = await api.client.post("/v1/token", json={"room_name": room, field: value}, headers=viewer)
        assert problem(response) == (422, "validation")
        assert [error["pointer"] for error in response.json()["errors"]] == [f"#/{field}"]
    for other in ("lobby", room[:-1] + ("0" if room[-1] != "0" else "1")):
        response = await api.client.post("/v1/token", json={"room_name": other}, headers=viewer)
        assert problem(response) == (404, "not-found")
    behalf = {"room_name": room, "participant_name": "Vera"}
    made = await api.call("POST", "/token", api.service("viewer"), 201, json=behalf)
    joined = api.livekit.join(room, made["participant_token"])
    assert (joined.identity, joined.name) == ("u:viewer", "Vera")
    await api.call("POST", f"/streams/{stream_id}/end")
    response = await api.client.post("/v1/token", json={"room_name": room}, headers=viewer)
    assert problem(response) == (404, "not-found")


@pytest.mark.parametrize(
    ("room", "identity", "wrong"),
    [
        ("stream_{}_0123456789ab", "bot", ["#/room_name"]),
        ("consultation_x", "bot", ["#/room_name"]),
        ("stream_", "u:viewer", ["#/room_name", "#/participant_identity"]),
        ("lobby", "u:viewer", ["#/participant_identity"]),
    ],
)
async def test_the_host_names_no_rooms_of_streams_and_no_users(
    api: Api, room: str, identity: str, wrong: list[str]
) -> None:
    """A token that it names itself would let in somebody who is banned."""
    stream_id = await api.live_stream()
    body = {"room_name": room.format(stream_id), "participant_identity": identity}
    response = await api.client.post("/v1/token", json=body, headers=api.service())
    assert problem(response) == (422, "validation")
    assert [error["pointer"] for error in response.json()["errors"]] == wrong
    body = {"room_name": "streams", "participant_identity": "user:viewer"}
    assert (await api.client.post("/v1/token", json=body, headers=api.service())).status_code == 201


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://other.test"},
        {"aud": "other"},
        {"exp": int(START.timestamp()) - 31},
        {"exp": "soon"},
        {"nbf": int(START.timestamp()) + 60},
        {"sub": ""},
        {"sub": "with space"},
        *({name: None} for name in ("iss", "aud", "sub", "exp")),
    ],
)
async def test_a_host_jwt_that_does_not_hold_is_401(api: Api, changed: dict[str, object]) -> None:
    response = await api.client.get("/v1/streams", headers=api.user("joe", **changed))
    assert problem(response) == (401, "unauthenticated")


async def test_never_both_credentials(api: Api) -> None:
    user = api.user("joe")
    response = await api.client.get("/v1/streams", headers={**user, "X-On-Behalf-Of": "creator"})
    assert problem(response) == (401, "unauthenticated")
    both = [("Authorization", user["Authorization"]), ("Authorization", api.service()["Authorization"])]
    assert problem(await api.client.get("/v1/streams", headers=both)) == (401, "unauthenticated")
    none = jwt.encode({"sub": "joe"}, "", algorithm="none")
    response = await api.client.get("/v1/streams", headers={"Authorization": f"Bearer {none}"})
    assert problem(response) == (401, "unauthenticated")
