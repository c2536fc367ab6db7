"""A client of an edge by plain sockets: TLS (unverified), plain HTTP and WebSockets."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from livekit.api import AccessToken

from tests.websocket import upgrade


def token(identity: str) -> str:
    """A token of a participant, for services that take any: an edge lets nobody join without an identity."""
    return AccessToken("key", "0123456789abcdef0123456789abcdef").with_identity(identity).to_jwt()


@dataclass(frozen=True)
class EdgeClient:
    """Where an edge listens.

    Attributes:
        domain: its services are at names below it.
        https, http: TCP ports.
    """

    address: str
    domain: str
    https: int
    http: int

    def connect(self) -> ssl.SSLSocket:
        """A TLS connection.

        Raises:
            OSError: nothing listens there.
        """
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        plain = socket.create_connection((self.address, self.https), timeout=10)
        return context.wrap_socket(plain, server_hostname=f"api.{self.domain}")

    def served(self) -> bytes | None:
        """The certificate that a new connection gets, in DER."""
        with self.connect() as connection:
            return connection.getpeercert(binary_form=True)

    def status(self, host: str) -> int:
        """The status code of plain HTTP for `host`."""
        with socket.create_connection((self.address, self.http), timeout=10) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return int(connection.recv(1000).split()[1])

    @contextmanager
    def websocket(self, service: str = "api") -> Iterator[ssl.SSLSocket]:
        """An open WebSocket to a service behind the edge."""
        with self.connect() as connection:
            upgrade(connection, f"{service}.{self.domain}", f"/rtc?access_token={token('somebody')}")
            yield connection
