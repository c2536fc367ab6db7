"""Fixtures of the edge's tests: the real HAProxy with the rendered configuration, and services behind it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from livekit_platform.certificates import new_authority, new_server_certificate
from tests.image_program import image_program
from tests.manifests.edge.dns import Dns
from tests.manifests.edge.haproxy import (
    CLUSTER_DOMAIN,
    Edge,
    Service,
    changed,
    configuration,
    running,
    turn_server,
)
from tests.manifests.rendering import template
from tests.ports import free_port

DOMAIN = "calls.example.org"
SFU_HOST, TURN_HOST = "livekit-server-nodes.calls.svc", "coturn-nodes.calls.svc"

Start = Callable[..., Edge]


@pytest.fixture(scope="session")
def haproxy() -> list[str]:
    return image_program("haproxy", "usr/sbin/haproxy")


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with ca.crt, and tls.crt, tls.key and tls.pem for both domains of the tests."""
    directory = tmp_path_factory.mktemp("tls")
    names = [
        f"{service}{domain}"
        for domain in (DOMAIN, "lk.localhost")
        for service in ("", "sfu.", "turn.", "api.", "s3.")
    ]
    # One for all names of this test: the constraint to a domain has tests of its own.
    authority = new_authority("")
    leaf = new_server_certificate(names, authority)
    (directory / "ca.crt").write_text(authority.certificate)
    (directory / "tls.crt").write_text(leaf.certificate)
    (directory / "tls.key").write_text(leaf.private_key)
    # The file that HAProxy loads; run.sh creates it.
    (directory / "tls.pem").write_text(leaf.certificate + leaf.private_key)
    return directory


def whole(host: str) -> str:
    """The name that HAProxy asks DNS for."""
    return f"{host}.{CLUSTER_DOMAIN}"


@pytest.fixture(scope="session")
def dns() -> Iterator[Dns]:
    with Dns() as made:
        made.addresses = {whole(host): ("127.0.0.1",) for host in (SFU_HOST, TURN_HOST)}
        yield made


@pytest.fixture(scope="session")
def start(
    helm: Path, haproxy: list[str], tls: Path, dns: Dns, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Start]:
    """Starts an edge with all three services behind it, and `changes` to the chart's values.

    `replaced`: lines of the rendered configuration, and what this edge has in their place.
    """
    with ExitStack() as stack:
        own_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own_context.load_cert_chain(tls / "tls.crt", tls / "tls.key")

        def start(
            *,
            terminate_turn: bool = False,
            turn_connections: int = 10000,
            sfu_health: int = 200,
            joins: int = 10000,
            ready: tuple[str, ...] = ("sfu",),
            replaced: Mapping[str, str] | None = None,
            **changes: Any,
        ) -> Edge:
            sfu = stack.enter_context(Service("sfu", health=sfu_health))
            api = stack.enter_context(Service("api"))
            s3 = stack.enter_context(Service("s3"))
            turn = stack.enter_context(turn_server(None if terminate_turn else own_context))
            here = ["127.0.0.1"]
            labels = {"app.kubernetes.io/name": "service"}
            values = {
                "domain": DOMAIN,
                "tlsSecretName": "edge-tls",
                "ports": {"https": free_port(), "http": free_port(), "metrics": free_port()},
                "upstreams": {
                    "sfu": {"host": SFU_HOST, "addresses": here, "port": sfu.port},
                    "turn": {
                        "host": TURN_HOST,
                        "addresses": here,
                        "port": turn,
                        "terminateTls": terminate_turn,
                        "connectionsPerAddress": turn_connections,
                    },
                    "api": {"host": "localhost", "port": api.port, "podLabels": labels},
                    "s3": {"host": "localhost", "port": s3.port, "podLabels": labels},
                },
                "rateLimit": {"requestsPer10s": 10000, "connections": 10000, "joinsPer60s": joins},
                **changes,
            }
            text = changed(configuration(template(helm, "edge", values), tls, dns.port), replaced or {})
            directory = tmp_path_factory.mktemp("edge")
            return stack.enter_context(running(haproxy, text, directory, tls / "ca.crt", ready))

        yield start


@pytest.fixture(scope="session")
def edge(start: Start) -> Edge:
    return start(ready=("sfu", "turn_servers"))


@pytest.fixture(scope="session")
def local_edge(start: Start) -> Edge:
    return start(domain="lk.localhost", plainLocalhost=True)
