"""HTTP by asyncio to names that no DNS need know, under the certificate authority that vouches for them.

aiohttp, as LiveKit's own API client: its resolver may be given, and one session serves both.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult


def http_session(
    names: Mapping[str, IPv4Address],
    ca_certificate: str,
    *,
    timeout: float,
    connections: int = 10,
    headers: Mapping[str, str] | None = None,
    traces: Sequence[aiohttp.TraceConfig] = (),
) -> aiohttp.ClientSession:
    """A session; close it, or use it as a context manager. It heeds no proxy of the environment.

    Args:
        names: where these hosts are; any other is the machine's resolver's to know.
        ca_certificate: the only authority to trust, as PEM; empty for the machine's own.
        timeout: seconds for a whole request, with waiting for a free connection.
        connections: how many may be open at once.
        headers: sent with each request.
    """
    connector = aiohttp.TCPConnector(
        limit=connections,
        resolver=_Names(names),
        ssl=ssl.create_default_context(cadata=ca_certificate or None),
    )
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=timeout),
        headers=headers,
        trace_configs=list(traces),
    )


class _Names(AbstractResolver):
    def __init__(self, names: Mapping[str, IPv4Address]) -> None:
        self._names = names
        self._machine = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self._names.get(host)
        if address is None:
            return await self._machine.resolve(host, port, family)
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        await self._machine.close()
