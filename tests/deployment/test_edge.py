"""The stack's edge as clients meet it: certificates, names, headers, limits, and what its log leaves out."""

from __future__ import annotations

import json
import re
import secrets
import socket
import ssl
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography import x509

from common.waiting import wait_until
from loadtest.targets.resolving import edge_client, trust
from tests.deployment.kubectl import Kubectl
from tests.running import RunningStack

_SELECTOR = "app.kubernetes.io/name=edge"
# Less, and a renewal that fails has no time to be noticed.
_LEAST_DAYS_LEFT = 7
_SERVICES = ("", "sfu.", "turn.", "api.", "s3.")


@dataclass(frozen=True)
class Edge:
    """Every place at which it answers, and the ports there."""

    addresses: tuple[str, ...]
    https: int
    http: int
    pods: tuple[str, ...]
    names: tuple[str, ...]
    domain: str
    trust: ssl.SSLContext

    def connect(self, address: str, name: str, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        plain = socket.create_connection((address, self.https), timeout=10)
        return (context or self.trust).wrap_socket(plain, server_hostname=name or None)

    def plain(self, address: str, host: str, path: str = "/") -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=10) as client:
            return client.get(f"http://{address}:{self.http}{path}", headers={"Host": host})


@pytest.fixture(scope="module")
def edge(stack: RunningStack, platform: str, kubectl: Kubectl) -> Edge:
    found = kubectl.get("pods", "-n", platform, "-l", _SELECTOR)
    assert found, "the stack runs no edge"
    ports = {
        port["name"]: port["hostPort"]
        for container in found[0]["spec"]["containers"]
        for port in container.get("ports", [])
        if "hostPort" in port
    }
    outputs = stack.outputs
    return Edge(
        addresses=tuple(map(str, outputs.edge_addresses)),
        https=ports["https"],
        http=ports["http"],
        pods=tuple(pod["metadata"]["name"] for pod in found),
        names=tuple(f"{service}{outputs.domain}" for service in _SERVICES),
        domain=outputs.domain,
        trust=trust(outputs),
    )


def test_the_certificate_is_good_for_every_name_at_every_address_and_for_days_to_come(edge: Edge) -> None:
    assert edge.addresses
    for address in edge.addresses:
        for name in edge.names:
            with edge.connect(address, name) as connection:
                der = connection.getpeercert(binary_form=True)
                assert connection.version() == "TLSv1.3"
            assert der is not None
            left = x509.load_der_x509_certificate(der).not_valid_after_utc - datetime.now(UTC)
            assert left > timedelta(days=_LEAST_DAYS_LEFT), f"{left} left for {name} at {address}"


def test_another_authority_is_not_taken_for_it(stack: RunningStack, edge: Edge) -> None:
    if not stack.outputs.ca_certificate:
        # Its certificate is by a public authority, and this machine knows those.
        return
    with pytest.raises(ssl.SSLCertVerificationError):
        edge.connect(edge.addresses[0], edge.domain, ssl.create_default_context())


@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated:DeprecationWarning")
def test_old_tls_is_refused(edge: Edge) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    # Otherwise this machine's own policy refuses what the edge is to refuse.
    context.set_ciphers("ALL:@SECLEVEL=0")
    for address in edge.addresses:
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            edge.connect(address, edge.domain, context)


def test_the_turn_name_leads_to_a_turn_server(edge: Edge) -> None:
    transaction = secrets.token_bytes(12)
    for address in edge.addresses:
        with edge.connect(address, f"turn.{edge.domain}") as connection:
            connection.settimeout(10)
            # RFC 5389: a binding request, and the answer to it.
            connection.sendall(struct.pack("!HHI", 1, 0, 0x2112A442) + transaction)
            kind, _, cookie = struct.unpack("!HHI", connection.recv(8))
            assert (kind, cookie) == (0x0101, 0x2112A442)


def test_names_lead_to_their_services(stack: RunningStack, edge: Edge) -> None:
    outputs = stack.outputs
    key = outputs.api_service_key.get_secret_value()
    body = {"room_name": "test_edge", "participant_identity": "somebody"}
    sfu = outputs.signal_url.replace("wss://", "https://")
    bare = outputs.api_url.replace("//api.", "//")
    with edge_client(outputs) as client:
        assert client.get(f"{sfu}/").text == "OK"
        minted = client.post(
            f"{outputs.api_url}/v1/token", json=body, headers={"Authorization": f"Bearer {key}"}
        )
        assert minted.status_code == 201, minted.text
        assert client.get(f"{bare}/healthz").status_code == 200
        # LiveKit's answer to a request without a token.
        assert client.get(f"{bare}/rtc/validate").status_code == 401
        if outputs.s3_endpoint == outputs.api_url.replace("//api.", "//s3."):
            denied = client.get(f"{outputs.s3_endpoint}/{outputs.s3_bucket}")
            assert (denied.status_code, "AccessDenied" in denied.text) == (403, True)


def test_a_name_that_is_not_the_platform_s_is_served_by_nobody(edge: Edge) -> None:
    for address in edge.addresses:
        assert edge.plain(address, "example.org").status_code == 421
        with edge.connect(address, edge.domain) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 421 ")


def test_plain_http_is_redirected_or_served_to_localhost_only(stack: RunningStack, edge: Edge) -> None:
    """Where localhost is served plain, all names below it are; the redirect has tests in tests/manifests."""
    served = stack.outputs.browser_urls is not None
    for address in edge.addresses:
        at_localhost = edge.plain(address, "localhost", "/healthz")
        assert at_localhost.status_code == (200 if served else 421)
        named = edge.plain(address, edge.domain, "/healthz")
        if served and edge.domain.endswith(".localhost"):
            assert named.status_code == 200
        else:
            assert named.status_code == 308
            assert named.headers["location"].startswith(f"https://{edge.domain}")


def test_answers_carry_security_headers_and_the_store_s_do_not(stack: RunningStack, edge: Edge) -> None:
    with edge_client(stack.outputs) as client:
        headers = client.get(f"{stack.outputs.api_url}/healthz").headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"
        hsts = not edge.domain.endswith(".localhost")
        assert ("strict-transport-security" in headers) == hsts
        assert "server" not in headers
        if stack.outputs.s3_endpoint == stack.outputs.api_url.replace("//api.", "//s3."):
            assert "content-security-policy" not in client.get(f"{stack.outputs.s3_endpoint}/").headers


def test_metrics_are_not_for_the_public(stack: RunningStack, edge: Edge) -> None:
    with edge_client(stack.outputs) as client:
        assert client.get(f"{stack.outputs.api_url}/metrics").status_code == 404


def test_the_log_has_requests_and_no_tokens(
    stack: RunningStack, edge: Edge, platform: str, kubectl: Kubectl
) -> None:
    marker, token = f"/rtc/{secrets.token_hex(8)}", f"token{secrets.token_hex(16)}"
    sfu = stack.outputs.signal_url.replace("wss://", "https://")
    with edge_client(stack.outputs) as client:
        client.get(f"{sfu}{marker}", params={"access_token": token})

    def log() -> str:
        words = ("logs", "--all-containers", "--tail=2000")
        return "".join(kubectl("-n", platform, *words, pod).stdout for pod in edge.pods)

    wait_until(lambda: marker in log(), timeout=20, describe="the request in an edge's log")
    [line] = [json.loads(line) for line in log().splitlines() if marker in line]
    assert (line["path"], line["host"], line["backend"]) == (marker, f"sfu.{edge.domain}", "sfu")
    assert token not in log()


def test_who_asks_too_often_is_told_when_to_come_back(
    edge: Edge, platform: str, kubectl: Kubectl, scratch: str
) -> None:
    """From a pod: all other tests have this machine's address, and their requests would count for it."""
    configured = kubectl("-n", platform, "get", "configmap", "edge", "-o", "yaml").stdout
    [limit] = {
        int(number) for number in re.findall(r"sc_http_req_rate\(1,requests_of\) gt (\d+)", configured)
    }
    kubectl.start_pod(scratch, "eager")
    answers = kubectl.in_pod(
        scratch,
        "eager",
        # Its end of the connection stays open until the answers are there.
        f"{{ i=0; while [ $i -le {limit + 20} ]; do i=$((i + 1)); "
        r"printf 'GET / HTTP/1.1\r\nHost: example.org\r\n\r\n'; done; sleep 3; } "
        f"| nc -w 9 {edge.addresses[0]} {edge.http}",
    ).stdout
    assert answers.count("HTTP/1.1 421 ") == limit
    assert answers.count("HTTP/1.1 429 ") >= 1
    assert re.search(r"^retry-after: \d+\s*$", answers, re.MULTILINE | re.IGNORECASE)


@pytest.mark.parametrize("target", ["redis", "kubernetes"])
def test_the_edge_reaches_what_it_serves_and_nothing_else(
    edge: Edge, platform: str, kubectl: Kubectl, target: str
) -> None:
    def connects(host: str, port: int) -> bool:
        script = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{host}/{port}'"
        words = ("exec", edge.pods[0], "-c", "haproxy", "--", "bash", "-c", script)
        return kubectl("-n", platform, *words, check=False).ok

    def port_of(service: str, namespace: str) -> int:
        found = kubectl("-n", namespace, "get", "service", service, "-o", "jsonpath={.spec.ports[0].port}")
        return int(found.stdout)

    namespace = "default" if target == "kubernetes" else platform
    assert connects("token-api", port_of("token-api", platform)), "the probe must be able to connect at all"
    assert not connects(f"{target}.{namespace}.svc", port_of(target, namespace))
