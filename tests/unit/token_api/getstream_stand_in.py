"""GetStream's API, as far as the service uses it, with answers as in GetStream's REST reference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

from tests.support.http_server import Server
from tests.support.serving import serving_in_thread

KEY = "getstream-key"
SECRET = "getstream-secret-0123456789-abcdefghijkl"
# Codes of the API.
_AUTHENTICATION = 2
_INPUT = 4
_DOES_NOT_EXIST = 16
_CODES = {400: _INPUT, 404: _DOES_NOT_EXIST}

_Answer = tuple[int, dict[str, object]]


@dataclass
class GetStreamStandIn:
    """The app's users, its channels, and its bans: (user, channel) -> minutes, None for good.

    `failing`: the status of every answer, while it is set. `missing`: where something does not exist.
    """

    url: str
    users: set[str] = field(default_factory=set)
    channels: set[str] = field(default_factory=set)
    bans: dict[tuple[str, str], int | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    failing: int | None = None
    missing: int = 404

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> _Answer:
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        failing = self.failing
        self.asked.append(f"{method} {url.path}")
        if failing is not None:
            return failing, {"code": -1, "message": "something went wrong"}
        if (refused := _not_a_server(query, headers)) is not None:
            return refused
        told: dict[str, Any] = json.loads(body) if body else query
        return self._do(method, url.path.strip("/").split("/"), told)

    def _do(self, method: str, path: list[str], told: dict[str, Any]) -> _Answer:
        match (method, path):
            case ("GET", ["users"]):
                wanted = json.loads(told["payload"])["filter_conditions"]["id"]
                return 200, {"users": [{"id": wanted}] if wanted in self.users else []}
            case ("POST", ["users"]):
                self.users |= told["users"].keys()
                return 201, {}
            case ("POST", ["channels", kind, name, "query"]):
                self.channels.add(f"{kind}:{name}")
                return 201, {}
            case (_, ["moderation", "ban"]):
                return self._ban(method, told)
        return 404, {"code": _INPUT, "message": "no such path"}

    def _ban(self, method: str, told: dict[str, Any]) -> _Answer:
        user, channel = str(told["target_user_id"]), f"{told['type']}:{told['id']}"
        named = {user, str(told["banned_by_id"])} if method == "POST" else {user}
        if not named <= self.users or channel not in self.channels:
            return self.missing, {
                "code": _CODES[self.missing],
                "message": f"{named} or {channel} is not there",
            }
        if method == "POST":
            minutes = told.get("timeout")
            if minutes is not None and (not isinstance(minutes, int) or minutes < 1):
                return 400, {"code": _INPUT, "message": f"timeout must be at least 1, was {minutes}"}
            self.bans[user, channel] = minutes
            return 201, {}
        self.bans.pop((user, channel), None)
        return 200, {}


def _not_a_server(query: dict[str, str], headers: dict[str, str]) -> _Answer | None:
    """The answer to who is not the app's own server."""
    try:
        claims = jwt.decode(headers.get("authorization", ""), SECRET, algorithms=["HS256"])
    except jwt.InvalidTokenError as error:
        return 401, {"code": _AUTHENTICATION, "message": str(error)}
    given = (query.get("api_key"), headers.get("stream-auth-type"), claims)
    if given != (KEY, "jwt", {"server": True}):
        return 401, {"code": _AUTHENTICATION, "message": "not a server of this app"}
    return None


class _Server(Server):
    daemon_threads = True
    stand_in: GetStreamStandIn


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, _Server)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, answer = self.server.stand_in.answer(self.command, self.path, headers, body)
        encoded = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    do_GET = do_DELETE = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is for the test."""


@contextmanager
def getstream_stand_in() -> Iterator[GetStreamStandIn]:
    """An app without users and channels."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.stand_in = GetStreamStandIn(f"http://127.0.0.1:{server.server_port}")
    with serving_in_thread(server):
        yield server.stand_in
