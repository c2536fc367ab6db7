"""Recordings deleted with their files, by hand and by age, on both databases: all of it, or nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from tests.unit.token_api.api import Api, problem
from tests.unit.token_api.object_store_stand_in import SECRET_KEY, StoreStandIn, store_stand_in
from tests.unit.token_api.test_recordings import STATUS, audit, begin, complete, egress, say, stage, told
from token_api.database.columns import new_id
from token_api.database.tables import AuditEntry, Recording, Stream, StreamSession
from token_api.domain.object_keys import recording_key
from token_api.domain.vocabulary import RecordingStatus
from token_api.livekit_api.values import egress_of
from token_api.problems import ProblemError
from token_api.storage import objects
from token_api.use_cases import recording_rows
from token_api.use_cases.recording_deletion import delete_old
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
    # LiveKit's report of the end may come later, and the file with it.
    assert not await on_egress(api.services, egress_of(egress(api)))
    assert [urlsplit(target).path for _, target in store.asked] == [f"/recordings/{key}"] * 2


@pytest.mark.parametrize("action", ["recording.deleted", "recording.withdrawn"])
async def test_a_file_that_is_stored_after_its_recording_is_gone_is_deleted(
    api: Api, store: StoreStandIn, action: str
) -> None:
    await begin(api, await stage(api))
    (row,) = await api.rows(select(Recording))
    async with api.services.database.begin() as transaction:
        await transaction.delete(await transaction.get_one(Recording, row.id))
    complete(api)
    state = egress_of(egress(api))
    await on_egress(api.services, state)
    # The database may have been restored from a backup: without an audit entry the file stays.
    assert store.asked == []
    async with api.services.database.begin() as transaction:
        recording_rows.tell(transaction, row, action, api.clock.now(), "service")
    store.status = 503
    with pytest.raises(ProblemError):
        await on_egress(api.services, state)
    store.status = 204
    await on_egress(api.services, state)
    assert [urlsplit(target).path for _, target in store.asked] == [f"/recordings/{row.object_key}"] * 2


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


def keep_days(api: Api, days: int) -> None:
    """Have recordings kept for so many days."""
    settings = api.services.settings.model_copy(update={"recordings_retention_days": days})
    object.__setattr__(api.services, "settings", settings)


async def aged(api: Api, *wanted: tuple[RecordingStatus, int]) -> list[str]:
    """Recordings of one session, each with its status and the days since it ended: their ids."""
    stream_id = await api.live_stream()
    (session_id,) = await api.rows(select(StreamSession.id))
    ids = [new_id() for _ in wanted]
    async with api.services.database.begin() as transaction:
        for recording_id, (status, days) in zip(ids, wanted, strict=True):
            at = api.clock.now() - timedelta(days=days)
            transaction.add(
                Recording(
                    id=recording_id,
                    stream_id=stream_id,
                    session_id=session_id,
                    status=status,
                    object_key=recording_key(stream_id, session_id, recording_id),
                    requested_by="service",
                    created_at=at,
                    ended_at=at,
                    updated_at=at,
                )
            )
    return ids


async def left(api: Api) -> set[str]:
    return set(await api.rows(select(Recording.id)))


async def test_old_recordings_go_with_their_files(api: Api, store: StoreStandIn) -> None:
    complete, failed, young, active = await aged(
        api,
        (RecordingStatus.COMPLETE, 31),
        (RecordingStatus.FAILED, 31),
        (RecordingStatus.ABORTED, 29),
        (RecordingStatus.ACTIVE, 400),
    )
    await delete_old(api.services)
    assert len(await left(api)) == 4
    keep_days(api, 30)
    await delete_old(api.services)
    # What is not over is never deleted.
    assert await left(api) == {young, active}
    deleted = {urlsplit(target).path.rpartition("/")[2] for _, target in store.asked}
    assert deleted == {f"{complete}.mp4", f"{failed}.mp4"}
    (stream_id,) = await api.rows(select(Stream.id))
    assert await told(api, stream_id) == ["recording.deleted"] * 2
    entries = await api.rows(select(AuditEntry).where(AuditEntry.action == "recording.deleted"))
    assert [entry.actor for entry in entries] == ["retention"] * 2


async def test_one_that_the_store_does_not_delete_keeps_no_other_from_it(
    api: Api, store: StoreStandIn
) -> None:
    ids = await aged(api, *[(RecordingStatus.COMPLETE, 31)] * 3)
    keep_days(api, 30)
    # The first one, as they are ordered.
    store.locked = min(ids)
    await delete_old(api.services)
    assert await left(api) == {store.locked}
    store.locked = None
    await delete_old(api.services)
    assert await left(api) == set()


async def test_a_store_that_is_away_is_not_asked_about_each(api: Api, store: StoreStandIn) -> None:
    await aged(api, *[(RecordingStatus.FAILED, 31)] * 6)
    keep_days(api, 30)
    store.status = 503
    await delete_old(api.services)
    assert len(store.asked) == 3
    store.status = 204
    await delete_old(api.services)
    assert await left(api) == set()
