"""A recorder that records nothing: LiveKit's egress worker as livekit-server knows it, over Redis.

It takes what it is asked to record, says how that goes, stops when told, and puts a small file where a
recording would be. It does not join the room.
Facts: livekit/protocol, `protobufs/rpc/{egress,io}.proto`; livekit/egress v1.14, `pkg/server/server_rpc.go`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from google.protobuf import descriptor_pb2
from livekit.protocol import egress as proto
from redis.asyncio import Redis

from tests.token_api.psrpc import Bus, CallFailed, Client, Method, Refused, Server, message_types

READY = "ready"
# What a player would refuse, and a test can compare: the box that every MP4 begins with.
CONTENT = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + bytes(1024)
_REPORT_SECONDS = 3.0
_REPORT_TRIES = 5
_FIELD = descriptor_pb2.FieldDescriptorProto
# Of the request's kinds, the one that is understood here. What is a message is bytes on the wire.
_TYPES = message_types(
    "rpc",
    {
        "StartEgressRequest": {
            "egress_id": (1, _FIELD.TYPE_STRING),
            "room_id": (3, _FIELD.TYPE_STRING),
            "room_composite": (5, _FIELD.TYPE_BYTES),
        }
    },
)
_START = Method("EgressInternal", "StartEgress")

_CHECKOUT = Path(__file__).parents[2]


class UploadFailed(Exception):
    """The store did not take a recording."""


# Puts a recording's bytes under a key. Raises UploadFailed.
Upload = Callable[[str, bytes], Awaitable[None]]


@dataclass
class Job:
    """One recording that goes on. `told` is what LiveKit is told of it."""

    told: proto.EgressInfo
    object_key: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def stopping(self) -> Method:
        """By what LiveKit has it stopped."""
        return Method("EgressHandler", "StopEgress", topic=self.told.egress_id, queue=True)


class Worker:
    """Takes recordings as LiveKit hands them out, as many as come."""

    def __init__(self, redis: Redis, upload: Upload) -> None:
        self._upload = upload
        self._bus = Bus(redis)
        self._server = Server(self._bus)
        self._reports = Client(self._bus, "IOInfo")
        self._jobs: set[asyncio.Task[None]] = set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until cancelled; `ready` is called once LiveKit can hand out recordings."""
        await self._bus.open()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bus.run())
            await self._reports.open()
            await self._server.serve(_START, self._start)
            ready()

    async def _start(self, payload: bytes) -> proto.EgressInfo:
        asked = _TYPES["StartEgressRequest"].FromString(payload)
        composite = proto.RoomCompositeEgressRequest.FromString(asked.room_composite)
        if len(composite.file_outputs) != 1:
            raise Refused("invalid_argument", "one file of a whole room is recorded here, nothing else")
        told = proto.EgressInfo(
            egress_id=asked.egress_id,
            room_id=asked.room_id,
            room_name=composite.room_name,
            room_composite=composite,
            status=proto.EgressStatus.EGRESS_STARTING,
            started_at=time.time_ns(),
            updated_at=time.time_ns(),
        )
        job = Job(told, composite.file_outputs[0].filepath)

        async def stop(_payload: bytes) -> proto.EgressInfo:
            job.stop.set()
            job.told.status = proto.EgressStatus.EGRESS_ENDING
            return job.told

        await self._server.serve(job.stopping, stop)
        answer = proto.EgressInfo()
        answer.CopyFrom(told)
        task = asyncio.create_task(self._record(job))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)
        return answer

    async def _record(self, job: Job) -> None:
        await self._report(job, proto.EgressStatus.EGRESS_ACTIVE)
        await job.stop.wait()
        await self._report(job, proto.EgressStatus.EGRESS_ENDING)
        job.told.ended_at = time.time_ns()
        try:
            await self._upload(job.object_key, CONTENT)
        except UploadFailed as error:
            job.told.error = f"upload failed: {error}"
            await self._report(job, proto.EgressStatus.EGRESS_FAILED)
        else:
            job.told.file_results.add(
                filename=job.object_key,
                started_at=job.told.started_at,
                ended_at=job.told.ended_at,
                duration=job.told.ended_at - job.told.started_at,
                size=len(CONTENT),
                location=job.object_key,
            )
            await self._report(job, proto.EgressStatus.EGRESS_COMPLETE)
        await self._server.stop(job.stopping)

    async def _report(self, job: Job, status: proto.EgressStatus) -> None:
        """Tell LiveKit how it goes, again where nobody took the call. Raises CallFailed in the end."""
        job.told.status = status
        job.told.updated_at = time.time_ns()
        for _ in range(_REPORT_TRIES - 1):
            with suppress(CallFailed):
                await self._reports.call("UpdateEgress", job.told, seconds=_REPORT_SECONDS)
                return
        await self._reports.call("UpdateEgress", job.told, seconds=_REPORT_SECONDS)


def to_store(endpoint: str, bucket: str) -> Upload:
    """Uploads into a bucket. The key is found as libraries of AWS do: by the environment."""
    made = boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )

    async def upload(key: str, content: bytes) -> None:
        try:
            await asyncio.to_thread(
                made.put_object, Bucket=bucket, Key=key, Body=content, ContentType="video/mp4"
            )
        except (BotoCoreError, ClientError) as error:
            raise UploadFailed(str(error)) from error

    return upload


async def _main(redis_port: int, upload: Upload) -> None:
    async with Redis(host="127.0.0.1", port=redis_port) as redis:
        await Worker(redis, upload).run(lambda: print(READY, flush=True))


@contextmanager
def egress_worker(
    redis_port: int, *, endpoint: str, bucket: str, access_key: str, secret_key: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as a process of its own, which LiveKit can hand recordings to."""
    words = ["--redis-port", str(redis_port), "--s3-endpoint", endpoint, "--s3-bucket", bucket]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.token_api.egress_worker", *words],
        cwd=_CHECKOUT,
        env={
            "PATH": os.environ["PATH"],
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": secret_key,
        },
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        # Nothing, where it ended instead.
        assert process.stdout.readline().decode().strip() == READY
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis-port", type=int, required=True)
    parser.add_argument("--s3-endpoint", required=True)
    parser.add_argument("--s3-bucket", required=True)
    given = parser.parse_args()
    asyncio.run(_main(given.redis_port, to_store(given.s3_endpoint, given.s3_bucket)))
