"""An object store over HTTP that is broken where a test says so; `tests/token_api` has a real one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from pydantic import SecretStr

from tests.support.http_server import Server
from tests.support.serving import serving_in_thread
from token_api.settings import Settings

SECRET_KEY = "s3-secret-0123456789-abcdefghijklmno"


@dataclass
class StoreStandIn:
    """What was asked of the store: method and target. `status` and `answer`: of every answer.

    `locked`: a part of a key whose object it refuses to delete. `gate`: answers wait until it is set.
    """

    url: str
    asked: list[tuple[str, str]] = field(default_factory=list)
    status: int = 204
    answer: bytes = b""
    locked: str | None = None
    gate: threading.Event = field(default_factory=threading.Event)

    def known_to(self, settings: Settings) -> Settings:
        """`settings` with this store, which clients reach at another address."""
        known = {
            "s3_endpoint": "https://s3.test:9000",
            "s3_inner_endpoint": self.url,
            "s3_bucket": "recordings",
            "s3_access_key": "reader",
            "s3_secret_key": SecretStr(SECRET_KEY),
        }
        return settings.model_copy(update=known)


class _Server(Server):
    daemon_threads = True
    store: StoreStandIn


class _Handler(BaseHTTPRequestHandler):
    def do_DELETE(self) -> None:
        assert isinstance(self.server, _Server)
        store = self.server.store
        store.asked.append((self.command, self.path))
        store.gate.wait(timeout=30)
        is_locked = store.locked is not None and store.locked in self.path
        status, answer = (403, b"") if is_locked else (store.status, store.answer)
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if status != 204:
            self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is for the test."""


@contextmanager
def store_stand_in() -> Iterator[StoreStandIn]:
    """A store that answers every DELETE with 204, until a test says otherwise."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.store = StoreStandIn(f"http://127.0.0.1:{server.server_port}")
    server.store.gate.set()
    with serving_in_thread(server):
        try:
            yield server.store
        finally:
            server.store.gate.set()
