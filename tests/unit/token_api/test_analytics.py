"""Telemetry and analytics over HTTP, on both databases."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.unit.token_api.api import Api, problem
from token_api.database.tables import QualityCount, Stream, StreamSession
from token_api.domain.room_names import identity_of
from token_api.use_cases import visits
from token_api.use_cases.visits import Sighting


async def tell(api: Api, stream_id: str, user: str, status: int = 204, **body: Any) -> Any:
    return await api.call("POST", f"/streams/{stream_id}/telemetry", api.user(user), status, json=body)


async def watch(api: Api, stream_id: str, user: str, *, start: float, length: float | None) -> None:
    """Have LiveKit told that `user` was in the room, `start` seconds from now, for `length` seconds."""
    await api.call("POST", f"/streams/{stream_id}/video-token", api.user(user), 201)
    joined = api.clock.now() + timedelta(seconds=start)
    left = None if length is None else joined + timedelta(seconds=length)
    async with api.services.database.begin() as transaction:
        session = await transaction.scalar(
            select(StreamSession)
            .where(StreamSession.stream_id == stream_id)
            .order_by(StreamSession.requested_at.desc())
            .with_for_update()
        )
        assert session is not None
        sighting = Sighting(identity_of(user), f"PA_{user}_{start}", joined, left)
        assert await visits.see(transaction, session, sighting, now=api.clock.now(), actor="livekit")


async def figures(api: Api, stream_id: str) -> Any:
    return await api.call("GET", f"/streams/{stream_id}/analytics", api.user("creator"))


async def watched_stream(api: Api, *viewers: str) -> str:
    stream_id = await api.live_stream()
    for viewer in viewers:
        await api.grant(viewer, "stream", stream_id)
    return stream_id


async def test_viewers_are_counted_by_the_second_and_the_creator_is_not(api: Api) -> None:
    stream_id = await watched_stream(api, "anna", "ben")
    start = api.clock.now()
    api.clock.advance(seconds=130)
    await watch(api, stream_id, "creator", start=-130, length=None)
    # In any order.
    await watch(api, stream_id, "anna", start=-50, length=10)
    await watch(api, stream_id, "anna", start=-120, length=50)
    await watch(api, stream_id, "ben", start=-100, length=None)
    found = await figures(api, stream_id)
    assert (found["unique_viewers"], found["peak_viewers"], found["watch_seconds"]) == (2, 2, 160)
    (session,) = found["sessions"]
    assert session["viewers_now"] == 1
    info = await api.call("GET", f"/streams/{stream_id}/stream-info", api.user("creator"))
    assert info["viewer_count"] == 1
    curve = [(10, 1), (30, 2), (60, 1), (80, 2), (90, 1)]
    expected = [
        {"at": (start + timedelta(seconds=at)).isoformat().replace("+00:00", "Z"), "viewers": viewers}
        for at, viewers in curve
    ]
    assert session["viewers"] == expected
    assert not {"anna", "ben"} & set(str(found).split("'"))
    # Once the stream is over nobody watches on, whether or not LiveKit told of their leaving.
    await api.call("POST", f"/streams/{stream_id}/end")
    api.clock.advance(hours=1)
    over = await figures(api, stream_id)
    assert (over["watch_seconds"], over["sessions"][0]["viewers_now"]) == (160, 0)


async def test_nobody_watches_longer_than_the_session_lasts(api: Api) -> None:
    stream_id = await watched_stream(api, "anna", "ben", "cleo")
    api.clock.advance(seconds=60)
    await watch(api, stream_id, "anna", start=-60, length=None)
    # LiveKit's clock is ahead: it tells of a leaving, and of a coming, after the end by ours.
    await watch(api, stream_id, "ben", start=-50, length=55)
    await watch(api, stream_id, "cleo", start=1, length=None)
    await api.call("POST", f"/streams/{stream_id}/end")
    ended = api.clock.now()
    api.clock.advance(hours=1)
    found = await figures(api, stream_id)
    assert (found["watch_seconds"], found["unique_viewers"]) == (60 + 50, 3)
    assert found["sessions"][0]["viewers"][-1] == {
        "at": ended.isoformat().replace("+00:00", "Z"),
        "viewers": 0,
    }


async def test_a_role_that_changes_changes_no_count(api: Api) -> None:
    stream_id = await watched_stream(api, "anna")
    api.clock.advance(seconds=60)
    await watch(api, stream_id, "anna", start=-60, length=None)
    # A new token, by which the role changes; then she leaves.
    await api.call("PUT", "/spaces/space/team/anna", json={}, status=201)
    await watch(api, stream_id, "anna", start=-60, length=30)
    (session,) = (await figures(api, stream_id))["sessions"]
    assert (session["viewers_now"], session["unique_viewers"], session["watch_seconds"]) == (0, 1, 30)


async def test_a_viewer_of_two_sessions_is_one_viewer_of_the_stream(api: Api) -> None:
    stream_id = await watched_stream(api, "anna", "ben")
    await watch(api, stream_id, "anna", start=0, length=None)
    async with api.services.database.begin() as transaction:
        await transaction.execute(update(StreamSession).values(state="closed", closed_at=api.clock.now()))
        await transaction.execute(update(Stream).values(status="failed"))
    api.clock.advance(seconds=10)
    await api.call("POST", f"/streams/{stream_id}/go-live")
    for viewer in ("anna", "ben"):
        await watch(api, stream_id, viewer, start=0, length=None)
    found = await figures(api, stream_id)
    assert found["unique_viewers"] == 2
    assert [session["unique_viewers"] for session in found["sessions"]] == [2, 1]


async def test_analytics_are_the_owners_and_teams(api: Api) -> None:
    stream_id = await watched_stream(api, "anna")
    path = f"/v1/streams/{stream_id}/analytics"
    assert problem(await api.client.get(path, headers=api.user("anna"))) == (403, "role-forbidden")
    assert problem(await api.client.get(path, headers=api.user("nobody"))) == (404, "not-found")
    draft = await api.stream()
    empty = await api.call("GET", f"/streams/{draft}/analytics")
    assert (empty["unique_viewers"], empty["sessions"], empty["join_failures"]) == (0, [], {})


async def test_who_did_not_get_in_is_counted_by_reason(api: Api) -> None:
    stream_id = await api.live_stream(capacity=1)
    grant = await api.grant("late", "stream", stream_id)
    await api.call("POST", f"/access-grants/{grant}/cancel")
    for user in ("anna", "ben"):
        await api.grant(user, "stream", stream_id)
    await api.call("POST", f"/streams/{stream_id}/video-token", api.user("anna"), 201)
    await asyncio.gather(
        *(api.call("POST", f"/streams/{stream_id}/video-token", api.user("late"), 403) for _ in range(5))
    )
    await api.call("POST", f"/streams/{stream_id}/video-token", api.user("ben"), 409)
    # A stranger leaves no trace.
    await api.call("POST", f"/streams/{stream_id}/video-token", api.user("nobody"), 404)
    await tell(api, stream_id, "ben", join_failures=["ice", "timeout", "ice"])
    counted = {"grant-cancelled": 5, "room-full": 1, "client-ice": 2, "client-timeout": 1}
    found = await figures(api, stream_id)
    assert found["join_failures"] == counted
    assert found["sessions"][0]["join_failures"] == counted
    scraped = (await api.client.get("/metrics")).text
    assert 'token_api_join_failures_total{reason="grant-cancelled"} 5.0' in scraped


async def test_quality_is_told_in_quantiles(api: Api) -> None:
    viewers = [f"user{number}" for number in range(5)]
    stream_id = await watched_stream(api, *viewers)
    for number, viewer in enumerate(viewers):
        samples = [{"rtt_ms": number * 20 + one + 1, "packet_loss": 0.0125} for one in range(20)]
        await tell(api, stream_id, viewer, samples=samples)
    (session,) = (await figures(api, stream_id))["sessions"]
    assert session["quality"] == {
        "rtt_ms": {"samples": 100, "p50": 50, "p95": 95, "p99": 99},
        "loss_permille": {"samples": 100, "p50": 12, "p95": 12, "p99": 12},
    }


async def test_each_user_tells_once_in_five_seconds_also_many_at_once(api: Api) -> None:
    stream_id = await watched_stream(api, "anna", "ben")
    path = f"/v1/streams/{stream_id}/telemetry"
    body: dict[str, Any] = {"samples": [{"rtt_ms": 1}]}
    answers = await asyncio.gather(
        *(api.client.post(path, json=body, headers=api.user("anna")) for _ in range(8))
    )
    assert sorted(answer.status_code for answer in answers) == [204, *[429] * 7]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert problem(refused) == (429, "rate-limited")
    assert refused.headers["retry-after"] == "5"
    await tell(api, stream_id, "ben", **body)
    api.clock.advance(seconds=4)
    await tell(api, stream_id, "anna", 429, **body)
    api.clock.advance(seconds=1)
    await tell(api, stream_id, "anna", samples=[{"rtt_ms": 2, "age_seconds": 3.5}])
    counted = await api.rows(select(QualityCount.samples).where(QualityCount.bucket == 2))
    assert counted == [1]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"samples": []},
        {"samples": [{}]},
        {"samples": [{"age_seconds": 1.0}]},
        {"samples": [{"rtt_ms": 1}] * 21},
        {"samples": [{"rtt_ms": -1}]},
        {"samples": [{"rtt_ms": 60_001}]},
        {"samples": [{"rtt_ms": "1"}]},
        {"samples": [{"packet_loss": 1.01}]},
        {"samples": [{"rtt_ms": 1, "age_seconds": 301}]},
        {"samples": [{"rtt_ms": 1, "user_id": "ben"}]},
        {"join_failures": ["bored"]},
        {"join_failures": ["ice"] * 6},
    ],
)
async def test_a_wrong_sample_is_refused(api: Api, body: dict[str, Any]) -> None:
    stream_id = await watched_stream(api, "anna")
    answer = await api.client.post(f"/v1/streams/{stream_id}/telemetry", json=body, headers=api.user("anna"))
    assert problem(answer) == (422, "validation")
    assert await api.rows(select(QualityCount)) == []


async def test_telemetry_is_json_of_those_who_get_in(api: Api) -> None:
    stream_id = await watched_stream(api, "anna")
    path = f"/v1/streams/{stream_id}/telemetry"
    plain = {**api.user("anna"), "Content-Type": "text/plain"}
    answer = await api.client.post(path, content=b'{"samples": [{"rtt_ms": 1}]}', headers=plain)
    assert problem(answer) == (415, "unsupported-media-type")
    number = b'{"samples": [{"rtt_ms": 1, "packet_loss": NaN}]}'
    headers = {**api.user("anna"), "Content-Type": "application/json"}
    answer = await api.client.post(path, content=number, headers=headers)
    assert problem(answer) == (422, "validation")
    await tell(api, stream_id, "nobody", 404, samples=[{"rtt_ms": 1}])
