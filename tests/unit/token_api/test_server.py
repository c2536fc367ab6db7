"""The process itself, on a real port: it listens, logs JSON without secrets, and ends as it should."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from common.waiting import wait_until
from tests.ports import free_port
from tests.support import plain_http
from tests.unit.token_api.livekit_double import LiveKitDouble
from tests.unit.token_api.support import (
    AUTHORIZED,
    ENVIRONMENT,
    SECRET,
    SERVICE_KEY,
    StandInServer,
    sign,
)

SERVICE = Path(__file__).parents[3] / "services" / "token-api"


@dataclass(frozen=True)
class Running:
    process: subprocess.Popen[str]
    url: str


@contextmanager
def serving(livekit_url: str, port: int, **variables: str) -> Iterator[Running]:
    with (
        tempfile.TemporaryDirectory() as data_dir,
        _serving(livekit_url, port, TOKEN_API_DATA_DIR=data_dir, **variables) as running,
    ):
        yield running


@contextmanager
def _serving(livekit_url: str, port: int, **variables: str) -> Iterator[Running]:
    environment = {
        "PATH": os.environ["PATH"],
        **ENVIRONMENT,
        "LIVEKIT_URL": livekit_url,
        "TOKEN_API_LISTEN_HOST": "127.0.0.1",
        "TOKEN_API_LISTEN_PORT": str(port),
        **variables,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "token_api", "serve"],
        cwd=SERVICE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Running(process, f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def answers(running: Running) -> bool:
    assert running.process.poll() is None, running.process.communicate()[0]
    return plain_http.get(f"{running.url}/healthz").status_code == 200


def wait_until_up(running: Running) -> None:
    wait_until(
        lambda: answers(running),
        timeout=60,
        describe="token-api to answer",
        interval=0.1,
        tolerate=(httpx.TransportError,),
    )


def test_it_serves_logs_json_without_secrets_and_stops_when_told(double: LiveKitDouble) -> None:
    with serving(double.url, free_port(), TOKEN_API_LOG_LEVEL="debug") as running:
        wait_until_up(running)
        with httpx.Client(base_url=running.url, trust_env=False) as client:
            assert client.get("/readyz").status_code == 200
            wanted = {"room_name": "test_a", "participant_identity": "joe"}
            token = client.post("/v1/token", json=wanted, headers=AUTHORIZED).json()["participant_token"]
            client.get(f"/v1/nothing?access_token={token}")
            client.get(f"/v1/{token}")
            body = b'{"event": "room_started", "id": "EV_1"}'
            signature = sign(body)
            assert client.post(
                "/v1/webhooks/livekit", content=body, headers={"Authorization": signature}
            ).is_success
            assert "server" not in client.get("/healthz").headers
        running.process.send_signal(signal.SIGTERM)
        output, _ = running.process.communicate(timeout=30)
    assert running.process.returncode == 0
    events = [json.loads(line) for line in output.splitlines()]
    assert {"starting", "token_issued", "webhook_received", "request", "stopped"} <= {
        event["event"] for event in events
    }
    assert all(event["timestamp"] and event["level"] for event in events)
    # A library's line for every probe would drown ours.
    assert not any(event["logger"].startswith("http") for event in events)
    for secret in (SECRET, SERVICE_KEY, token, token.rpartition(".")[2], signature):
        assert secret not in output


def _probe_connection(slow: socket.socket, opened: ExitStack) -> socket.socket:
    """The connection on which readiness asks LiveKit; the reconciler may open another one before it."""
    slow.settimeout(20)
    while True:
        accepted = opened.enter_context(slow.accept()[0])
        if b"user-agent: python-httpx" in accepted.recv(65536).lower():
            return accepted


def test_a_request_that_is_open_when_it_is_told_to_stop_still_gets_its_answer() -> None:
    # A LiveKit that takes the connection and answers late holds one request open.
    with (
        ExitStack() as opened,
        socket.create_server(("127.0.0.1", 0)) as slow,
        serving(f"ws://127.0.0.1:{slow.getsockname()[1]}", free_port()) as running,
    ):
        wait_until_up(running)
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as caller:
            caller.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            accepted = _probe_connection(slow, opened)
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            body = b'{"rooms":[]}'
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
                body
            )
            accepted.sendall(head + body)
            accepted.close()
            assert caller.recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert running.process.wait(timeout=30) == 0


def test_it_says_first_that_it_stops_and_serves_on_meanwhile(double: LiveKitDouble) -> None:
    with serving(double.url, free_port(), TOKEN_API_DRAIN_SECONDS="300") as running:
        wait_until_up(running)
        with httpx.Client(base_url=running.url, trust_env=False) as client:
            assert client.get("/readyz").status_code == 200
            running.process.send_signal(signal.SIGTERM)

            def refuses() -> bool:
                answer = client.get("/readyz")
                return answer.status_code == 503 and ":stopping" in answer.text

            wait_until(refuses, timeout=20, describe="/readyz to say that it stops", interval=0.05)
            wanted = {"room_name": "test_a", "participant_identity": "joe"}

            def says_good_bye() -> bool:
                # Also on connections that a proxy keeps, which would break when the process ends.
                answer = client.post("/v1/token", json=wanted, headers=AUTHORIZED)
                assert answer.status_code == 201
                return "close" in answer.headers.get("connection", "").split()

            wait_until(says_good_bye, timeout=20, describe="answers to end their connection", interval=0.05)
            assert client.get("/healthz").status_code == 200
        # Told again, it waits no longer.
        running.process.send_signal(signal.SIGTERM)
        output, _ = running.process.communicate(timeout=30)
    assert running.process.returncode == 0
    events = [json.loads(line)["event"] for line in output.splitlines()]
    assert events.count("draining") == events.count("stopped") == 1
    assert "worker_interrupted" not in events


def test_it_stops_by_itself_when_the_drain_is_over(livekit: StandInServer) -> None:
    with serving(livekit.url, free_port(), TOKEN_API_DRAIN_SECONDS="1") as running:
        wait_until_up(running)
        begun = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        running.process.communicate(timeout=30)
    assert running.process.returncode == 0
    assert time.monotonic() - begun >= 1


def test_a_request_that_does_not_end_does_not_keep_it_from_stopping() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        serving(
            f"ws://127.0.0.1:{silent.getsockname()[1]}", free_port(), TOKEN_API_SHUTDOWN_SECONDS="1"
        ) as running,
    ):
        wait_until_up(running)
        host, port = running.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as caller:
            # A body that is announced and never sent.
            caller.sendall(
                b"POST /v1/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Authorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{" % SERVICE_KEY.encode()
            )
            time.sleep(0.3)
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(timeout=20) == 0


def test_an_address_that_is_taken_ends_it_with_69(livekit: StandInServer) -> None:
    with serving(livekit.url, livekit.server_port) as running:
        output, _ = running.process.communicate(timeout=60)
    assert running.process.returncode == 69
    assert "address already in use" in output


def test_a_bad_environment_ends_it_with_78_before_it_listens() -> None:
    with serving("ws://127.0.0.1:1", free_port(), LIVEKIT_API_SECRET="secret") as running:
        output, _ = running.process.communicate(timeout=60)
    assert running.process.returncode == 78
    assert output.startswith("LIVEKIT_API_SECRET: ")


def test_an_exception_is_logged_without_local_variables_or_tokens() -> None:
    program = (
        "from token_api import logs; import structlog\n"
        "logs.configure('info')\n"
        "secret_local = 'do-not-' + 'show-me'\n"
        "def fail():\n"
        "    inner = secret_local\n"
        "    raise ValueError('token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqb2UifQ.c2lnbmF0dXJl refused')\n"
        "try:\n"
        "    fail()\n"
        "except ValueError:\n"
        "    structlog.get_logger().exception('failed')\n"
        "import logging; logging.getLogger('library').error('eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqb2UifQ.c2ln')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=SERVICE, capture_output=True, text=True, check=True, timeout=60
    )
    ours, theirs = (json.loads(line) for line in done.stdout.splitlines())
    assert "ValueError" in ours["exception"]
    assert "token <token> refused" in ours["exception"]
    assert "do-not-show-me" not in done.stdout
    assert theirs["event"] == "<token>"


@pytest.fixture(autouse=True)
def no_proxy(environment: pytest.MonkeyPatch) -> None:
    """The children get a clean environment; this clears the parent's for httpx."""
