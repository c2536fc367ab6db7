"""Ports of this machine for programs that a test starts."""

from __future__ import annotations

import socket

_given: set[int] = set()


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now, and that no test was given before.

    Another program may take it first.
    """
    while True:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = int(server.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port
