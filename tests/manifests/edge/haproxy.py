"""The real HAProxy of the edge's image, running a rendered configuration here, and what is behind it."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from common.waiting import wait_until
from tests.manifests.rendering import Manifest, of_kind
from tests.support.http_server import Server
from tests.websocket import accept

_LOOPBACK = "127.0.0.1"
# As run.sh finds it.
CLUSTER_DOMAIN = "cluster.test"
ENVIRONMENT = {**os.environ, "CLUSTER_DOMAIN": CLUSTER_DOMAIN}


def rendered_configuration(manifests: list[Manifest]) -> str:
    """haproxy.cfg from the rendered chart."""
    texts = [found["data"].get("haproxy.cfg") for found in of_kind(manifests, "ConfigMap")]
    [text] = [text for text in texts if text is not None]
    return str(text)


def configuration(manifests: list[Manifest], tls: Path, dns: int = 53) -> str:
    """haproxy.cfg from the rendered chart, with its certificate at `tls`, and DNS at a local port."""
    text = rendered_configuration(manifests)
    assert "${FILES}/" in text
    text = text.replace("${FILES}", str(tls))
    assert "\n    parse-resolv-conf\n" in text
    # The machine's own DNS is not the cluster's.
    return text.replace("parse-resolv-conf", f"nameserver here {_LOOPBACK}:{dns}")


def changed(text: str, replaced: Mapping[str, str]) -> str:
    """A configuration with other lines in the place of some; each of these has to be there."""
    for before, after in replaced.items():
        assert f" {before}\n" in text, f"the configuration has no line {before!r}"
        text = text.replace(f" {before}\n", f" {after}\n")
    return text


@dataclass(frozen=True)
class Answer:
    status: int
    # Names in lower case.
    headers: Mapping[str, str]
    text: str

    @property
    def seen(self) -> dict[str, Any]:
        """What the service behind the edge says that it was asked; see `Service`."""
        return dict(json.loads(self.text))


class _Server(Server):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent: health checks go away before they have read the answer."""


class Service:
    """An HTTP service that tells what it was asked, and echoes what comes after an upgrade."""

    def __init__(self, name: str, *, headers: Mapping[str, str] | None = None, health: int = 200) -> None:
        service = self
        self.health = health

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            server_version = f"{name}-server"

            def do_GET(self) -> None:
                if self.headers.get("Upgrade"):
                    self._echo()
                    return
                body = json.dumps(
                    {
                        "service": name,
                        "path": self.path,
                        "body": self.rfile.read(int(self.headers.get("Content-Length", 0))).decode(),
                        "headers": {key.lower(): value for key, value in self.headers.items()},
                    }
                ).encode()
                self.send_response(service.health if self.headers.get("Host") == "edge" else 200)
                for key, value in (headers or {}).items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_PUT = do_GET

            def _echo(self) -> None:
                self.send_response_only(101)
                self.send_header("Sec-WebSocket-Accept", accept(self.headers["Sec-WebSocket-Key"]))
                self.send_header("Upgrade", "websocket")
                self.send_header("Connection", "Upgrade")
                self.end_headers()
                self.close_connection = True
                while received := self.connection.recv(1000):
                    self.connection.sendall(received)

            def log_message(self, format: str, *args: Any) -> None:
                """Silent."""

        self._server = _Server((_LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Service:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def turn_server(
    context: ssl.SSLContext | None, address: str = _LOOPBACK, port: int = 0, said: bytes = b"turn:"
) -> Iterator[int]:
    """A TCP server, with TLS where a context is given, that answers what it gets with `said` before it."""

    def serve(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) if context else connection as peer:
                while received := peer.recv(1000):
                    peer.sendall(said + received)
        except OSError:
            # A health check connects and goes away.
            return

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server((address, port)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield int(server.getsockname()[1])


@dataclass
class Edge:
    """A running HAProxy."""

    https: int
    http: int
    metrics: int
    ca: Path
    log: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @cached_property
    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)

    def connect(
        self,
        *,
        plain: bool = False,
        name: str = "",
        source: str = _LOOPBACK,
        context: ssl.SSLContext | None = None,
    ) -> socket.socket:
        """A connection to the port for TLS (asking for `name`) or the plain one."""
        port = self.http if plain else self.https
        raw = socket.create_connection((_LOOPBACK, port), timeout=20, source_address=(source, 0))
        return raw if plain else (context or self.context).wrap_socket(raw, server_hostname=name or None)

    def ask(
        self,
        host: str,
        path: str = "/",
        *,
        method: str = "GET",
        plain: bool = False,
        source: str = _LOOPBACK,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        name = host.partition(":")[0]
        connection = http.client.HTTPConnection(host)
        connection.sock = self.connect(plain=plain, name=name, source=source)
        try:
            connection.request(method, path, body, {"Host": host, **(headers or {})})
            answer = connection.getresponse()
            got = {key.lower(): value for key, value in answer.getheaders()}
            return Answer(answer.status, got, answer.read().decode())
        finally:
            connection.close()

    def requests_logged(self) -> list[dict[str, Any]]:
        """Lines of the log that are JSON: all but HAProxy's own notices."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


def with_own_sockets(text: str, port: int) -> str:
    """The configuration with names of abstract sockets that no other edge on this machine uses.

    The whole network namespace shares abstract sockets, and edges of other tests run in it too.

    Args:
        port: a port on which only this edge listens.
    """
    return text.replace("abns@edge-", f"abns@edge-{port}-")


@contextmanager
def running(
    command: Sequence[str], text: str, directory: Path, ca: Path, ready: Sequence[str] = ("sfu",)
) -> Iterator[Edge]:
    """HAProxy with the configuration `text`, its ports free ones already.

    Args:
        ready: backends of which a server must be up before it is tested.
    """
    ports = {
        name: int(re.findall(rf"^frontend {name}\n(?:    .*\n)*?    bind \*:(\d+)", text, re.MULTILINE)[0])
        for name in ("tls", "http", "metrics")
    }
    text = with_own_sockets(text, ports["tls"])
    config = directory / "haproxy.cfg"
    config.write_text(text)
    log = directory / "haproxy.log"
    with log.open("wb") as out:
        words = [*command, "-db", "-f", str(config)]
        process = subprocess.Popen(words, stdout=out, stderr=out, env=ENVIRONMENT)
        edge = Edge(ports["tls"], ports["http"], ports["metrics"], ca, log, process)

        def up() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                page = metrics_page(edge)
            except OSError:
                return False
            return all(
                re.search(rf'^haproxy_backend_active_servers{{proxy="{name}"}} [1-9]', page, re.MULTILINE)
                for name in ready
            )

        try:
            wait_until(up, timeout=30, describe="HAProxy to be ready")
            yield edge
        finally:
            process.kill()
            process.wait()


def metrics_page(edge: Edge) -> str:
    connection = http.client.HTTPConnection(_LOOPBACK, edge.metrics, timeout=5)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()
