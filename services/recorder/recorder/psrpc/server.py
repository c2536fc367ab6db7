"""Answers calls of psrpc methods. Facts: livekit/psrpc v0.7.2, `pkg/server/rpc.go`."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import structlog
from google.protobuf.message import DecodeError, Message
from redis.exceptions import RedisError

from recorder.errors import Code, EgressError
from recorder.psrpc.bus import Bus
from recorder.psrpc.methods import Method, channel
from recorder.psrpc.wire import ClaimRequest, ClaimResponse, Request, Response, unpack

NANOSECONDS = 1_000_000_000
_MALFORMED_REQUEST = "malformed_request"
# Between two attempts to send a claim or an answer.
_RETRY_SECONDS = 0.2

# Gets a request's bytes and gives the answer. The caller gets its EgressError.
Handler: TypeAlias = Callable[[bytes], Awaitable[Message]]
# How much this server wants a request: 0 to 1; below 0 it does not take it.
Affinity: TypeAlias = Callable[[bytes], float]

log = structlog.get_logger()


class Server:
    """Answers calls of the methods that it serves."""

    def __init__(self, bus: Bus) -> None:
        self.id = f"SRV_{uuid.uuid4().hex[:12]}"
        self._bus = bus
        self._choices: dict[str, asyncio.Future[bool]] = {}
        self._calls: dict[Method, set[asyncio.Task[None]]] = {}

    async def serve(self, method: Method, handler: Handler, *, affinity: Affinity = lambda _: 1.0) -> None:
        """Answer calls of `method` by `handler`. Returns when Redis has confirmed the subscriptions."""
        calls = self._calls.setdefault(method, set())

        def requested(payload: bytes) -> None:
            call = asyncio.create_task(self._answer(method, handler, affinity, payload))
            calls.add(call)
            call.add_done_callback(calls.discard)

        if method.claim:
            await self._bus.subscribe(method.choices, self._chosen)
        await self._bus.subscribe(method.requests, requested)

    async def stop(self, method: Method) -> None:
        """Take no more calls of `method`. Returns when those under way are answered, or too old to be."""
        self._bus.unsubscribe(method.requests)
        if calls := self._calls.get(method):
            await asyncio.wait(calls)
        if method.claim:
            self._bus.unsubscribe(method.choices)

    def _chosen(self, payload: bytes) -> None:
        choice = unpack(ClaimResponse, payload)
        waiting = self._choices.get(choice.request_id)
        if waiting is not None and not waiting.done():
            waiting.set_result(choice.server_id == self.id)

    async def _answer(self, method: Method, handler: Handler, affinity: Affinity, payload: bytes) -> None:
        """Answer one call. Whatever goes wrong concerns this call only."""
        try:
            if method.queue and not await self._bus.take(payload):
                return
            request = unpack(Request, payload)
            remaining = request.expiry / NANOSECONDS - time.time()
            if remaining <= 0:
                return
            if method.claim and not await self._claim(request, method, affinity, remaining):
                return
            response = await self._respond(request, method, handler)
            remaining = request.expiry / NANOSECONDS - time.time()
            await self._send(channel(method.service, request.client_id, "RES"), response, remaining)
        except (RedisError, OSError) as error:
            # The caller waits until its own timeout and asks again.
            log.warning("psrpc_answer_lost", method=method.name, error=str(error))
        except DecodeError:
            log.warning("psrpc_message_not_understood", channel=method.requests)
        except Exception:
            log.exception("psrpc_call_failed", method=method.name)

    async def _send(self, name: str, message: Message, seconds: float) -> None:
        """Publish to the channel `name`, and retry for `seconds`: a busy machine opens connections late.

        The caller ignores a message that it gets twice. Raises RedisError, OSError.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                await self._bus.publish(name, message)
                return
            except (RedisError, OSError):
                if time.monotonic() + _RETRY_SECONDS > deadline:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)

    async def _claim(self, request: Request, method: Method, affinity: Affinity, remaining: float) -> bool:
        """Offer to answer; whether the caller chose this server."""
        wanted = affinity(request.raw_request)
        if wanted < 0:
            return False
        choice: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._choices[request.request_id] = choice
        claim = ClaimRequest(request_id=request.request_id, server_id=self.id, affinity=wanted)
        try:
            async with asyncio.timeout(remaining):
                await self._send(channel(method.service, request.client_id, "CLAIM"), claim, remaining)
                return await choice
        except TimeoutError:
            return False
        finally:
            del self._choices[request.request_id]

    async def _respond(self, request: Request, method: Method, handler: Handler) -> Response:
        response = Response(request_id=request.request_id, server_id=self.id)
        try:
            response.raw_response = (await handler(request.raw_request)).SerializeToString()
        except EgressError as error:
            response.error, response.code = str(error), error.code.value
        except DecodeError as error:
            response.error, response.code = str(error), _MALFORMED_REQUEST
        except Exception:
            # A bug must not look like a missing worker, so the caller gets an answer.
            log.exception("psrpc_handler_failed", method=method.name)
            response.error, response.code = "internal error, see the worker's log", Code.INTERNAL.value
        response.sent_at = time.time_ns()
        return response
