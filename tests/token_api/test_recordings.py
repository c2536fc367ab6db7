"""Recordings through the service: with a real LiveKit, Redis, object store and recorder."""

from __future__ import annotations

import io
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from tests.ports import free_port
from tests.recorder.worker import Worker, config, kill, recorder
from tests.support.speed import scaled
from tests.token_api.clients import client, eventually
from tests.token_api.conftest import Platform
from tests.token_api.livekit_server import livekit_server, redis_server
from tests.token_api.object_store import ACCESS_KEY, BUCKET, SECRET_KEY, ObjectStore, object_store
from tests.token_api.service import WEBHOOK_PATH, token_api
from token_api.problems import Kind, ProblemError
from token_api.storage import objects
from token_api.storage.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("store")) as made:
        yield made


@pytest.fixture(scope="module", params=["told", "asking"])
def recording_platform(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, store: ObjectStore
) -> Iterator[Platform]:
    """A service that LiveKit tells of its recordings, and in turn one whose every webhook is lost.

    Each has a Redis of its own. LiveKit would keep the recording of a worker that died under the other, and
    the service waits some 10 s for such a worker in each comparison.
    """
    directory: Path = tmp_path_factory.mktemp("platform")
    port = free_port()
    webhook_url = f"http://127.0.0.1:{port}{WEBHOOK_PATH}" if request.param == "told" else None
    with (
        redis_server(directory) as redis_port,
        livekit_server(directory, redis_port=redis_port, webhook_url=webhook_url) as livekit,
        token_api(
            directory, livekit.url, port=port, TOKEN_API_RECONCILE_SECONDS="1", **store.settings
        ) as service,
    ):
        yield Platform(service, livekit, redis_port)


def working(
    platform: Platform, store: ObjectStore, directory: Path, bucket: str = BUCKET
) -> AbstractContextManager[Worker]:
    """A recorder of this platform for the block."""
    settings = config(
        livekit_url=platform.livekit.url,
        redis_port=platform.redis_port,
        store=store.endpoint,
        spool=directory / "spool",
    )
    settings["storage"]["s3"]["bucket"] = bucket
    return recorder(directory, settings)


@asynccontextmanager
async def on_stage(platform: Platform) -> AsyncIterator[str]:
    """The id of a stream in which the creator publishes."""
    stream_id = platform.service.live_stream()["id"]
    async with client(platform.livekit.url, platform.service.token("creator", stream_id)) as creator:
        await creator.publish_microphone()
        await eventually(
            lambda: _tracks(platform, stream_id), "LiveKit to list the published track", within=10
        )
        yield stream_id


def _tracks(platform: Platform, stream_id: str) -> list[Any]:
    people = platform.service.call("GET", f"/streams/{stream_id}/participants")["items"]
    return [track for person in people for track in person["tracks"]]


def begin(platform: Platform, stream_id: str) -> str:
    made = platform.service.call("POST", f"/streams/{stream_id}/recordings", status=202, json={})
    return str(made["id"])


def read(platform: Platform, recording_id: str) -> dict[str, Any]:
    found: dict[str, Any] = platform.service.call("GET", f"/recordings/{recording_id}")
    return found


async def becomes(platform: Platform, recording_id: str, status: str) -> dict[str, Any]:
    await eventually(
        lambda: read(platform, recording_id)["status"] == status, f"the recording to be {status}", within=30
    )
    return read(platform, recording_id)


async def fetch(url: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as store:
        return await store.get(url)


async def test_from_start_to_file(
    recording_platform: Platform, store: ObjectStore, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    platform = recording_platform
    with working(platform, store, tmp_path):
        async with on_stage(platform) as stream_id:
            recording_id = begin(platform, stream_id)
            again = platform.service.ask("POST", f"/streams/{stream_id}/recordings", json={})
            assert again.json()["type"].endswith(":recording-active")
            await becomes(platform, recording_id, "active")
            # The recorder is in the room, and is no participant for users.
            people = platform.service.call("GET", f"/streams/{stream_id}/participants")["items"]
            assert [person["identity"] for person in people] == ["u:creator"]
            [session] = platform.service.call("GET", f"/streams/{stream_id}/analytics")["sessions"]
            assert session["viewers_now"] == 0
            changed = {"layout": "grid-light"}
            platform.service.call("PATCH", f"/recordings/{recording_id}", json=changed)
            platform.service.call("POST", f"/recordings/{recording_id}/stop")
            found = await becomes(platform, recording_id, "complete")
            assert found["started_at"] <= found["ended_at"]
            assert found["layout"] == "grid-light"
            listed = platform.service.call("GET", f"/streams/{stream_id}/recordings")["items"]
            assert listed == [found]
            given = platform.service.call("GET", f"/recordings/{recording_id}/url")
            fetched = await fetch(given["url"])
            assert (fetched.status_code, len(fetched.content)) == (200, found["size_bytes"])
            with av.open(io.BytesIO(fetched.content)) as played:
                assert {stream.type for stream in played.streams} == {"video", "audio"}
            assert fetched.headers["content-disposition"] == f'attachment; filename="{given["file_name"]}"'
            assert fetched.headers["content-type"] == "video/mp4"
            # The signature is over this object, this time, and this name.
            for part, other in (
                (recording_id, recording_id[::-1]),
                ("Expires=300", "Expires=900"),
                (given["file_name"], "evil.exe"),
            ):
                assert part in given["url"]
                assert (await fetch(given["url"].replace(part, other))).status_code == 403
    if request.node.callspec.params["recording_platform"] == "told":
        types = {"egress_started", "egress_updated", "egress_ended"}
        await eventually(lambda: _told(platform) == types, "all webhooks of the recording", within=10)
    else:
        assert _told(platform) == set()


def _told(platform: Platform) -> set[str]:
    """The types of LiveKit's webhooks about recordings that the service got."""
    lines = [json.loads(line) for line in platform.service.log.read_text().splitlines()]
    types = {str(line["event_type"]) for line in lines if line.get("event") == "webhook_received"}
    return {each for each in types if each.startswith("egress_")}


@pytest.mark.parametrize("killed_at", ["armed", "active"])
async def test_a_restart_of_the_service_loses_no_recording(
    store: ObjectStore, tmp_path: Path, killed_at: str
) -> None:
    port = free_port()
    with (
        redis_server(tmp_path) as redis_port,
        livekit_server(
            tmp_path, redis_port=redis_port, webhook_url=f"http://127.0.0.1:{port}{WEBHOOK_PATH}"
        ) as livekit,
        ExitStack() as stack,
    ):

        def started() -> Platform:
            settings = {"TOKEN_API_RECONCILE_SECONDS": "1", **store.settings}
            service = stack.enter_context(token_api(tmp_path, livekit.url, port=port, **settings))
            return Platform(service, livekit, redis_port)

        platform = started()
        stack.enter_context(working(platform, store, tmp_path))
        stream_id = platform.service.live_stream(record=True)["id"]
        token = platform.service.token("creator", stream_id)
        if killed_at == "armed":
            platform.service.stop(signal.SIGKILL)
        async with client(livekit.url, token) as creator:
            await creator.publish_microphone()
            if killed_at == "armed":
                platform = started()
            await _recorded_by_itself(platform, stream_id)
            if killed_at == "active":
                platform.service.stop(signal.SIGKILL)
                platform = started()
            recording_id = await _recorded_by_itself(platform, stream_id)
            platform.service.call("POST", f"/streams/{stream_id}/end")
        found = await becomes(platform, recording_id, "complete")
        assert found["has_file"]
        assert len(platform.service.call("GET", f"/streams/{stream_id}/recordings")["items"]) == 1


async def _recorded_by_itself(platform: Platform, stream_id: str) -> str:
    """Wait until the stream's automatic recording is active; its id."""

    def shown() -> Any:
        return platform.service.call("GET", f"/streams/{stream_id}")["recording"]

    await eventually(lambda: shown()["state"] == "active", "the recording to be active", within=30)
    return str(shown()["recording_id"])


async def test_a_deleted_recording_is_gone_from_the_store_and_a_key_without_the_right_deletes_nothing(
    recording_platform: Platform, store: ObjectStore, tmp_path: Path
) -> None:
    service = recording_platform.service
    with working(recording_platform, store, tmp_path):
        async with on_stage(recording_platform) as stream_id:
            recording_id = begin(recording_platform, stream_id)
            path = f"/recordings/{recording_id}"
            await becomes(recording_platform, recording_id, "active")
            assert service.ask("DELETE", path).json()["type"].endswith(":recording-active")
            service.call("POST", f"{path}/stop")
            await becomes(recording_platform, recording_id, "complete")
    service.call("POST", f"/streams/{stream_id}/end")
    assert service.ask("DELETE", f"/streams/{stream_id}").status_code == 409
    url = service.call("GET", f"{path}/url")["url"]
    assert (await fetch(url)).status_code == 200
    service.call("DELETE", path, status=204)
    assert (await fetch(url)).status_code == 404
    service.call("GET", path, status=404)
    service.call("DELETE", f"/streams/{stream_id}", status=204)
    # Of an object that is not there, a store says the same as of one that it has deleted.
    known = Store(store.endpoint, store.endpoint, BUCKET, "us-east-1", ACCESS_KEY, SECRET_KEY)
    await objects.delete(known, "recordings/nothing.mp4")
    for changed, kind in (
        ({"secret_key": "x" * 40}, Kind.STORAGE_ERROR),
        ({"bucket": "missing"}, Kind.STORAGE_ERROR),
        ({"inner_endpoint": "http://127.0.0.1:1"}, Kind.STORAGE_UNAVAILABLE),
    ):
        with pytest.raises(ProblemError) as refused:
            await objects.delete(replace(known, **changed), "recordings/nothing.mp4")
        assert refused.value.kind is kind


async def test_a_file_that_the_store_does_not_take(
    recording_platform: Platform, store: ObjectStore, tmp_path: Path
) -> None:
    platform = recording_platform
    with working(platform, store, tmp_path, bucket="missing"):
        async with on_stage(platform) as stream_id:
            recording_id = begin(platform, stream_id)
            await becomes(platform, recording_id, "active")
            platform.service.call("POST", f"/recordings/{recording_id}/stop")
            found = await becomes(platform, recording_id, "failed")
            assert "NoSuchBucket" in found["error"]
            assert platform.service.ask("GET", f"/recordings/{recording_id}/url").status_code == 409


async def test_the_end_of_the_stream_ends_its_recording(
    recording_platform: Platform, store: ObjectStore, tmp_path: Path
) -> None:
    platform = recording_platform
    with working(platform, store, tmp_path):
        async with on_stage(platform) as stream_id:
            recording_id = begin(platform, stream_id)
            await becomes(platform, recording_id, "active")
            platform.service.call("POST", f"/streams/{stream_id}/end")
            await becomes(platform, recording_id, "complete")


async def test_a_worker_that_dies(recording_platform: Platform, store: ObjectStore, tmp_path: Path) -> None:
    platform = recording_platform
    async with on_stage(platform) as stream_id:
        with working(platform, store, tmp_path) as worker:
            recording_id = begin(platform, stream_id)
            await becomes(platform, recording_id, "active")
            kill(worker)
            response = platform.service.ask("POST", f"/recordings/{recording_id}/stop")
            assert (response.status_code, response.json()["type"].rpartition(":")[2]) == (
                503,
                "livekit-unavailable",
            )
            assert response.headers["retry-after"]
            # LiveKit says so for ever; the service gives it up some time later.
            assert read(platform, recording_id)["status"] == "active"
            assert read(platform, recording_id)["stop_requested_at"]


# Nothing is told or asked for: a recording that does not begin is none.
@pytest.mark.parametrize("recording_platform", ["told"], indirect=True)
async def test_no_worker(recording_platform: Platform) -> None:
    platform = recording_platform
    async with on_stage(platform) as stream_id:
        begun = time.monotonic()
        response = platform.service.ask("POST", f"/streams/{stream_id}/recordings", json={})
        assert (response.status_code, response.json()["type"].rpartition(":")[2]) == (
            503,
            "livekit-unavailable",
        )
        assert response.headers["retry-after"]
        assert time.monotonic() - begun < scaled(20)
        assert platform.service.call("GET", f"/streams/{stream_id}/recordings")["items"] == []
