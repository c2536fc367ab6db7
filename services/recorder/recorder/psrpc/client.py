"""Calls methods of one psrpc service. Facts: livekit/psrpc v0.7.2, `pkg/client/rpc.go`."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass

from google.protobuf.message import Message
from redis.exceptions import RedisError

from recorder.psrpc.bus import Bus
from recorder.psrpc.methods import Method, channel
from recorder.psrpc.server import NANOSECONDS
from recorder.psrpc.wire import ClaimRequest, ClaimResponse, Request, Response, unpack


class CallFailed(Exception):
    """A call got an error, or no answer. `code` is psrpc's; "unavailable" means that nobody answered."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class _Call:
    """What a call waits for: the id of the first server that claims it, and the response."""

    claim: asyncio.Future[str]
    response: asyncio.Future[Response]


class Client:
    """Calls methods of `service`. The first server that claims a call gets it."""

    def __init__(self, bus: Bus, service: str) -> None:
        self._id = f"CLI_{uuid.uuid4().hex[:12]}"
        self._bus = bus
        self._service = service
        self._calls: dict[str, _Call] = {}

    async def open(self) -> None:
        """Listen for answers. Must be called before the first call."""
        await self._bus.subscribe(channel(self._service, self._id, "CLAIM"), self._claimed)
        await self._bus.subscribe(channel(self._service, self._id, "RES"), self._answered)

    async def call(self, name: str, request: Message, *, seconds: float) -> bytes:
        """Call the service's method `name`; the answer's bytes.

        Raises:
            CallFailed: the answer is an error, or there was none within `seconds`.
        """
        method = Method(self._service, name)
        call_id = f"REQ_{uuid.uuid4().hex[:12]}"
        loop = asyncio.get_running_loop()
        call = self._calls[call_id] = _Call(loop.create_future(), loop.create_future())
        now = time.time_ns()
        sent = Request(
            request_id=call_id,
            client_id=self._id,
            sent_at=now,
            expiry=now + int(seconds * NANOSECONDS),
            raw_request=request.SerializeToString(),
        )
        try:
            async with asyncio.timeout(seconds):
                await self._bus.publish(method.requests, sent)
                response = await self._response(call_id, call, method)
        except TimeoutError as error:
            text = f"nobody answered {self._service}.{name} within {seconds:g} s"
            raise CallFailed("unavailable", text) from error
        except (RedisError, OSError) as error:
            raise CallFailed("unavailable", f"{self._service}.{name}: {error}") from error
        finally:
            del self._calls[call_id]
        if response.error:
            raise CallFailed(response.code, f"{self._service}.{name}: {response.error}")
        return response.raw_response

    async def _response(self, call_id: str, call: _Call, method: Method) -> Response:
        # A server that cannot read a request answers without a claim.
        await asyncio.wait((call.claim, call.response), return_when=asyncio.FIRST_COMPLETED)
        if not call.response.done():
            choice = ClaimResponse(request_id=call_id, server_id=call.claim.result())
            await self._bus.publish(method.choices, choice)
        return await call.response

    def _claimed(self, payload: bytes) -> None:
        claim = unpack(ClaimRequest, payload)
        call = self._calls.get(claim.request_id)
        if call is not None and not call.claim.done():
            call.claim.set_result(claim.server_id)

    def _answered(self, payload: bytes) -> None:
        response = unpack(Response, payload)
        call = self._calls.get(response.request_id)
        if call is not None and not call.response.done():
            call.response.set_result(response)
