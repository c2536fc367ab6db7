"""The open loop: each request starts when it is due, whatever became of the ones before it.

So a server that stalls gets all that was due meanwhile, and each of these counts the time since it was
due. A closed loop would wait with it, ask less, and call that good (coordinated omission).
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp

from loadtest.api_load.judge import Judge, failure
from loadtest.api_load.protocol import Answer, Answers, Finished, GeneratorConfig
from loadtest.targets.http_session import http_session
from loadtest.targets.tokens import service_headers, token_request


async def generate(
    config: GeneratorConfig, tell: Callable[[Answers | Finished], None], stop: asyncio.Event
) -> None:
    """Make the load, and tell once a second what ended in it.

    Args:
        stop: when it is set no further request starts; what is under way is given up and not counted.
    """
    trace = aiohttp.TraceConfig()
    trace.on_connection_queued_start.append(_waits)
    trace.on_connection_queued_end.append(_waits_no_more)
    async with http_session(
        config.endpoint.names,
        config.endpoint.ca_certificate,
        timeout=config.load.timeout_s,
        connections=config.connections,
        headers=service_headers(config.endpoint.service_key),
        traces=(trace,),
    ) as session:
        await _Generator(config, session, tell).run(stop)


@dataclass
class _Waiting:
    """Until when a request waited for a free connection, on the clock of time.monotonic()."""

    until: float


class _Generator:
    def __init__(
        self,
        config: GeneratorConfig,
        session: aiohttp.ClientSession,
        tell: Callable[[Answers | Finished], None],
    ) -> None:
        self._config = config
        self._session = session
        self._tell = tell
        self._judge = Judge(config)
        self._ended: list[Answer] = []
        self._identities = secrets.token_hex(4)  # a second load at the same time has others
        self._start = time.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        telling = asyncio.create_task(self._tell_each_second())
        stopped = asyncio.create_task(stop.wait())
        under_way: set[asyncio.Task[None]] = set()
        try:
            await self._start_all(under_way, stopped)
            offered_s = min(self._now_s(), self._config.load.duration_s)
            while under_way and not stopped.done():
                await asyncio.wait({*under_way, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (telling, stopped, *under_way):
                task.cancel()
        await asyncio.gather(telling, stopped, *under_way, return_exceptions=True)
        if self._ended:
            self._tell_ended(self._now_s())
        self._tell(Finished(offered_s=offered_s))

    async def _start_all(self, under_way: set[asyncio.Task[None]], stopped: asyncio.Task[bool]) -> None:
        """Start each request when it is due, and come back when all were, or when it is told to stop."""
        load = self._config.load
        number = 0
        while (due_s := number / load.per_s) < load.duration_s:
            await asyncio.wait({stopped}, timeout=max(0.0, due_s - self._now_s()))
            if stopped.done():
                return
            while (due_s := number / load.per_s) < load.duration_s and due_s <= self._now_s():
                task = asyncio.create_task(self._request(number, due_s))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                number += 1
        await asyncio.wait({stopped}, timeout=max(0.0, load.duration_s - self._now_s()))

    async def _request(self, number: int, due_s: float) -> None:
        load = self._config.load
        due = self._start + due_s
        identity = f"api-{self._identities}-{number}"
        began = time.monotonic()
        waiting = _Waiting(until=began)
        try:
            # From when it was due, as all of its time.
            async with (
                asyncio.timeout_at(due + load.timeout_s),
                self._session.post(
                    self._config.endpoint.url,
                    json=token_request(room=self._config.room, identity=identity, role="viewer"),
                    trace_request_ctx=waiting,
                ) as response,
            ):
                body = await response.read()
            ended = time.monotonic()
            error = self._judge.fault(response.status, response.headers.get("Retry-After"), body, identity)
        except (aiohttp.ClientError, OSError) as failed:
            ended = time.monotonic()
            error = failure(failed)
        sent = min(waiting.until, ended)
        self._ended.append(
            Answer(
                due_s=due_s,
                late_ms=(began - due) * 1000,
                waited_ms=(sent - began) * 1000,
                service_ms=(ended - sent) * 1000,
                error=error,
            )
        )

    async def _tell_each_second(self) -> None:
        second = 1
        while True:
            await asyncio.sleep(self._start + second - time.monotonic())
            self._tell_ended(second)
            second += 1

    def _tell_ended(self, at_s: float) -> None:
        self._tell(Answers(at_s=at_s, answers=tuple(self._ended)))
        self._ended.clear()

    def _now_s(self) -> float:
        """Since the load began."""
        return time.monotonic() - self._start


async def _waits(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _parameters: aiohttp.TraceConnectionQueuedStartParams,
) -> None:
    context.trace_request_ctx.until = math.inf


async def _waits_no_more(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _parameters: aiohttp.TraceConnectionQueuedEndParams,
) -> None:
    context.trace_request_ctx.until = time.monotonic()
