"""What the edge keeps out, what it allows, and what its log leaves out."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

import pytest

from common.waiting import wait_until
from tests.manifests.edge.conftest import DOMAIN, Start
from tests.manifests.edge.haproxy import Edge, metrics_page


def _client(edge: Edge, version: ssl.TLSVersion, ciphers: str = "ALL") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=edge.ca)
    context.minimum_version = context.maximum_version = version
    # Otherwise this machine's own policy refuses what the edge is to refuse.
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    return context


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated:DeprecationWarning")
def test_tls_before_1_2_is_refused_by_the_edge(edge: Edge) -> None:
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        edge.connect(name=DOMAIN, context=_client(edge, ssl.TLSVersion.TLSv1_1))


def test_tls_1_2_needs_forward_secrecy_and_an_authenticated_cipher(edge: Edge) -> None:
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        edge.connect(
            name=DOMAIN, context=_client(edge, ssl.TLSVersion.TLSv1_2, "AES128-SHA:ECDHE-ECDSA-AES128-SHA")
        )
    with edge.connect(name=DOMAIN, context=_client(edge, ssl.TLSVersion.TLSv1_2)) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        assert (cipher := connection.cipher()) is not None
        assert cipher[0].startswith("ECDHE-ECDSA-")


def test_tls_1_3_and_http_2_are_offered(edge: Edge) -> None:
    context = ssl.create_default_context(cafile=edge.ca)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with edge.connect(name=DOMAIN, context=context) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        assert (connection.version(), connection.selected_alpn_protocol()) == ("TLSv1.3", "h2")


@pytest.mark.parametrize("name", ["", "unknown.example.net"])
def test_who_names_nobody_gets_the_default_certificate(edge: Edge, tls: Path, name: str) -> None:
    context = ssl.create_default_context(cafile=edge.ca)
    context.check_hostname = False
    with edge.connect(name=name, context=context) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        assert connection.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(
            (tls / "tls.crt").read_text()
        )


@pytest.fixture(scope="module")
def impatient(start: Start) -> Edge:
    """Its limits of time are shorter than the chart's."""
    return start(
        ready=("sfu", "turn_servers"),
        replaced={
            "tcp-request inspect-delay 5s": "tcp-request inspect-delay 500ms",
            "timeout http-request 10s": "timeout http-request 1s",
        },
    )


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02", b""])
def test_who_does_not_begin_with_a_name_is_cut_off_in_seconds(impatient: Edge, sent: bytes) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", impatient.https), timeout=20) as connection:
        connection.sendall(sent)
        assert not _received(connection)
    assert time.monotonic() - began < 8


def test_who_sends_a_request_bit_by_bit_is_cut_off(impatient: Edge) -> None:
    with impatient.connect(name=DOMAIN) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
        connection.settimeout(15)
        assert b" 408 " in _received(connection)


def test_headers_have_a_limit_that_livekit_s_tokens_keep(edge: Edge) -> None:
    assert edge.ask(f"sfu.{DOMAIN}", f"/rtc?access_token={'x' * 20000}").status == 200
    assert edge.ask(f"sfu.{DOMAIN}", f"/rtc?access_token={'x' * 40000}").status in (400, 414)


def _received(connection: socket.socket) -> bytes:
    """What came; nothing where the connection is closed."""
    try:
        return connection.recv(1000)
    except ConnectionError:
        return b""


def test_requests_above_the_rate_are_told_to_come_back(start: Start) -> None:
    limited = start(rateLimit={"requestsPer10s": 5, "connections": 10000, "joinsPer60s": 10000})
    answers = [limited.ask(f"api.{DOMAIN}") for _ in range(7)]
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 2
    assert answers[-1].headers["retry-after"] == "10"
    # By the client's address, also behind the inner connection.
    assert limited.ask(f"api.{DOMAIN}", source="127.0.0.2").status == 200
    # The same account for both ports.
    assert limited.ask(f"api.{DOMAIN}", plain=True).status == 429


def test_one_address_cannot_take_all_connections(start: Start) -> None:
    limited = start(rateLimit={"requestsPer10s": 10000, "connections": 3, "joinsPer60s": 10000})
    held = [limited.connect(name=DOMAIN) for _ in range(3)]
    with pytest.raises((ConnectionError, ssl.SSLError)):
        limited.connect(name=DOMAIN)
    limited.connect(name=DOMAIN, source="127.0.0.2").close()
    held.pop().close()
    wait_until(lambda: _connects(limited), timeout=10, describe="a place to be free again")
    for connection in held:
        connection.close()


def _connects(edge: Edge) -> bool:
    try:
        edge.connect(name=DOMAIN).close()
    except (ConnectionError, ssl.SSLError):
        return False
    return True


def test_the_log_tells_of_each_request_and_of_no_token(edge: Edge) -> None:
    secrets = ("s3cr3t-t0ken", "s1gnature")
    edge.ask(f"sfu.{DOMAIN}", f"/rtc/validate?access_token={secrets[0]}", source="127.0.0.4")
    edge.ask(f"s3.{DOMAIN}", f"/b/logged?X-Amz-Signature={secrets[1]}", source="127.0.0.4")
    edge.ask(f"api.{DOMAIN}", f"/plain?access_token={secrets[0]}", source="127.0.0.4", plain=True)

    def logged() -> list[tuple[str, str, int]]:
        lines = [line for line in edge.requests_logged() if line["client"] == "127.0.0.4"]
        return [(line["host"], line["path"], line["status"]) for line in lines]

    wait_until(lambda: len(logged()) >= 3, timeout=10, describe="three requests in the log")
    # HAProxy's threads write what they end at the same time in any order.
    assert sorted(logged()) == [
        (f"api.{DOMAIN}", "/plain", 308),
        (f"s3.{DOMAIN}", "/b/logged", 200),
        (f"sfu.{DOMAIN}", "/rtc/validate", 200),
    ]
    for secret in secrets:
        assert secret not in edge.log.read_text()


@pytest.mark.parametrize("path", ["/metrics", "/%6detrics", "/metrics?x"])
def test_metrics_are_read_inside_only(edge: Edge, path: str) -> None:
    assert edge.ask(f"api.{DOMAIN}", path).status == 404
    assert edge.ask(DOMAIN, path).status == 404
    assert 'haproxy_backend_http_responses_total{proxy="api",code="2xx"}' in metrics_page(edge)
