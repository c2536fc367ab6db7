"""Recordings deleted with their files, on both databases: all of it, or nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from tests.unit.token_api.api import Api, problem
from tests.unit.token_api.object_store_stand_in import SECRET_KEY, StoreStandIn, store_stand_in
from tests.unit.token_api.test_recordings import STATUS, audit, begin, complete, egress, say, stage, told
from token_api.database.tables import AuditEntry, Recording
from token_api.domain.object_keys import recording_key
from token_api.livekit_api.values import egress_of
from token_api.storage import objects
from token_api.use_cases.recording_news import on_egress


@pytest.fixture
def store(api: Api) -> Iterator[StoreStandIn]:
    with store_stand_in() as made:
        object.__setattr__(api.services, "settings", made.known_to(api.services.settings))
        yield made


async def recorded(api: Api) -> dict[str, Any]:
    """A complete recording of a stream that is live."""
    made = await begin(api, await stage(api))
    complete(api)
    assert await on_egress(api.services, egress_of(egress(api)))
    return made


async def test_the_file_goes_and_then_the_recording(api: Api, store: StoreStandIn) -> None:
    made = await recorded(api)
    path = f"/recordings/{made['id']}"
    await api.call("DELETE", path, api.user("creator"), 204)
    ((method, target),) = store.asked
    parts = urlsplit(target)
    key = recording_key(made["stream_id"], made["session_id"], made["id"])
    assert (method, parts.path) == ("DELETE", f"/recordings/{key}")
    assert parse_qs(parts.query)["X-Amz-Expires"] == ["20"]
    assert await api.rows(select(Recording)) == []
    await api.call("GET", path, status=404)
    await api.call("DELETE", path, status=404)
    assert await told(api, made["stream_id"]) == ["recording.started", "recording.ended", "recording.deleted"]
    (entry,) = await api.rows(select(AuditEntry).where(AuditEntry.action == "recording.deleted"))
    assert (entry.actor, json.loads(entry.details)["recording_id"]) == ("user:creator", made["id"])
    # What LiveKit says of it later is no news.
    assert not await on_egress(api.services, egress_of(egress(api)))
    assert len(store.asked) == 1


async def test_who_may(api: Api, store: StoreStandIn) -> None:
    made = await recorded(api)
    await api.grant("viewer", "stream", made["stream_id"])
    await api.call("PUT", "/spaces/space/team/helper", json={"role": "moderator"}, status=201)
    for user, status in (("viewer", 403), ("stranger", 404)):
        await api.call("DELETE", f"/recordings/{made['id']}", api.user(user), status)
    assert store.asked == []
    await api.call("DELETE", f"/recordings/{made['id']}", api.user("helper"), 204)


_NO_BUCKET = b"<?xml version='1.0'?><Error><Code>NoSuchBucket</Code><Message>secret</Message></Error>"


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (500, b"", (503, "storage-unavailable")),
        (503, b"<Error><Code>SlowDown</Code></Error>", (503, "storage-unavailable")),
        (429, b"", (503, "storage-unavailable")),
        (403, b"<Error><Code>AccessDenied</Code></Error>", (502, "storage-error")),
        (404, _NO_BUCKET, (502, "storage-error")),
        (404, b"a proxy's page", (502, "storage-error")),
        (301, b"", (502, "storage-error")),
    ],
)
async def test_a_store_that_fails_leaves_all_as_it_was(
    api: Api, store: StoreStandIn, status: int, answer: bytes, expected: tuple[int, str]
) -> None:
    made = await recorded(api)
    path = f"/v1/recordings/{made['id']}"
    before = await api.call("GET", f"/recordings/{made['id']}")
    noted = await audit(api)
    store.status, store.answer = status, answer
    response = await api.client.delete(path, headers=api.service())
    assert problem(response) == expected
    assert ("retry-after" in response.headers) is (expected[0] == 503)
    assert "secret" not in response.text
    assert await api.call("GET", f"/recordings/{made['id']}") == before
    assert await audit(api) == noted
    store.status = 204
    assert (await api.client.delete(path, headers=api.service())).status_code == 204


async def test_a_store_that_is_away_or_does_not_answer(
    api: Api, store: StoreStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await recorded(api)
    path = f"/v1/recordings/{made['id']}"
    monkeypatch.setattr(objects, "TIMEOUT_SECONDS", 1.0)
    store.gate.clear()
    assert problem(await api.client.delete(path, headers=api.service())) == (503, "storage-unavailable")
    known = api.services.settings
    away = known.model_copy(update={"s3_inner_endpoint": "http://127.0.0.1:1"})
    object.__setattr__(api.services, "settings", away)
    response = await api.client.delete(path, headers=api.service())
    assert problem(response) == (503, "storage-unavailable")
    assert SECRET_KEY not in response.text
    await api.call("GET", f"/recordings/{made['id']}")


async def test_a_file_that_is_gone_already_is_no_error(api: Api, store: StoreStandIn) -> None:
    made = await recorded(api)
    store.status, store.answer = 404, b"<Error><Code>NoSuchKey</Code></Error>"
    await api.call("DELETE", f"/recordings/{made['id']}", status=204)
    assert await api.rows(select(Recording)) == []


async def test_many_at_once_are_as_one(api: Api, store: StoreStandIn) -> None:
    made = await recorded(api)
    path = f"/v1/recordings/{made['id']}"
    answers = await asyncio.gather(*(api.client.delete(path, headers=api.service()) for _ in range(6)))
    assert {answer.status_code for answer in answers} <= {204, 404}
    assert 204 in {answer.status_code for answer in answers}
    assert (await told(api, made["stream_id"])).count("recording.deleted") == 1


async def test_one_that_goes_on_is_stopped_first_and_one_that_failed_goes_too(
    api: Api, store: StoreStandIn
) -> None:
    stream_id = await stage(api)
    made = await begin(api, stream_id)
    path = f"/v1/recordings/{made['id']}"
    for status in (STATUS.EGRESS_ACTIVE, STATUS.EGRESS_ENDING):
        await say(api, status)
        assert problem(await api.client.delete(path, headers=api.service())) == (409, "recording-active")
    assert store.asked == []
    await say(api, STATUS.EGRESS_FAILED)
    assert (await api.client.delete(path, headers=api.service())).status_code == 204
    # A part of it may have come into the store.
    assert len(store.asked) == 1


async def test_without_a_store_there_is_nothing_to_delete_with(api: Api) -> None:
    made = await recorded(api)
    response = await api.client.delete(f"/v1/recordings/{made['id']}", headers=api.service())
    assert problem(response) == (409, "no-storage")
    # The files are not the service's to keep then: the stream may go, with what is known of them.
    await api.call("POST", f"/streams/{made['stream_id']}/end")
    await api.call("DELETE", f"/streams/{made['stream_id']}", status=204)
    assert await api.rows(select(Recording)) == []


async def test_a_stream_goes_after_its_recordings(api: Api, store: StoreStandIn) -> None:
    made = await recorded(api)
    stream = f"/streams/{made['stream_id']}"
    await api.call("POST", f"{stream}/end")
    response = await api.client.delete(f"/v1{stream}", headers=api.service())
    assert problem(response) == (409, "conflict")
    assert "recordings" in response.json()["detail"]
    await api.call("GET", f"/recordings/{made['id']}")
    assert store.asked == []
    await api.call("DELETE", f"/recordings/{made['id']}", status=204)
    await api.call("DELETE", stream, status=204)
    await api.call("GET", stream, status=404)
