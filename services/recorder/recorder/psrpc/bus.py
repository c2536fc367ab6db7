"""Messages to and from Redis channels, across interruptions of Redis."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog
from google.protobuf.message import DecodeError, Message
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from recorder.psrpc.wire import pack

# Subscribers of a queued channel agree by a lock which of them takes a request.
_QUEUE_LOCK_SECONDS = 5
_PING_SECONDS = 5.0
# Redis answers a ping at once. A silent connection leads nowhere, for example after a node lost its power.
_SILENT_SECONDS = 15.0
_FIRST_RETRY_SECONDS = 0.1
_LAST_RETRY_SECONDS = 2.0

log = structlog.get_logger()


@dataclass(frozen=True)
class _Subscription:
    receive: Callable[[bytes], None]
    confirmed: asyncio.Event = field(default_factory=asyncio.Event)


class Bus:
    """Publishes messages and passes received ones to their receivers. `run` must run.

    A message that is published while a subscriber is disconnected is lost for it, as in every implementation
    of psrpc over Redis.

    `connected` is set while Redis confirms subscriptions.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._wanted: dict[str, _Subscription] = {}
        self._changed = asyncio.Event()
        self._last_error = ""
        self.connected = asyncio.Event()

    async def publish(self, channel: str, message: Message) -> None:
        """Send `message` to the subscribers of `channel`. Raises RedisError, OSError."""
        await self._redis.publish(channel, pack(message))

    async def subscribe(self, channel: str, receive: Callable[[bytes], None]) -> None:
        """Have `receive` called with each message's bytes. Returns when Redis has confirmed it.

        A channel has one receiver: another one replaces it.
        """
        subscription = self._wanted[channel] = _Subscription(receive)
        self._changed.set()
        await subscription.confirmed.wait()

    def unsubscribe(self, channel: str) -> None:
        """Receive nothing more from `channel`."""
        subscription = self._wanted.pop(channel, None)
        if subscription is not None:
            # Whoever still waits for the confirmation goes on.
            subscription.confirmed.set()
            self._changed.set()

    async def take(self, payload: bytes) -> bool:
        """Whether this subscriber takes a request of a queued channel. Raises RedisError, OSError."""
        key = base64.b64encode(hashlib.sha256(payload).digest()).decode()
        return bool(await self._redis.set(key, "1", nx=True, ex=_QUEUE_LOCK_SECONDS))

    async def run(self) -> None:
        """Receive until cancelled. Connects and subscribes again whenever Redis was away."""
        delay = _FIRST_RETRY_SECONDS
        while True:
            try:
                async with self._redis.pubsub() as subscriber:
                    await self._follow(subscriber)
            except* (RedisError, OSError) as errors:
                self._note_error(str(errors.exceptions[0]))
            if self.connected.is_set():
                delay = _FIRST_RETRY_SECONDS
            self.connected.clear()
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LAST_RETRY_SECONDS)

    def _note_error(self, error: str) -> None:
        """Log why there is no connection: once, not at each attempt."""
        if self.connected.is_set() or error != self._last_error:
            log.warning("redis_away", error=error)
        self._last_error = error

    async def _follow(self, subscriber: PubSub) -> None:
        """Use one connection until it fails. One task writes to it and another one reads from it."""
        # The first command connects. This channel makes it possible before there is a receiver.
        await subscriber.subscribe(f"NONE|{uuid.uuid4().hex}")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write(subscriber))
            tasks.create_task(self._read(subscriber))

    async def _write(self, subscriber: PubSub) -> None:
        """Keep Redis' subscriptions equal to those that are wanted, and ping it."""
        current: Mapping[str, _Subscription] = {}
        while True:
            self._changed.clear()
            wanted = dict(self._wanted)
            # A channel that is subscribed to anew is confirmed anew.
            if added := [name for name, each in wanted.items() if current.get(name) is not each]:
                await subscriber.subscribe(*added)
            if removed := current.keys() - wanted.keys():
                await subscriber.unsubscribe(*removed)
            current = wanted
            try:
                async with asyncio.timeout(_PING_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                await subscriber.ping()

    async def _read(self, subscriber: PubSub) -> None:
        while True:
            try:
                async with asyncio.timeout(_SILENT_SECONDS):
                    found = await subscriber.get_message(timeout=None)
            except TimeoutError as error:
                raise RedisConnectionError(f"Redis was silent for {_SILENT_SECONDS:g} s") from error
            if found is None:
                continue
            channel = (found["channel"] or b"").decode()
            if found["type"] == "subscribe":
                self._confirm(channel)
            elif found["type"] == "message":
                self._pass_on(channel, found["data"])

    def _confirm(self, channel: str) -> None:
        if not self.connected.is_set():
            log.info("redis_connected")
            self.connected.set()
        if channel in self._wanted:
            self._wanted[channel].confirmed.set()

    def _pass_on(self, channel: str, payload: bytes) -> None:
        if channel not in self._wanted:
            return
        try:
            self._wanted[channel].receive(payload)
        except DecodeError:
            log.warning("psrpc_message_not_understood", channel=channel)
