"""Whether a TURN server answers: by a STUN Binding request (RFC 8489), as its clients begin."""

from __future__ import annotations

import os
import socket
import struct
import time

_MAGIC_COOKIE = 0x2112A442
_BINDING_REQUEST, _BINDING_SUCCESS = 0x0001, 0x0101
# Type, length of what follows, cookie, transaction.
_HEADER = struct.Struct("!HHI12s")
_BUFFER_BYTES = 2048


def binding_request(transaction: bytes) -> bytes:
    """A request without attributes; `transaction` are its 12 bytes."""
    return _HEADER.pack(_BINDING_REQUEST, 0, _MAGIC_COOKIE, transaction)


def is_answer_to(transaction: bytes, datagram: bytes) -> bool:
    """Whether `datagram` is the success response to that transaction."""
    if len(datagram) < _HEADER.size:
        return False
    kind, _length, cookie, answered = _HEADER.unpack_from(datagram)
    return (kind, cookie, answered) == (_BINDING_SUCCESS, _MAGIC_COOKIE, transaction)


def answers(address: str, port: int, *, seconds: float) -> bool:
    """Whether the server at `address` answers over UDP within `seconds`."""
    transaction = os.urandom(12)
    deadline = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        try:
            client.connect((address, port))
            client.send(binding_request(transaction))
            while (left := deadline - time.monotonic()) > 0:
                client.settimeout(left)
                if is_answer_to(transaction, client.recv(_BUFFER_BYTES)):
                    return True
        except OSError:  # no time left, or nobody has the port
            pass
    return False
