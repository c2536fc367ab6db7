"""psrpc over Redis, as LiveKit and its workers speak it with each other: both its sides, for one method.

Who calls publishes a request on the method's channel; who would take it answers with a claim; the caller
chooses one of those, and gets the answer from it. A channel's name is made of parts with `|` between them.
Facts: livekit/psrpc v0.7.3, `internal/internal.proto`, `pkg/info/channels.go`, `pkg/{client,server}/rpc.go`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message
from redis.asyncio import Redis

_NANOSECONDS = 1_000_000_000
# A request on a channel of which one of several subscribers takes each message is taken under a lock.
_QUEUE_LOCK_SECONDS = 5

FieldType: TypeAlias = "descriptor_pb2.FieldDescriptorProto.Type.ValueType"
_FIELD = descriptor_pb2.FieldDescriptorProto
_STRING, _BYTES = _FIELD.TYPE_STRING, _FIELD.TYPE_BYTES
_INT64, _FLOAT = _FIELD.TYPE_INT64, _FIELD.TYPE_FLOAT

# The numbers and types of the fields that are used here; others are skipped as unknown ones.
_MESSAGES = {
    "Msg": {"type_url": (1, _STRING), "value": (2, _BYTES), "channel": (3, _STRING)},
    "Request": {
        "request_id": (1, _STRING),
        "client_id": (2, _STRING),
        "sent_at": (3, _INT64),
        "expiry": (4, _INT64),
        "raw_request": (8, _BYTES),
    },
    "Response": {
        "request_id": (1, _STRING),
        "server_id": (2, _STRING),
        "sent_at": (3, _INT64),
        "error": (5, _STRING),
        "code": (6, _STRING),
        "raw_response": (7, _BYTES),
    },
    "ClaimRequest": {"request_id": (1, _STRING), "server_id": (2, _STRING), "affinity": (3, _FLOAT)},
    "ClaimResponse": {"request_id": (1, _STRING), "server_id": (2, _STRING)},
}

Handler = Callable[[bytes], Awaitable[Message]]
Affinity = Callable[[bytes], float]


def message_types(
    package: str, messages: Mapping[str, Mapping[str, tuple[int, FieldType]]]
) -> dict[str, type[Any]]:
    """Protobuf messages of `package`: name → field → its number and type."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            message.field.add(name=field, number=number, type=kind, label=_FIELD.LABEL_OPTIONAL)
    # A pool of its own: LiveKit's Python packages may bring the same names one day.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))
        for name in messages
    }


_TYPES = message_types("internal", _MESSAGES)


class CallFailed(Exception):
    """The other side answered with an error, or nobody did in time."""


class Refused(Exception):
    """A handler's answer: the caller gets psrpc's `code` (invalid_argument, unavailable, …) and the text."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Method:
    """A method. `topic`: of several servers, the one that has this name. `queue`: for one of them."""

    service: str
    name: str
    topic: str = ""
    queue: bool = False

    def channel(self, purpose: str) -> str:
        """The channel for requests (REQ) or for the choice among claims (RCLAIM)."""
        return channel_name(self.service, self.name, self.topic, purpose)


def channel_name(*parts: str) -> str:
    """The parts that are not empty, with what is no letter, digit or _ written as its number."""
    return "|".join(re.sub(r"[^0-9A-Za-z_]", _escaped, part) for part in parts if part)


def _escaped(found: re.Match[str]) -> str:
    number = ord(found.group())
    return f"u+{number:04x}" if number < 0x10000 else f"U+{number:08x}"


class Bus:
    """Messages to and from channels. `run` must run; what is sent while nobody listens is lost."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._subscriber = redis.pubsub()
        self._receivers: dict[str, Callable[[bytes], None]] = {}
        self._listening: dict[str, asyncio.Event] = {}

    async def publish(self, channel: str, message: Message) -> None:
        packed = _TYPES["Msg"](
            type_url=f"type.googleapis.com/{message.DESCRIPTOR.full_name}", value=message.SerializeToString()
        )
        await self._redis.publish(channel, packed.SerializeToString())

    async def subscribe(self, channel: str, receive: Callable[[bytes], None]) -> None:
        """Have `receive` called with each message; returns once Redis listens for it."""
        self._receivers[channel] = receive
        self._listening[channel] = asyncio.Event()
        await self._subscriber.subscribe(channel)
        await self._listening[channel].wait()

    async def unsubscribe(self, channel: str) -> None:
        await self._subscriber.unsubscribe(channel)
        self._receivers.pop(channel, None)

    async def take(self, payload: bytes) -> bool:
        """Whether this subscriber, of those that got the same message, is the one to take it."""
        key = base64.b64encode(hashlib.sha256(payload).digest()).decode()
        return bool(await self._redis.set(key, "1", nx=True, ex=_QUEUE_LOCK_SECONDS))

    async def open(self) -> None:
        """Connect: before all else. Redis wants one subscription to begin with."""
        await self._subscriber.subscribe(f"NONE|{uuid.uuid4().hex}")

    async def run(self) -> None:
        """Hand on what comes in, until cancelled."""
        async for found in self._subscriber.listen():
            channel = found["channel"].decode()
            if found["type"] == "subscribe" and channel in self._listening:
                self._listening[channel].set()
            elif found["type"] == "message" and channel in self._receivers:
                self._receivers[channel](found["data"])


class Server:
    """Answers calls of methods."""

    def __init__(self, bus: Bus) -> None:
        self.id = f"SRV_{uuid.uuid4().hex[:12]}"
        self._bus = bus
        self._claims: dict[str, asyncio.Future[bool]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, method: Method, handler: Handler, *, affinity: Affinity = lambda _: 1) -> None:
        """Answer calls of `method`, for which `affinity` (0 to 1; below 0: not here) applies."""

        def requested(payload: bytes) -> None:
            task = asyncio.create_task(self._answer(method, handler, affinity, payload))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        await self._bus.subscribe(method.channel("RCLAIM"), self._chosen)
        await self._bus.subscribe(method.channel("REQ"), requested)

    async def stop(self, method: Method) -> None:
        """Answer no more calls of `method`."""
        for purpose in ("REQ", "RCLAIM"):
            await self._bus.unsubscribe(method.channel(purpose))

    def _chosen(self, payload: bytes) -> None:
        choice = _unpack("ClaimResponse", payload)
        waiting = self._claims.get(choice.request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(choice.server_id == self.id)

    async def _answer(self, method: Method, handler: Handler, affinity: Affinity, payload: bytes) -> None:
        if method.queue and not await self._bus.take(payload):
            return
        request = _unpack("Request", payload)
        remaining = request.expiry / _NANOSECONDS - time.time()
        if remaining <= 0 or not await self._claim(method, request, affinity(request.raw_request), remaining):
            return
        response = _TYPES["Response"](request_id=request.request_id, server_id=self.id)
        try:
            response.raw_response = (await handler(request.raw_request)).SerializeToString()
        except Refused as refused:
            response.error, response.code = str(refused), refused.code
        response.sent_at = time.time_ns()
        await self._bus.publish(channel_name(method.service, request.client_id, "RES"), response)

    async def _claim(self, method: Method, request: Any, affinity: float, remaining: float) -> bool:
        if affinity < 0:
            return False
        choice = self._claims[request.request_id] = asyncio.get_running_loop().create_future()
        claim = _TYPES["ClaimRequest"](request_id=request.request_id, server_id=self.id, affinity=affinity)
        try:
            await self._bus.publish(channel_name(method.service, request.client_id, "CLAIM"), claim)
            async with asyncio.timeout(remaining):
                return bool(await choice)
        except TimeoutError:
            return False
        finally:
            del self._claims[request.request_id]


class Client:
    """Calls methods of one service, of whichever server claims the call first."""

    def __init__(self, bus: Bus, service: str) -> None:
        self._id = f"CLI_{uuid.uuid4().hex[:12]}"
        self._bus = bus
        self._service = service
        self._claims: dict[str, asyncio.Future[str]] = {}
        self._responses: dict[str, asyncio.Future[Any]] = {}

    async def open(self) -> None:
        """Listen for answers: before the first call."""
        await self._bus.subscribe(channel_name(self._service, self._id, "CLAIM"), self._claimed)
        await self._bus.subscribe(channel_name(self._service, self._id, "RES"), self._answered)

    async def call(self, name: str, request: Message, *, seconds: float) -> bytes:
        """The answer to a call of the service's method `name`, as it was sent.

        Raises:
            CallFailed: an error was answered, or nothing within `seconds`.
        """
        method = Method(self._service, name)
        call_id = f"RPC_{uuid.uuid4().hex[:12]}"
        loop = asyncio.get_running_loop()
        claim = self._claims[call_id] = loop.create_future()
        answer = self._responses[call_id] = loop.create_future()
        now = time.time_ns()
        sent = _TYPES["Request"](
            request_id=call_id,
            client_id=self._id,
            sent_at=now,
            expiry=now + int(seconds * _NANOSECONDS),
            raw_request=request.SerializeToString(),
        )
        try:
            async with asyncio.timeout(seconds):
                await self._bus.publish(method.channel("REQ"), sent)
                choice = _TYPES["ClaimResponse"](request_id=call_id, server_id=await claim)
                await self._bus.publish(method.channel("RCLAIM"), choice)
                response = await answer
        except TimeoutError as error:
            raise CallFailed(f"nobody answered {self._service}.{name} within {seconds} s") from error
        finally:
            del self._claims[call_id], self._responses[call_id]
        if response.error:
            raise CallFailed(f"{self._service}.{name}: {response.code}: {response.error}")
        return bytes(response.raw_response)

    def _claimed(self, payload: bytes) -> None:
        found = _unpack("ClaimRequest", payload)
        waiting = self._claims.get(found.request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(found.server_id)

    def _answered(self, payload: bytes) -> None:
        found = _unpack("Response", payload)
        waiting = self._responses.get(found.request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(found)


def _unpack(name: str, payload: bytes) -> Any:
    return _TYPES[name].FromString(_TYPES["Msg"].FromString(payload).value)
