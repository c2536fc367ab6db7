"""The opening handshake of a WebSocket (RFC 6455, section 4), and connections to services that echo bytes."""

from __future__ import annotations

import base64
import hashlib
import socket

_KEY = base64.b64encode(b"sixteen bytes it").decode()
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ECHOED = b"still here"


def accept(key: str = _KEY) -> str:
    """The server's answer to the client's `key`: the header Sec-WebSocket-Accept."""
    digest = hashlib.sha1(f"{key}{_GUID}".encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def upgrade(connection: socket.socket, host: str, target: str = "/ws") -> bytes:
    """Open a WebSocket on `connection`; returns the head of the answer."""
    head = ask_to_upgrade(connection, host, target)
    assert b" 101 " in head.splitlines()[0], head
    return head


def ask_to_upgrade(connection: socket.socket, host: str, target: str, *headers: str) -> bytes:
    """Ask for a WebSocket; returns the answer, whatever it is.

    Args:
        headers: further ones, as lines.
    """
    lines = (
        f"GET {target} HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {_KEY}",
        *headers,
    )
    connection.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    return connection.recv(4000)


def echoes(connection: socket.socket) -> bool:
    """Whether the service sends back what it gets."""
    try:
        connection.sendall(_ECHOED)
        return connection.recv(1000) == _ECHOED
    except OSError:
        return False
