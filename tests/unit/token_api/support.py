"""What the tests of token-api share: an environment, a signer of webhooks, and a stand-in for LiveKit."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import jwt

from tests.support.http_server import Server
from tests.support.serving import serving_in_thread

KEY = "APItest12345"
SECRET = "livekit-secret-0123456789-abcdefghijk"
SERVICE_KEY = "service-key-zyxwvutsrqponmlkjihgfedcba"
OTHER_SECRET = "another-secret-9876543210-kjihgfedcba"

# The newest revision of the database's schema. Whoever adds a migration changes it.
LATEST_REVISION = "0011"

ENVIRONMENT = {
    "LIVEKIT_URL": "ws://sfu.test:7880",
    "LIVEKIT_API_KEY": KEY,
    "LIVEKIT_API_SECRET": SECRET,
    "TOKEN_API_SERVICE_KEY": SERVICE_KEY,
}
AUTHORIZED = {"Authorization": f"Bearer {SERVICE_KEY}"}


def digest(body: bytes) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def sign(body: bytes, *, secret: str = SECRET, without: str | None = None, **claims: Any) -> str:
    """The Authorization header that LiveKit's notifier sends with `body`; `claims` replace its own.

    It holds for an hour, not for LiveKit's five minutes: tables of cases are signed when tests are collected.
    """
    now = int(time.time())
    made = {"iss": KEY, "nbf": now, "exp": now + 3600, "sha256": digest(body), **claims}
    return jwt.encode({name: value for name, value in made.items() if name != without}, secret)


class LiveKitStandIn(BaseHTTPRequestHandler):
    """ListRooms as livekit-server 1.13.5 answers it, text for text; deployment tests ask the real one."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        standing = self.server
        assert isinstance(standing, StandInServer)
        standing.calls += 1
        token = self.headers["Authorization"].removeprefix("Bearer ")
        if standing.answer is not None:
            self._send(*standing.answer)
        elif jwt.decode(token, options={"verify_signature": False})["iss"] != KEY:
            self._send(401, "text/plain", "invalid API key: APIother")
        else:
            self._verified(token)

    def _verified(self, token: str) -> None:
        try:
            claims = jwt.decode(token, SECRET, algorithms=["HS256"], leeway=60)
        except jwt.InvalidSignatureError:
            reason = "token signature is invalid: signature is invalid"
            self._send(401, "text/plain", f"invalid token: {token}, error: {reason}")
            return
        if claims["video"].get("roomList"):
            self._send(200, "application/json", json.dumps({"rooms": []}))
        else:
            error = {"code": "unauthenticated", "msg": "permissions denied"}
            self._send(401, "application/json", json.dumps(error))

    def _send(self, status: int, media_type: str, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is for the test."""


class StandInServer(Server):
    """Counts the calls, and gives `answer` (status, media type, body) to all where it is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), LiveKitStandIn)
        self.calls = 0
        self.answer: tuple[int, str, str] | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.server_port}"


@contextmanager
def livekit_stand_in() -> Iterator[StandInServer]:
    server = StandInServer()
    with serving_in_thread(server):
        yield server
