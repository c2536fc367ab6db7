"""A real LiveKit, Redis and object store, and the recorder as a process."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from livekit import api
from livekit.protocol import egress as proto

from tests.recorder.worker import Worker, config, recorder
from tests.support.speed import scaled
from tests.token_api.livekit_server import LiveKitServer, livekit_server, redis_server
from tests.token_api.object_store import ACCESS_KEY, BUCKET, SECRET_KEY, ObjectStore, object_store
from tests.unit.token_api.support import KEY, SECRET

_FINAL = {proto.EGRESS_COMPLETE, proto.EGRESS_FAILED, proto.EGRESS_ABORTED, proto.EGRESS_LIMIT_REACHED}
_rooms = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def _no_proxy() -> None:
    """Everything here is on loopback."""
    for variable in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[variable]


@dataclass(frozen=True)
class Studio:
    """Where recordings are made."""

    livekit: LiveKitServer
    redis_port: int
    store: ObjectStore
    directory: Path

    def settings(self, **changes: Any) -> dict[str, Any]:
        """A worker's configuration for this studio."""
        spool = self.directory / "spool"
        return config(
            livekit_url=self.livekit.url,
            redis_port=self.redis_port,
            store=self.store.endpoint,
            spool=changes.pop("spool", spool),
            **changes,
        )

    @property
    def http_url(self) -> str:
        """Where LiveKit's API is."""
        return self.livekit.url.replace("ws://", "http://")

    def new_room(self) -> str:
        """A name that no room had."""
        return f"room-{next(_rooms)}"

    def keys(self) -> dict[str, int]:
        """The objects in the bucket: sizes by key."""
        found = self._client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {each["Key"]: each["Size"] for each in found}

    def uploads(self) -> list[str]:
        """Keys of multipart uploads that are not complete."""
        found = self._client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
        return [each["Key"] for each in found]

    def fetch(self, key: str, directory: Path) -> Path:
        """Download an object."""
        path = directory / key.replace("/", "_")
        self._client.download_file(BUCKET, key, str(path))
        return path

    @property
    def _client(self) -> Any:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.store.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}),
        )


class Egresses:
    """LiveKit's Egress API, as its users call it."""

    def __init__(self, livekit: api.LiveKitAPI) -> None:
        self._livekit = livekit

    async def create_room(self, name: str) -> None:
        """Make a room."""
        await self._livekit.room.create_room(api.CreateRoomRequest(name=name))

    async def delete_room(self, name: str) -> None:
        """End a room."""
        await self._livekit.room.delete_room(api.DeleteRoomRequest(room=name))

    async def record_room(self, room: str, **fields: Any) -> proto.EgressInfo:
        """Record a room; without outputs among the fields, into one MP4."""
        fields.setdefault("layout", "grid")
        if not any(name.endswith("_outputs") for name in fields):
            fields["file_outputs"] = [proto.EncodedFileOutput(filepath=f"{room}.mp4")]
        request = proto.RoomCompositeEgressRequest(room_name=room, **fields)
        return await self._livekit.egress.start_room_composite_egress(request)

    async def record_participant(self, room: str, identity: str, **fields: Any) -> proto.EgressInfo:
        """Record a participant."""
        request = proto.ParticipantEgressRequest(room_name=room, identity=identity, **fields)
        return await self._livekit.egress.start_participant_egress(request)

    async def record_tracks(self, room: str, **fields: Any) -> proto.EgressInfo:
        """Record an audio and a video track into one file."""
        request = proto.TrackCompositeEgressRequest(room_name=room, **fields)
        return await self._livekit.egress.start_track_composite_egress(request)

    async def record_track(self, room: str, track_id: str, filepath: str) -> proto.EgressInfo:
        """Record one track."""
        request = proto.TrackEgressRequest(
            room_name=room, track_id=track_id, file=proto.DirectFileOutput(filepath=filepath)
        )
        return await self._livekit.egress.start_track_egress(request)

    async def stop(self, egress_id: str) -> proto.EgressInfo:
        """Stop an egress."""
        return await self._livekit.egress.stop_egress(proto.StopEgressRequest(egress_id=egress_id))

    async def update_layout(self, egress_id: str, layout: str) -> None:
        """Change the layout of an egress."""
        request = proto.UpdateLayoutRequest(egress_id=egress_id, layout=layout)
        await self._livekit.egress.update_layout(request)

    async def update_streams(self, egress_id: str, add: list[str], remove: list[str]) -> proto.EgressInfo:
        """Add and remove RTMP servers."""
        request = proto.UpdateStreamRequest(
            egress_id=egress_id, add_output_urls=add, remove_output_urls=remove
        )
        return await self._livekit.egress.update_stream(request)

    async def read(self, egress_id: str) -> proto.EgressInfo:
        """An egress as LiveKit knows it."""
        found = await self._livekit.egress.list_egress(proto.ListEgressRequest(egress_id=egress_id))
        return found.items[0]

    async def becomes(
        self, egress_id: str, status: proto.EgressStatus, *, within: float = 20
    ) -> proto.EgressInfo:
        """Wait until an egress has a status. `within`: seconds on the reference machine."""
        limit = scaled(within)
        info = await self.read(egress_id)
        try:
            async with asyncio.timeout(limit):
                while info.status != status:
                    assert info.status not in _FINAL, f"ended otherwise: {info}"
                    await asyncio.sleep(0.1)
                    info = await self.read(egress_id)
        except TimeoutError:
            raise AssertionError(
                f"not {proto.EgressStatus.Name(status)} within {limit:g} s; it is: {info}"
            ) from None
        return info

    async def ends(self, egress_id: str, *, within: float = 30) -> proto.EgressInfo:
        """Wait until an egress has ended in whatever way."""
        limit = scaled(within)
        info = await self.read(egress_id)
        try:
            async with asyncio.timeout(limit):
                while info.status not in _FINAL:
                    await asyncio.sleep(0.1)
                    info = await self.read(egress_id)
        except TimeoutError:
            raise AssertionError(f"not ended within {limit:g} s; it is: {info}") from None
        return info


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    directory = tmp_path_factory.mktemp("studio")
    with (
        object_store(directory) as store,
        redis_server(directory) as redis_port,
        livekit_server(directory, redis_port=redis_port) as livekit,
    ):
        yield Studio(livekit, redis_port, store, directory)


@pytest.fixture(scope="module")
def worker(studio: Studio) -> Iterator[Worker]:
    with recorder(studio.directory, studio.settings()) as running:
        yield running


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that a test may fill. A worker begins only if it has 256 MiB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "recorder-test", directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)


@pytest.fixture
async def egresses(studio: Studio) -> AsyncIterator[Egresses]:
    async with api.LiveKitAPI(studio.http_url, KEY, SECRET) as livekit:
        yield Egresses(livekit)
