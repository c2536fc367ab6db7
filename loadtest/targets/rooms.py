"""The rooms of a LiveKit server, by its server API; and what kept it from answering, in a sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TypeVar

import aiohttp
from livekit import api
from livekit.api.room_service import RoomService as RoomApi

from loadtest.targets.http_session import http_session
from loadtest.targets.tokens import ApiKey

_SECONDS = 10.0

T = TypeVar("T")


@dataclass(frozen=True)
class ServerApi:
    """A LiveKit server's API. Each call makes a connection of its own, and blocks.

    Attributes:
        url: of the server, as clients signal at it.
        names, ca_certificate: as `http_session` takes them.
    """

    url: str
    key: ApiKey
    names: Mapping[str, IPv4Address]
    ca_certificate: str = field(repr=False)

    def call(self, ask: Callable[[api.LiveKitAPI], Awaitable[T]], *, timeout: float) -> T:
        """Ask the server.

        Args:
            timeout: seconds for each request.

        Raises:
            api.TwirpError: the server's own error.
            aiohttp.ClientError, TimeoutError, OSError: no answer.
        """

        async def talk() -> T:
            async with (
                http_session(self.names, self.ca_certificate, timeout=timeout) as session,
                api.LiveKitAPI(
                    self.url,
                    self.key.name,
                    self.key.secret.get_secret_value(),
                    session=session,
                    failover=False,  # its regions are LiveKit Cloud's
                ) as server,
            ):
                return await ask(server)

        return asyncio.run(talk())


class TargetUnusable(Exception):
    """The server is not reached, not trusted, not LiveKit, or refuses the key. A sentence for people."""


@dataclass(frozen=True)
class RoomService(ServerApi):
    """Lists and deletes rooms."""

    def list_names(self) -> tuple[str, ...]:
        """The rooms that are there.

        Raises:
            TargetUnusable: no proper answer within 10 s.
        """

        async def ask(rooms: RoomApi) -> tuple[str, ...]:
            found = await rooms.list_rooms(api.ListRoomsRequest())
            return tuple(room.name for room in found.rooms)

        return self._call(ask)

    def delete(self, names: Iterable[str]) -> None:
        """Delete rooms, and put out who is in them. One that is already gone is no error.

        Raises:
            TargetUnusable: no proper answer within 10 s each.
        """

        async def ask(rooms: RoomApi) -> None:
            for name in names:
                try:
                    await rooms.delete_room(api.DeleteRoomRequest(room=name))
                except api.TwirpError as error:
                    if error.status != 404:
                        raise

        self._call(ask)

    def _call(self, ask: Callable[[RoomApi], Awaitable[T]]) -> T:
        try:
            return self.call(lambda server: ask(server.room), timeout=_SECONDS)
        except (api.TwirpError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TargetUnusable(explain(self.url, self.key.name, error)) from error


def explain(url: str, key: str, error: Exception) -> str:
    """Why the server at `url` gave no proper answer, and what to do about it."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return (
                f"the TLS certificate of {url} is not trusted ({error.certificate_error}); "
                f"give its certificate authority by --ca FILE"
            )
        case aiohttp.ClientConnectorDNSError():
            return f"the host of {url} is not known: {error.os_error}"
        case api.TwirpError(status=401 | 403):
            return (
                f"{url} refuses API key {key!r} with this secret (HTTP {error.status}); "
                f"give a key and secret that its configuration has"
            )
        case api.TwirpError():
            return f"{url} does not answer as LiveKit does: {error}"
        case TimeoutError():
            return f"{url} does not answer within {_SECONDS:g} s; is a firewall in between?"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return f"{url} cannot be reached: {cause or type(error).__name__}"
