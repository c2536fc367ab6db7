"""aioice's TURN client, with credentials as LiveKit makes them and with requests that it has no words for."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from aioice import stun, turn

_LIFETIME_SECONDS = 600
_ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Server:
    """One way to a TURN server.

    Attributes:
        name: for TLS, the name that the certificate must be for.
    """

    address: str
    port: int
    transport: Literal["udp", "tcp", "tls"]
    name: str = ""

    def __str__(self) -> str:
        return f"{self.address}:{self.port}/{self.transport}"


@dataclass(frozen=True)
class Credentials:
    """None of both: none are sent."""

    username: str | None
    password: str | None


def credentials(secret: str, *, seconds: int = 300, user: str = "test_turn") -> Credentials:
    """As LiveKit makes them: good until the time in the name, by the secret that it shares with coturn."""
    username = f"{int(time.time()) + seconds}:{user}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return Credentials(username, base64.b64encode(digest).decode())


class Refused(Exception):
    """The server's answer was an error; `code` is RFC 8656's."""

    def __init__(self, code: int | None) -> None:
        super().__init__(f"TURN error {code}")
        self.code = code


class _Received(asyncio.DatagramProtocol):
    """What comes out of the relay."""

    def __init__(self) -> None:
        self.datagrams: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.datagrams.put_nowait((data, addr))


class Allocation:
    """A relayed address, for as long as `allocate` holds it."""

    def __init__(
        self, client: turn.TurnClientProtocol, relayed: tuple[str, int], received: _Received
    ) -> None:
        self._client = client
        self._received = received
        self.relayed = relayed

    async def permit(self, address: str) -> None:
        """Ask for a permission: CreatePermission.

        Raises:
            Refused: the server relays nothing to `address`.
        """
        request = stun.Message(stun.Method.CREATE_PERMISSION, stun.Class.REQUEST)
        request.attributes["XOR-PEER-ADDRESS"] = (address, 0)
        await _answered(self._client.request_with_retry(request))

    async def bind(self, address: str) -> None:
        """Ask for a channel: ChannelBind, the other way to a permission.

        Raises:
            Refused: the server relays nothing to `address`.
        """
        await _answered(self._client.channel_bind(0x4FFF, (address, 9)))

    async def send(self, data: bytes, peer: tuple[str, int]) -> None:
        """Send a datagram to `peer`, by a channel that is bound for it.

        Raises:
            Refused: the server relays nothing to it.
        """
        await _answered(self._client.send_data(data, peer))

    async def ask(self, peer: tuple[str, int], *, seconds: float = _ANSWER_SECONDS) -> None:
        """Ask a STUN server at `peer` through the relay, once.

        Raises:
            TimeoutError: no answer came back through it.
        """
        question = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        await _answered(self._client.send_data(bytes(question), peer))
        async with asyncio.timeout(seconds):
            while True:
                data, source = await self._received.datagrams.get()
                if source == peer and stun.parse_message(data).transaction_id == question.transaction_id:
                    return

    async def is_answered(self, peer: tuple[str, int]) -> bool:
        """Whether a STUN server at `peer` answers through the relay within half a second."""
        try:
            await self.ask(peer, seconds=0.5)
        except TimeoutError:
            return False
        return True


async def _answered(asked: Any) -> Any:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await asked
    except stun.TransactionFailed as failed:
        raise Refused(failed.response.error_code) from failed


async def until(probe: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """As `wait_until`, for what has to be awaited.

    Raises:
        TimeoutError: it did not come true.
    """
    async with asyncio.timeout(seconds):
        while not await probe():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.5)


@asynccontextmanager
async def allocate(
    server: Server, given: Credentials, trust: ssl.SSLContext | None = None
) -> AsyncIterator[Allocation]:
    """An allocation at `server`, given up at the end.

    Args:
        trust: for TLS, whose certificates are good.

    Raises:
        Refused: by the server.
        ssl.SSLCertVerificationError: its certificate is not good.
        TimeoutError: no answer.
    """
    async with _client(server, given, trust) as client:
        received = _Received()
        relayed = await _answered(client.connect())
        client.receiver = received
        try:
            yield Allocation(client, relayed, received)
        finally:
            # Without it the server keeps it for ten minutes. A server that is gone does not answer.
            with suppress(TimeoutError, stun.TransactionFailed):
                await asyncio.wait_for(client.delete(), _ANSWER_SECONDS)


async def ask_for_tcp_relay(server: Server, given: Credentials) -> None:
    """Ask for an allocation that relays TCP (RFC 6062).

    Raises:
        Refused: by the server.
    """
    async with _client(server, given, None) as client:
        request = stun.Message(stun.Method.ALLOCATE, stun.Class.REQUEST)
        request.attributes["REQUESTED-TRANSPORT"] = turn.TCP_TRANSPORT
        await _answered(client.request_with_retry(request))


@asynccontextmanager
async def _client(
    server: Server, given: Credentials, trust: ssl.SSLContext | None
) -> AsyncIterator[turn.TurnClientProtocol]:
    """A client that has asked for nothing yet."""
    loop = asyncio.get_running_loop()
    settings: dict[str, Any] = {
        "server": (server.address, server.port),
        "username": given.username,
        "password": given.password,
        "lifetime": _LIFETIME_SECONDS,
        "channel_refresh_time": turn.DEFAULT_CHANNEL_REFRESH_TIME,
    }
    transport: asyncio.BaseTransport
    client: turn.TurnClientProtocol
    if server.transport == "udp":
        transport, client = await loop.create_datagram_endpoint(
            lambda: turn.TurnClientUdpProtocol(**settings), remote_addr=(server.address, server.port)
        )
    else:
        tls: dict[str, Any] = (
            {"ssl": trust, "server_hostname": server.name} if server.transport == "tls" else {}
        )
        async with asyncio.timeout(_ANSWER_SECONDS):
            transport, client = await loop.create_connection(
                lambda: turn.TurnClientTcpProtocol(**settings), server.address, server.port, **tls
            )
    try:
        yield client
    finally:
        if client.refresh_task is not None:
            client.refresh_task.cancel()
        transport.close()
        # Lets the transport say goodbye before the loop is gone.
        await asyncio.sleep(0)
