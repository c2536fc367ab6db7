"""token-api as a process of a test's own, and its callers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt

from common.waiting import wait_until
from tests.ports import free_port
from tests.support import plain_http
from tests.token_api.processes import answering
from tests.unit.token_api.support import AUTHORIZED, ENVIRONMENT

HOST_SECRET = "host-jwt-secret-0123456789-abcdefghijk"
HOST_ISSUER = "https://host.test"
HOST_AUDIENCE = "token-api"
WEBHOOK_PATH = "/v1/webhooks/livekit"
_SERVICE = Path(__file__).parents[2] / "services" / "token-api"
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Service:
    """A running service; `log` is the file that it logs to, JSON line by line."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    @staticmethod
    def user(user_id: str, **claims: Any) -> dict[str, str]:
        """Headers with a host JWT for `user_id`; `claims` come beside or replace its own."""
        made = {
            "iss": HOST_ISSUER,
            "aud": HOST_AUDIENCE,
            "sub": user_id,
            "exp": int(time.time()) + 300,
            **claims,
        }
        return {"Authorization": f"Bearer {jwt.encode(made, HOST_SECRET)}"}

    def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, **given: Any
    ) -> httpx.Response:
        """Call as the host application, or with `headers`; whatever is answered. `path` is after /v1."""
        return plain_http.request(
            method, f"{self.url}/v1{path}", headers=headers or AUTHORIZED, timeout=30, **given
        )

    def call(
        self, method: str, path: str, headers: dict[str, str] | None = None, status: int = 200, **given: Any
    ) -> Any:
        """The JSON of an answer with `status`."""
        response = self.ask(method, path, headers, **given)
        assert response.status_code == status, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def live_stream(self, **fields: Any) -> dict[str, Any]:
        """A new stream of `creator` in `space` that is live."""
        wanted = {"title": "A stream", "owner_id": "creator", "space_id": "space", **fields}
        made = self.call("POST", "/streams", json=wanted, status=201)
        go_live = f"/streams/{made['id']}/go-live"
        # A LiveKit that has just started may not have a node for rooms yet; the answer says to try again.
        wait_until(
            lambda: self.ask("POST", go_live).status_code != 503,
            timeout=_START_SECONDS,
            describe="LiveKit to make rooms",
            interval=0.5,
        )
        live: dict[str, Any] = self.call("POST", go_live)
        return live

    def grant(self, user_id: str, stream_id: str, **fields: Any) -> str:
        """A pass of a user's for a stream; its id."""
        wanted = {"user_id": user_id, "scope": "stream", "scope_id": stream_id, **fields}
        return str(self.call("POST", "/access-grants", json=wanted, status=201)["id"])

    def token(self, user_id: str, stream_id: str) -> str:
        """A user's token for a stream's room."""
        made = self.call("POST", f"/streams/{stream_id}/video-token", self.user(user_id), 201)
        return str(made["participant_token"])

    def metric(self, name: str, **labels: str) -> float:
        """A value of /metrics; 0 where it is not there yet."""
        wanted = name + (
            "{" + ",".join(f'{label}="{value}"' for label, value in labels.items()) + "}" if labels else ""
        )
        text = plain_http.get(f"{self.url}/metrics").text
        return next(
            (float(line.split()[-1]) for line in text.splitlines() if line.startswith(wanted + " ")), 0
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the process, by SIGKILL where a crash is meant; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=_STOP_SECONDS)


@contextmanager
def token_api(
    directory: Path,
    livekit_url: str,
    *,
    port: int | None = None,
    database_url: str | None = None,
    **more: str,
) -> Iterator[Service]:
    """The service with a database in `directory`, or that of `database_url`; `more` are variables.

    A second one in the same directory, after the first is stopped, goes on with its database.
    """
    chosen = port or free_port()
    environment = {
        "PATH": os.environ["PATH"],
        **ENVIRONMENT,
        "LIVEKIT_URL": livekit_url,
        "TOKEN_API_DATA_DIR": str(directory),
        "TOKEN_API_LISTEN_HOST": "127.0.0.1",
        "TOKEN_API_LISTEN_PORT": str(chosen),
        "TOKEN_API_HOST_JWT_SECRET": HOST_SECRET,
        "TOKEN_API_HOST_JWT_ISSUER": HOST_ISSUER,
        "TOKEN_API_HOST_JWT_AUDIENCE": HOST_AUDIENCE,
        **({"TOKEN_API_DATABASE_URL": database_url} if database_url else {}),
        **more,
    }
    log_path = directory / f"token-api-{chosen}.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "token_api", "serve"],
            cwd=_SERVICE,
            env=environment,
            stdout=log,
            stderr=log,
        )
    running = Service(process, f"http://127.0.0.1:{chosen}", log_path)
    with answering(process, f"{running.url}/healthz", name="token-api", log=log_path):
        yield running
