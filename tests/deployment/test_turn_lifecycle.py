"""coturn over time: its certificate, a changed one, and how it stops."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from common.waiting import wait_until
from loadtest.targets.outputs import endpoint_of
from tests.deployment.kubectl import Kubectl
from tests.deployment.turn_client import Refused, Server, allocate, credentials, until
from tests.deployment.turn_servers import Pod, Turn, find, pods_of, relays_reach_each_other, secret_of
from tests.running import RunningStack

# Less, and a renewal that fails has no time to be noticed.
_LEAST_DAYS_LEFT = 7
# Kubernetes tells its DNS, and the edge asks that each second and waits two more.
_HEARD_OF_SECONDS = 5
_TRIES = 10


@pytest.fixture
def turn(stack: RunningStack, kubectl: Kubectl) -> Turn:
    _rolled_out(kubectl, stack.outputs.namespace)
    return find(stack, kubectl)


def _rolled_out(kubectl: Kubectl, namespace: str) -> None:
    """Wait until every server runs, also where the test before this one stopped some."""
    kubectl("-n", namespace, "rollout", "status", "deployment/coturn", "--timeout=150s", timeout=160)


def _served(address: str, port: int, name: str) -> x509.Certificate:
    """The certificate that is served, whoever signed it."""
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((address, port), timeout=10) as plain,
        anybody.wrap_socket(plain, server_hostname=name) as tls,
    ):
        certificate = tls.getpeercert(binary_form=True)
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate)


def test_the_certificate_is_good_for_the_name_and_for_days_to_come(turn: Turn) -> None:
    for pod in turn.pods:
        with (
            socket.create_connection((pod.address, pod.turn), timeout=10) as plain,
            turn.trust.wrap_socket(plain, server_hostname=turn.name) as tls,
        ):
            assert tls.version() == "TLSv1.3"
        left = _served(pod.address, pod.turn, turn.name).not_valid_after_utc - datetime.now(UTC)
        assert left > timedelta(days=_LEAST_DAYS_LEFT), f"{left} left at {pod.address}"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize(
    ("version", "ciphers", "taken"),
    [
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", False),
        (ssl.TLSVersion.TLSv1_2, "AES256-SHA:AES128-GCM-SHA256:ECDHE-ECDSA-AES128-SHA", False),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM", True),
    ],
    ids=["TLS 1.1", "TLS 1.2 with old ciphers", "TLS 1.2"],
)
def test_only_modern_tls_is_spoken(turn: Turn, version: ssl.TLSVersion, ciphers: str, taken: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    for pod in turn.pods:
        with socket.create_connection((pod.address, pod.turn), timeout=10) as plain:
            try:
                context.wrap_socket(plain, server_hostname=turn.name).close()
            except (ssl.SSLError, ConnectionResetError):
                assert not taken
            else:
                assert taken


def _self_signed(name: str) -> dict[str, str]:
    """tls.crt and tls.key that nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pkcs8 = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "tls.crt": certificate.public_bytes(serialization.Encoding.PEM).decode(),
        "tls.key": key.private_bytes(serialization.Encoding.PEM, *pkcs8).decode(),
    }


@dataclass(frozen=True)
class _Certificate:
    """The Secret with the stack's certificate, as a test changes it."""

    kubectl: Kubectl
    namespace: str
    name: str

    def put(self, data: dict[str, str]) -> None:
        """Change the Secret, and make kubelets update the pods that mount it."""
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
        # Not as an argument: other processes could read the private key there.
        patch = ("patch", "secret", self.name, "--patch-file=/dev/stdin")
        self.kubectl("-n", self.namespace, *patch, input=json.dumps({"data": encoded}))
        mounting = [
            pod["metadata"]["name"]
            for pod in self.kubectl.get("pods", "-n", self.namespace)
            if any(
                volume.get("secret", {}).get("secretName") == self.name
                for volume in pod["spec"].get("volumes", [])
            )
        ]
        self.kubectl.touch_pods(self.namespace, *mounting)


_Place = tuple[str, int, str]


@contextmanager
def _another_certificate(
    certificate: _Certificate, name: str, places: list[_Place]
) -> Iterator[x509.Certificate]:
    """A certificate of the test's own in the Secret, for as long as the block runs."""
    before = secret_of(certificate.kubectl, certificate.namespace, certificate.name)
    served = {place: _served(*place) for place in places}
    other = _self_signed(name)
    try:
        certificate.put(other)
        yield x509.load_pem_x509_certificate(other["tls.crt"].encode())
    finally:
        certificate.put({key: before[key] for key in ("tls.crt", "tls.key")})
        wait_until(
            lambda: all(_served(*place) == served[place] for place in places),
            timeout=180,
            describe="the stack's own certificate to be served everywhere again",
        )


async def test_a_changed_certificate_is_served_while_relays_go_on(
    stack: RunningStack, platform: str, kubectl: Kubectl, turn: Turn, disruptive: None
) -> None:
    certificate = _Certificate(kubectl, platform, turn.tls_secret)
    places = [(pod.address, pod.turn, turn.name) for pod in turn.pods]
    # The edge serves the same one, and must be back for the tests after this one.
    api = urlsplit(stack.outputs.api_url)
    edge = [(str(address), api.port or 443, api.hostname or "") for address in stack.outputs.edge_addresses]
    pods = {found["metadata"]["uid"] for found in pods_of(kubectl, platform)}
    [pod, other, *_] = turn.pods
    peer = (other.address, other.turn)
    with relays_reach_each_other(kubectl, platform, turn):
        async with (
            allocate(pod.udp, credentials(turn.secret)) as udp,
            allocate(pod.tls(turn.name), credentials(turn.secret), turn.trust) as tls,
        ):
            await until(lambda: udp.is_answered(peer), seconds=20)
            with _another_certificate(certificate, turn.name, [*places, *edge]) as other_certificate:
                wait_until(
                    lambda: all(_served(*place) == other_certificate for place in places),
                    timeout=120,
                    describe="the changed certificate to be served",
                )
                for allocation in (udp, tls):
                    await allocation.ask(peer)
            for allocation in (udp, tls):
                await allocation.ask(peer)
    assert {found["metadata"]["uid"] for found in pods_of(kubectl, platform)} == pods


async def _is_refused(turn: Turn, pod: Pod) -> bool:
    try:
        async with allocate(pod.udp, credentials(turn.secret)):
            return False
    except Refused as refused:
        return refused.code == 403


@dataclass
class _Stopping:
    """A pod that was told to go: its log, and the wait for the one that comes after it."""

    kubectl: Kubectl
    namespace: str
    pod: Pod
    log: asyncio.Task[str]

    @classmethod
    def begin(cls, kubectl: Kubectl, namespace: str, pod: Pod) -> _Stopping:
        words = ("-n", namespace, "logs", "--follow", pod.name)
        seconds = pod.drain_seconds + 60

        def follow() -> str:
            return kubectl(*words, timeout=seconds).stdout

        log = asyncio.create_task(asyncio.to_thread(follow))
        kubectl("-n", namespace, "delete", "pod", pod.name, "--wait=false")
        return cls(kubectl, namespace, pod, log)

    async def ended(self) -> str:
        """Its whole log, once it is gone and the next one serves in its place."""
        log = await self.log
        await asyncio.to_thread(_rolled_out, self.kubectl, self.namespace)
        return log


async def test_a_stopping_server_keeps_its_relays_and_takes_no_new_ones(
    stack: RunningStack, platform: str, kubectl: Kubectl, turn: Turn, disruptive: None
) -> None:
    """A stopping server still accepts connections and has the fewest, but the edge must avoid it."""
    (url,) = [url for url in stack.outputs.turn_urls if url.startswith("turns:")]
    port = endpoint_of(url, stack.outputs.address_of).port
    edges = [Server(str(address), port, "tls", turn.name) for address in stack.outputs.edge_addresses]
    pod = turn.pods[-1]
    # What the server that stops relays to must not stop itself.
    peer = (turn.pods[0].address, turn.pods[0].turn)
    assert pod.address != peer[0]
    with relays_reach_each_other(kubectl, platform, turn):
        async with allocate(pod.udp, credentials(turn.secret)) as allocation:
            await until(lambda: allocation.is_answered(peer), seconds=20)
            stopping = _Stopping.begin(kubectl, platform, pod)
            await until(lambda: _is_refused(turn, pod), seconds=20)
            await allocation.ask(peer)
            told = pod.scrape()
            assert (told["turn_up"], told["turn_draining"]) == (1, 1)
            assert told["turn_allocations{udp}"] >= 1
            await asyncio.sleep(_HEARD_OF_SECONDS)
            for edge in edges * _TRIES:
                async with allocate(edge, credentials(turn.secret), turn.trust) as other:
                    assert other.relayed[0] != pod.relays_at
            # The server was still draining during all these attempts.
            assert await _is_refused(turn, pod)
            await allocation.ask(peer)
            assert allocation.relayed[0] == pod.relays_at
    log = await stopping.ended()
    assert f"draining, at most {pod.drain_seconds} s" in log
    # And some more: tries to allocate, in the seconds in which the server waits for the edge to know.
    assert re.search(r"relays now: [1-9]", log), log[-1500:]
    assert "run.sh: drained" in log
    assert "deadline passed" not in log
    assert turn.secret not in log
    # A word of turnserver.conf that it does not know: it goes on without it.
    assert "Bad configuration format" not in log


@pytest.mark.long
async def test_a_drain_has_an_end_and_says_what_it_left(
    platform: str, kubectl: Kubectl, turn: Turn, disruptive: None
) -> None:
    pod = turn.pods[-1]
    # The next server knows nothing of the allocation that is given up in the end, and aioice does not mind.
    async with allocate(pod.udp, credentials(turn.secret)):
        log = await _Stopping.begin(kubectl, platform, pod).ended()
    assert "deadline passed with relays left: 1" in log
