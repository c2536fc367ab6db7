"""The cluster's DNS as far as the edge asks it: addresses of names, which a test changes."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter

_HEADER = struct.Struct("!6H")
_ANSWERS, _NO_SUCH_NAME = 0x8180, 0x8183
_A = 1


class Dns:
    """Answers questions for IPv4 addresses; a name without any does not exist."""

    def __init__(self) -> None:
        self.addresses: dict[str, tuple[str, ...]] = {}
        self.silent = False
        # How often each name was asked for.
        self.questions: Counter[str] = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])

    def __enter__(self) -> Dns:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                query, client = self._socket.recvfrom(10000)
                answer = self._answer(query)
                if not self.silent:
                    self._socket.sendto(answer, client)
            except OSError:
                return

    def _answer(self, query: bytes) -> bytes:
        number = _HEADER.unpack_from(query)[0]
        labels, at = [], _HEADER.size
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode().lower())
            at += 1 + length
        [kind] = struct.unpack_from("!H", query, at + 1)
        question = query[_HEADER.size : at + 5]
        name = ".".join(labels)
        self.questions[name] += 1
        known = self.addresses.get(name, ())
        found = known if kind == _A else ()
        # Each answer's name is the question's, by a pointer to it.
        records = [
            struct.pack("!HHHIH", 0xC00C, _A, 1, 5, 4) + socket.inet_aton(address) for address in found
        ]
        flags = _ANSWERS if known else _NO_SUCH_NAME
        return _HEADER.pack(number, flags, 1, len(records), 0, 0) + question + b"".join(records)
