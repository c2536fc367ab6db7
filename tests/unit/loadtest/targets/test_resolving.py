"""HTTP by names that no DNS knows, against a real TLS server with a CA of the test's own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest

from livekit_platform.certificates import new_authority, new_server_certificate
from loadtest.targets.outputs import StackOutputs
from loadtest.targets.resolving import async_edge_client, edge_client
from tests.support.http_server import Server
from tests.support.serving import serving_in_thread
from tests.unit.loadtest.targets.test_outputs import OUTPUTS


@dataclass(frozen=True)
class Authority:
    """A CA's certificate, and the file with the chain and key of a server that it has vouched for."""

    pem: str
    chain: Path


@dataclass(frozen=True)
class Edge:
    """A running server, with the names it was asked for: in each handshake, and in each request's Host."""

    port: int
    handshakes: list[str | None]
    hosts: list[str]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca = new_authority("lk.localhost")
    server = new_server_certificate(["api.lk.localhost", "s3.lk.localhost"], ca)
    chain = tmp_path_factory.mktemp("tls") / "chain.pem"
    chain.write_text(server.certificate + server.private_key)
    return Authority(ca.certificate, chain)


@contextmanager
def _edge(authority: Authority) -> Iterator[Edge]:
    handshakes: list[str | None] = []
    hosts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections are kept, as the edge keeps them

        def do_GET(self) -> None:
            hosts.append(self.headers["Host"])
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            return

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.chain)
    context.sni_callback = lambda _socket, name, _context: handshakes.append(name)
    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a refused handshake is the client's to tell
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving_in_thread(server):
        yield Edge(server.server_address[1], handshakes, hosts)


@pytest.fixture
def edge(authority: Authority) -> Iterator[Edge]:
    with _edge(authority) as made:
        yield made


def _outputs(ca: str) -> StackOutputs:
    return StackOutputs.model_validate({**OUTPUTS, "edge_addresses": ["127.0.0.1"], "ca_certificate": ca})


def test_each_name_is_asked_of_the_edge_under_itself_on_a_connection_of_its_own(
    edge: Edge, authority: Authority
) -> None:
    with edge_client(_outputs(authority.pem)) as client:
        for host in ("api", "s3", "api"):
            response = client.get(f"https://{host}.lk.localhost:{edge.port}/x")
            assert (response.status_code, response.url.host) == (200, f"{host}.lk.localhost")
    assert edge.handshakes == ["api.lk.localhost", "s3.lk.localhost"]
    assert edge.hosts == [f"{host}.lk.localhost:{edge.port}" for host in ("api", "s3", "api")]


def test_the_same_holds_for_asyncio(edge: Edge, authority: Authority) -> None:
    async def ask() -> int:
        async with async_edge_client(_outputs(authority.pem)) as client:
            return (await client.get(f"https://api.lk.localhost:{edge.port}/")).status_code

    assert asyncio.run(ask()) == 200
    assert edge.handshakes == ["api.lk.localhost"]


@pytest.mark.parametrize("host", ["api.lk.localhost", "elsewhere.lk.localhost"])
def test_a_certificate_of_another_authority_or_for_another_name_is_refused(
    edge: Edge, authority: Authority, host: str
) -> None:
    ca = "" if host.startswith("api") else authority.pem
    with (
        edge_client(_outputs(ca)) as client,
        pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.get(f"https://{host}:{edge.port}/")


def test_a_proxy_of_the_environment_is_not_asked_for_the_stacks_own_names(
    edge: Edge, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with edge_client(_outputs(authority.pem)) as client:
        assert client.get(f"https://api.lk.localhost:{edge.port}/").status_code == 200
