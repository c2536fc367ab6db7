"""A recorder that records nothing: LiveKit's egress worker as livekit-server knows it, over Redis.

It takes what it is asked to record, says how that goes, stops when told, and puts a small file where a
recording would be. It does not join the room.
Facts: livekit/protocol, `protobufs/rpc/{egress,io}.proto`; livekit/egress v1.14, `pkg/server/server_rpc.go`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

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

# Puts a recording's bytes under a key.
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
        except OSError as error:
            job.told.error = f"upload failed: {error.strerror}"
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
            with contextlib.suppress(CallFailed):
                await self._reports.call("UpdateEgress", job.told, seconds=_REPORT_SECONDS)
                return
        await self._reports.call("UpdateEgress", job.told, seconds=_REPORT_SECONDS)


def to_directory(directory: Path) -> Upload:
    """Uploads that are files below `directory`, by their keys."""

    async def upload(key: str, content: bytes) -> None:
        target = directory / key
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    return upload


async def _main(redis_port: int, directory: Path) -> None:
    async with Redis(host="127.0.0.1", port=redis_port) as redis:
        await Worker(redis, to_directory(directory)).run(lambda: print(READY, flush=True))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redis-port", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True, help="where recordings are put")
    given = parser.parse_args()
    asyncio.run(_main(given.redis_port, given.directory))
