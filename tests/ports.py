"""Ports of this machine for programs that a test starts."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

# Below Linux's range for outgoing connections, which could take a port before the program does.
_FIRST, _LAST = 20_000, 29_999
# One socket for each port that this process got. The kernel closes them when the process ends.
_claims: list[socket.socket] = []


def free_port() -> int:
    """A port of loopback, for TCP and UDP, that is free now and is given to no other test process.

    Tests run in several processes at the same time: pytest's workers, and those of other checkouts.
    """
    while True:
        port = random.randint(_FIRST, _LAST)  # noqa: S311
        if _claim(port) and _is_free(port):
            return port


def _claim(port: int) -> bool:
    """Claim the port by an abstract socket. Names of these sockets are unique in the network namespace."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0lkp-test-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    return True


def _is_free(port: int) -> bool:
    with ExitStack() as stack:
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                stack.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
