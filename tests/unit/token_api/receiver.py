"""A receiver of webhooks on loopback, as a host application has one, and how tests wait for it."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.support.http_server import Server
from tests.support.serving import serving_in_thread
from tests.support.speed import scaled

Check = Callable[[], Awaitable[bool]] | Callable[[], bool]


async def eventually(check: Check, what: str, *, within: float = 15.0) -> None:
    """Wait until `check` is true, in the service's own event loop.

    Args:
        within: seconds on the reference machine.
    """
    within = scaled(within)
    deadline = time.monotonic() + within
    while True:
        found = check()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < deadline, f"not within {within:.0f} s: {what}"
        await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Message:
    """What came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass
class Receiver:
    """What came in so far, and how it is answered. `gate`: answers wait until it is set."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""
    messages: list[Message] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    server_names: list[str | None] = field(default_factory=list)
    url: str = ""

    @property
    def ids(self) -> list[str]:
        return [message.id for message in self.messages]


class _Server(Server):
    daemon_threads = True

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.receiver = receiver

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a sender that is killed, or reads no further, is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        receiver.messages.append(Message(self.path, headers, body))
        receiver.gate.wait(timeout=30)
        self.send_response(receiver.status)
        for name, value in receiver.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(receiver.answer)))
        self.end_headers()
        self.wfile.write(receiver.answer)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is for the test."""


@contextmanager
def webhook_receiver(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver that answers 204, over TLS where a context is given."""
    receiver = Receiver()
    receiver.gate.set()
    server = _Server(receiver)
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: receiver.server_names.append(name)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "https" if tls else "http"
    receiver.url = f"{scheme}://127.0.0.1:{server.server_port}/hooks?for=us"
    with serving_in_thread(server):
        try:
            yield receiver
        finally:
            receiver.gate.set()
