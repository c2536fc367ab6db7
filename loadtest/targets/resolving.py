"""HTTP to the stack's names, where no DNS knows them: sent to an edge address, under their certificate."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import httpx

from loadtest.targets.outputs import StackOutputs, is_under

_SECONDS = 10.0


def trust(outputs: StackOutputs) -> ssl.SSLContext:
    """What TLS to the stack is verified against: its own CA alone, or the machine's authorities."""
    return ssl.create_default_context(cadata=outputs.ca_certificate or None)


def edge_client(
    outputs: StackOutputs, *, headers: Mapping[str, str] | None = None, timeout: float = _SECONDS
) -> httpx.Client:
    """An HTTP client that takes the stack's URLs as they are. Close it, or use it as a context manager.

    Args:
        timeout: seconds for each of connecting, sending and every wait for a part of the answer.
    """
    # trust_env: a proxy of the environment knows neither the names nor the node's network.
    return httpx.Client(
        transport=_EdgeTransport(outputs),
        headers=headers,
        timeout=timeout,
        trust_env=not outputs.edge_addresses,
    )


def async_edge_client(
    outputs: StackOutputs, *, headers: Mapping[str, str] | None = None, timeout: float = _SECONDS
) -> httpx.AsyncClient:
    """As `edge_client`, for asyncio."""
    return httpx.AsyncClient(
        transport=_AsyncEdgeTransport(outputs),
        headers=headers,
        timeout=timeout,
        trust_env=not outputs.edge_addresses,
    )


def _to_the_edge(outputs: StackOutputs, request: httpx.Request) -> httpx.Request:
    """The request as it goes out: to an address, with the name in Host and in the TLS handshake."""
    host = request.url.host
    if not outputs.edge_addresses or not is_under(outputs.domain, host):
        return request
    return httpx.Request(
        request.method,
        request.url.copy_with(host=str(outputs.address_of(host))),
        headers=request.headers,  # Host is there already
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": host},
    )


# A connection belongs to the name that its handshake was for, and a pool knows them by address only:
# each name has a pool of its own.


class _EdgeTransport(httpx.BaseTransport):
    def __init__(self, outputs: StackOutputs) -> None:
        self._outputs = outputs
        self._trust = trust(outputs)
        self._pools: dict[str, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        if host not in self._pools:
            self._pools[host] = httpx.HTTPTransport(verify=self._trust)
        return self._pools[host].handle_request(_to_the_edge(self._outputs, request))

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()


class _AsyncEdgeTransport(httpx.AsyncBaseTransport):
    def __init__(self, outputs: StackOutputs) -> None:
        self._outputs = outputs
        self._trust = trust(outputs)
        self._pools: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        if host not in self._pools:
            self._pools[host] = httpx.AsyncHTTPTransport(verify=self._trust)
        return await self._pools[host].handle_async_request(_to_the_edge(self._outputs, request))

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()
