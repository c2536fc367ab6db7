"""How the edge learns from DNS which pods there are: nobody new goes to one that is told to stop."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from common.waiting import wait_until
from tests.manifests.edge.conftest import DOMAIN, SFU_HOST, TURN_HOST, whole
from tests.manifests.edge.dns import Dns
from tests.manifests.edge.haproxy import Edge, Service, changed, configuration, running, turn_server
from tests.manifests.rendering import template
from tests.ports import free_port
from tests.support.speed import scaled

TURN_A, TURN_B = "127.0.0.1", "127.0.0.2"
TURN = whole(TURN_HOST)
# A fifth of the chart's times, for the tests that wait for their end.
_QUICK = {
    "timeout resolve 1s": "timeout resolve 200ms",
    "timeout retry 1s": "timeout retry 200ms",
    "hold valid 1s": "hold valid 200ms",
    "hold obsolete 2s": "hold obsolete 400ms",
}
# What DNS no longer names is held for 400 ms. Within so many questions that is over, and was seen.
_QUESTIONS = 8


@pytest.fixture
def own_dns() -> Iterator[Dns]:
    with Dns() as dns:
        dns.addresses = {TURN: (TURN_A, TURN_B), whole(SFU_HOST): ("127.0.0.1",)}
        yield dns


@pytest.fixture
def replaced() -> dict[str, str]:
    """Lines of the chart's configuration, and what the edge has in their place. A test may give others."""
    return {}


@pytest.fixture
def edge(
    *, helm: Path, haproxy: list[str], tls: Path, own_dns: Dns, tmp_path: Path, replaced: dict[str, str]
) -> Iterator[Edge]:
    """An edge with two TURN servers behind it, which say who they are."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "tls.crt", tls / "tls.key")
    port = free_port()
    with ExitStack() as stack:
        sfu = stack.enter_context(Service("sfu"))
        for address in (TURN_A, TURN_B):
            stack.enter_context(turn_server(context, address, port, address.encode()))
        values = {
            "domain": DOMAIN,
            "tlsSecretName": "edge-tls",
            "ports": {"https": free_port(), "http": free_port(), "metrics": free_port()},
            "upstreams": {
                "sfu": {"host": SFU_HOST, "addresses": ["127.0.0.1"], "port": sfu.port},
                "turn": {"host": TURN_HOST, "addresses": [TURN_A, TURN_B], "port": port},
                "api": {"host": "localhost", "port": sfu.port, "podLabels": {"a": "b"}},
            },
        }
        text = changed(configuration(template(helm, "edge", values), tls, own_dns.port), replaced)
        yield stack.enter_context(running(haproxy, text, tmp_path, tls / "ca.crt", ("sfu", "turn_servers")))


def _connect(edge: Edge) -> tuple[socket.socket, str]:
    """A connection by the TURN name, and the server at its end."""
    connection = edge.connect(name=f"turn.{DOMAIN}")
    return connection, _answer(connection)


def _answer(connection: socket.socket) -> str:
    connection.sendall(b"\n")
    return connection.recv(1000).decode().strip()


def _servers(edge: Edge, count: int) -> set[str]:
    """Those that new connections get to."""
    found = set()
    for _ in range(count):
        connection, server = _connect(edge)
        connection.close()
        found.add(server)
    return found


def _both(edge: Edge) -> dict[str, socket.socket]:
    """A connection to each server, both open."""
    held = dict(_connect(edge)[::-1] for _ in range(2))
    assert set(held) == {TURN_A, TURN_B}
    return held


def test_a_server_that_dns_no_longer_names_keeps_its_connections_and_gets_no_new_ones(
    edge: Edge, own_dns: Dns
) -> None:
    held = _both(edge)
    own_dns.addresses[TURN] = (TURN_A,)
    wait_until(lambda: _servers(edge, 10) == {TURN_A}, timeout=10, describe="it to be left alone")
    # It has fewer connections, and answers as before: what would draw clients to it.
    others = [_connect(edge) for _ in range(10)]
    assert {server for _, server in others} == {TURN_A}
    for address, connection in held.items():
        assert _answer(connection) == address
    own_dns.addresses[TURN] = (TURN_A, TURN_B)
    wait_until(lambda: TURN_B in _servers(edge, 4), timeout=10, describe="it to be found again")
    assert _answer(held[TURN_B]) == TURN_B
    for connection in (*held.values(), *(connection for connection, _ in others)):
        connection.close()


@pytest.mark.parametrize("replaced", [_QUICK], ids=["quick"])
@pytest.mark.parametrize("kind", ["silent", "no such name"])
def test_without_an_answer_those_that_are_known_stay(edge: Edge, own_dns: Dns, kind: str) -> None:
    held = _both(edge)
    if kind == "silent":
        own_dns.silent = True
    else:
        own_dns.addresses.clear()
    before = own_dns.questions[TURN]
    wait_until(
        lambda: own_dns.questions[TURN] >= before + _QUESTIONS,
        timeout=scaled(20),
        describe=f"{_QUESTIONS} more questions",
        interval=0.05,
    )
    assert _servers(edge, 10) == {TURN_A, TURN_B}
    assert edge.ask(f"sfu.{DOMAIN}").status == 200
    for address, connection in held.items():
        assert _answer(connection) == address
        connection.close()


def test_whole_names_are_asked_for(edge: Edge, own_dns: Dns) -> None:
    assert set(own_dns.questions) == {TURN, whole(SFU_HOST)}
