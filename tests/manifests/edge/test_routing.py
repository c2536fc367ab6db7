"""Where the edge leads requests to, and what it says on the way."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from common.waiting import wait_until
from tests.edge_client import token
from tests.manifests.edge.conftest import DOMAIN, SFU_HOST, Start
from tests.manifests.edge.dns import Dns
from tests.manifests.edge.haproxy import ENVIRONMENT, Edge, Service, configuration, running
from tests.manifests.rendering import CASES, Manifest, template
from tests.ports import free_port
from tests.websocket import upgrade

EDGE_CASES = [case for case in CASES if case.chart == "edge"]
FORGED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "gopher",
    "X-Real-IP": "203.0.113.9",
    "Forwarded": "for=203.0.113.9",
    "CF-Connecting-IP": "203.0.113.9",
    "True-Client-IP": "203.0.113.9",
}
OWN_HEADERS = {
    "X-Frame-Options": "SAMEORIGIN",
    "Content-Security-Policy": "default-src 'self'",
    "Referrer-Policy": "origin",
}
ADDED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "content-security-policy": "frame-ancestors 'none'",
}


@pytest.mark.parametrize("case", EDGE_CASES, ids=str)
def test_haproxy_takes_every_rendering_without_a_warning(
    haproxy: list[str], tls: Path, tmp_path: Path, manifests: list[Manifest]
) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(configuration(manifests, tls))
    done = subprocess.run(
        [*haproxy, "-c", "-f", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    assert "[WARNING]" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("host", "path", "service"),
    [
        (f"sfu.{DOMAIN}", "/rtc?protocol=9", "sfu"),
        (f"sfu.{DOMAIN}", "/", "sfu"),
        (f"SFU.{DOMAIN.upper()}:443", "/twirp/livekit.RoomService/ListRooms", "sfu"),
        (f"api.{DOMAIN}", "/v1/token", "api"),
        (f"api.{DOMAIN}", "/rtc", "api"),
        (f"s3.{DOMAIN}", "/recordings/a?X-Amz-Signature=1", "s3"),
        (f"s3.{DOMAIN}", "/metrics", "s3"),
        (DOMAIN, "/rtc", "sfu"),
        (DOMAIN, "/rtc/v1?x", "sfu"),
        (DOMAIN, "/twirp/livekit.RoomService/ListRooms", "sfu"),
        (DOMAIN, "/rtcs", "api"),
        (DOMAIN, "/", "api"),
    ],
)
def test_requests_find_their_service_unchanged(edge: Edge, host: str, path: str, service: str) -> None:
    seen = edge.ask(host, path, method="POST", body="x" * 100000).seen
    assert (seen["service"], seen["path"], seen["body"]) == (service, path, "x" * 100000)
    # A signature covers it.
    assert seen["headers"]["host"] == host


@pytest.mark.parametrize(
    "path",
    ["/metrics", "/%6detrics", "/v1/webhooks/livekit", "/v1/%77ebhooks/livekit", "/v1/webhooks/livekit/"],
)
@pytest.mark.parametrize("host", [DOMAIN, f"api.{DOMAIN}"])
def test_what_is_for_callers_inside_is_not_there_from_outside(edge: Edge, host: str, path: str) -> None:
    assert edge.ask(host, path, method="POST").status == 404
    # What the host application calls is.
    assert edge.ask(host, "/v1/webhook-endpoints", method="POST").seen["service"] == "api"


@pytest.mark.parametrize(
    "path",
    [
        "/whip/v1",
        "/whip/v1/PA_1",
        "//whip/v1",
        "/%77hip/v1",
        "/rtc/../whip/v1",
        "/rtc/%2e%2e/whip/v1",
        "/twirp/../whip/v1",
        "/rtc/",
        "/debug/rooms",
        "/twirp/livekit.RoomService/ListRooms/x",
    ],
)
def test_the_edge_forwards_nothing_to_sfus_that_clients_do_not_use(edge: Edge, path: str) -> None:
    """WHIP creates rooms that no join may create."""
    given = {"Authorization": f"Bearer {token('u:old')}", "Content-Type": "application/sdp"}
    assert edge.ask(f"sfu.{DOMAIN}", path, method="POST", headers=given, body="v=0").status == 404


@pytest.mark.parametrize(
    "host", ["example.org", f"other.{DOMAIN}", f"turn.{DOMAIN}", "localhost", "127.0.0.1"]
)
def test_an_unknown_host_is_nobody_s(edge: Edge, host: str) -> None:
    connection = edge.connect(name=f"api.{DOMAIN}")
    connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert connection.recv(1000).startswith(b"HTTP/1.1 421 ")
    connection.close()
    assert edge.ask(host, plain=True).status == 421


def test_a_client_cannot_say_who_it_is(edge: Edge) -> None:
    seen = edge.ask(f"api.{DOMAIN}", headers=FORGED, source="127.0.0.3").seen["headers"]
    assert seen["x-forwarded-for"] == "127.0.0.3"
    assert seen["x-forwarded-proto"] == "https"
    assert "203.0.113.9" not in json.dumps(seen)


def test_what_browsers_are_told_is_added_where_the_service_said_nothing(edge: Edge) -> None:
    for host in (DOMAIN, f"api.{DOMAIN}", f"sfu.{DOMAIN}"):
        headers = edge.ask(host).headers
        assert {**ADDED, "strict-transport-security": "max-age=31536000"}.items() <= headers.items()
        assert "server" not in headers
    store = edge.ask(f"s3.{DOMAIN}").headers
    assert not {*ADDED, "strict-transport-security"} & set(store)
    assert store["server"].startswith("s3-server")


def test_what_the_service_said_stays(
    helm: Path, haproxy: list[str], tls: Path, dns: Dns, tmp_path: Path
) -> None:
    with Service("api", headers=OWN_HEADERS) as api, Service("sfu") as sfu:
        values = {
            "domain": DOMAIN,
            "tlsSecretName": "edge-tls",
            "ports": {"https": free_port(), "http": free_port(), "metrics": free_port()},
            "upstreams": {
                "sfu": {"host": SFU_HOST, "addresses": ["127.0.0.1"], "port": sfu.port},
                "api": {"host": "localhost", "port": api.port, "podLabels": {"a": "b"}},
            },
        }
        text = configuration(template(helm, "edge", values), tls, dns.port)
        with running(haproxy, text, tmp_path, tls / "ca.crt") as edge:
            headers = edge.ask(DOMAIN).headers
            assert {key: headers[key.lower()] for key in OWN_HEADERS} == OWN_HEADERS
            # No store is behind it.
            assert edge.ask(f"s3.{DOMAIN}", plain=True).status == 421


@pytest.mark.parametrize("host", [DOMAIN, f"sfu.{DOMAIN}", f"api.{DOMAIN}:80", f"s3.{DOMAIN}"])
def test_plain_http_is_sent_to_https(edge: Edge, host: str) -> None:
    answer = edge.ask(host, "/a/b?c=d", plain=True, method="POST")
    assert answer.status == 308
    assert answer.headers["location"] == f"https://{host.partition(':')[0]}/a/b?c=d"
    assert "strict-transport-security" not in answer.headers


def test_the_redirect_names_a_port_that_is_not_the_default(start: Start) -> None:
    answer = start(publicPorts={"https": 7443, "http": 7080}).ask(DOMAIN, "/x", plain=True)
    assert answer.headers["location"] == f"https://{DOMAIN}:7443/x"


@pytest.mark.parametrize(
    ("host", "path", "service"),
    [
        ("localhost:8000", "/", "api"),
        ("localhost", "/rtc", "sfu"),
        ("127.0.0.1:7080", "/rtc/validate", "sfu"),
        ("studio.localhost", "/", "api"),
        ("sfu.lk.localhost:7080", "/", "sfu"),
        ("s3.lk.localhost", "/bucket/key", "s3"),
    ],
)
def test_localhost_is_served_plain_where_that_is_wanted(
    local_edge: Edge, host: str, path: str, service: str
) -> None:
    seen = local_edge.ask(host, path, plain=True, headers=FORGED).seen
    assert (seen["service"], seen["headers"]["x-forwarded-proto"]) == (service, "http")
    assert seen["headers"]["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize("host", ["example.org", "localhost.example.org", "127.0.0.11"])
def test_nobody_else_is_served_plain(local_edge: Edge, host: str) -> None:
    assert local_edge.ask(host, plain=True).status == 421


def test_localhost_is_not_bound_to_https(local_edge: Edge) -> None:
    assert "strict-transport-security" not in local_edge.ask("api.lk.localhost").headers


@pytest.mark.parametrize("terminates", [False, True])
def test_the_turn_name_leads_to_the_turn_server(start: Start, edge: Edge, terminates: bool) -> None:
    other = start(terminate_turn=True, ready=("turn_servers",)) if terminates else edge
    with other.connect(name=f"turn.{DOMAIN}") as connection:
        connection.sendall(b"hello")
        assert connection.recv(1000) == b"turn:hello"
    wait_until(
        lambda: any(line.get("backend") == "turn_servers" for line in other.requests_logged()),
        timeout=10,
        describe="the TURN connection in the log",
    )


@pytest.mark.parametrize("plain", [False, True])
def test_websockets_pass_and_get_no_headers_of_ours(edge: Edge, local_edge: Edge, plain: bool) -> None:
    one, host = (local_edge, "localhost") if plain else (edge, f"sfu.{DOMAIN}")
    with one.connect(plain=plain, name=host) as connection:
        head = upgrade(connection, host, f"/rtc?access_token={token('somebody')}").lower()
        assert head.startswith(b"http/1.1 101 ")
        assert b"content-security-policy" not in head
        connection.sendall(b"frame")
        assert connection.recv(1000) == b"frame"


def test_nobody_is_sent_to_an_sfu_that_says_it_cannot(start: Start) -> None:
    """LiveKit says 406 at `/` while Redis is away."""
    without = start(sfu_health=406, ready=())
    wait_until(
        lambda: without.ask(f"sfu.{DOMAIN}").status == 503,
        timeout=20,
        describe="the SFU to be taken out",
    )
    assert without.ask(f"api.{DOMAIN}").status == 200
