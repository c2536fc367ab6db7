"""The only place that calls a URL from outside: no redirects, no proxy, and to judged addresses alone."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from token_api.delivery.addresses import (
    Allowed,
    Refused,
    Resolve,
    Target,
    addresses_of,
    system_resolve,
    target_of,
)

# For all of one attempt: look-up, connection, TLS, answer.
TIMEOUT_SECONDS = 10.0
# Nobody reads it; a little lets a well-behaved receiver end its answer.
MAX_ANSWER_BYTES = 16 * 1024


@dataclass(frozen=True)
class Outcome:
    """What became of one attempt: a status, or an error that is not the receiver's words.

    `retry_after`: the answer's header of that name as it came, empty where there is none.
    """

    status: int | None
    error: str = ""
    retry_after: str = ""

    @property
    def delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class _JudgedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were judged, for a host that the rest of the client still knows by name."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._real = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 (it was looked up before)
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (the signature is httpcore's)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception | None = None
        for address in self._addresses:
            try:
                return await self._real.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError("there is no address")


class DeliveryClient:
    """Sends webhooks. `resolve` and `tls` are a test's own, where they are not the system's."""

    def __init__(
        self, allowed: Allowed, *, resolve: Resolve = system_resolve, tls: ssl.SSLContext | None = None
    ) -> None:
        self._allowed = allowed
        self._resolve = resolve
        self._tls = tls or httpx.create_ssl_context()

    async def check(self, url: str) -> None:
        """Whether webhooks could go to `url` now. Raises Refused."""
        await self._judged(url)

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """POST `body` once. Never raises for what the URL, the network or the receiver is like."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                _, addresses = await self._judged(url)
                return await self._post(url, addresses, body, headers)
        except Refused as error:
            return Outcome(None, f"refused: {error}")
        except TimeoutError:
            return Outcome(None, f"no answer within {TIMEOUT_SECONDS:.0f} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            return Outcome(None, _words(error))

    async def _judged(self, url: str) -> tuple[Target, tuple[str, ...]]:
        target = target_of(url, self._allowed)
        return target, await addresses_of(target, self._allowed, self._resolve)

    async def _post(
        self, url: str, addresses: Sequence[str], body: bytes, headers: Mapping[str, str]
    ) -> Outcome:
        parsed = httpx.URL(url)
        # A pool of one connection, for one request: the next one judges anew.
        async with httpcore.AsyncConnectionPool(
            ssl_context=self._tls, max_connections=1, network_backend=_JudgedBackend(addresses)
        ) as pool:
            sent = {
                "Host": parsed.netloc.decode("ascii"),
                "User-Agent": "token-api",
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                "Connection": "close",
                **headers,
            }
            target = httpcore.URL(
                scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path
            )
            async with pool.stream("POST", target, headers=list(sent.items()), content=body) as answer:
                status = int(answer.status)
                retry_after = _header(answer, b"retry-after")
                read = 0
                async for chunk in answer.aiter_stream():
                    read += len(chunk)
                    if read > MAX_ANSWER_BYTES:
                        break
        return Outcome(status, retry_after=retry_after)


def _header(answer: httpcore.Response, name: bytes) -> str:
    found = (value.decode("latin-1") for key, value in answer.headers if key.lower() == name)
    return next(found, "")


def _words(error: Exception) -> str:
    """Kind and cause of a failure of the network, for whoever configured the endpoint."""
    cause = error.__context__ if isinstance(error.__context__, ssl.SSLError) else error
    return f"{type(error).__name__}: {cause}"[:200]
