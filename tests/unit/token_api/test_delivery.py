"""How a webhook is sent: signed, only to addresses that were judged, and whatever the receiver is like."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from tests.unit.token_api.receiver import Receiver, webhook_receiver
from token_api.delivery import client as client_module
from token_api.delivery.addresses import (
    Allowed,
    Refused,
    addresses_of,
    allowed_of,
    judge,
    target_of,
)
from token_api.delivery.client import MAX_ANSWER_BYTES, DeliveryClient
from token_api.delivery.retry_after import LONGEST, pause_wanted
from token_api.delivery.signing import new_secret, signed_headers

NAME = "hooks.test"
NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
LOOPBACK = allowed_of(["127.0.0.0/8"])
NOBODY = Allowed()


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254"),
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.1.1", "192.0.0.192", "198.18.0.1"),
        *("224.0.0.1", "239.255.255.255", "255.255.255.255", "168.63.129.16", "192.88.99.1"),
        *("::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::8.8.8.8", "64:ff9b::a9fe:a9fe"),
        *("64:ff9b:1::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1"),
        *("2001::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "3fff::1", "fec0::1"),
    ],
)
def test_no_address_within_is_public(address: str) -> None:
    assert judge(ip_address(address)) is not None


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.215.14", "172.32.0.1", "100.128.0.1", "2606:4700::1", "2a00:1450:4001::1"]
)
def test_public_addresses_are(address: str) -> None:
    assert judge(ip_address(address)) is None


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_what_python_does_not_call_global_is_refused_too(address: IPv4Address | IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert judge(address) is not None


@pytest.mark.parametrize(
    "url",
    [
        *("http://hooks.test/", "ftp://hooks.test/", "//hooks.test/", "hooks.test", "https://", "https:///x"),
        *("https://user:secret@hooks.test/", "https://user@hooks.test/", "https://hooks.test/#x"),
        *("https://hooks.test:0/", "https://hooks.test:99999/", "https://hooks.test:x/"),
        *("https://hooks.test/\r\nX: y", "https://hooks .test/", "https://hooks.test\\@127.0.0.1/"),
        *(
            "https://[::1",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "https://höoks.test/",
            "https://a/\x00",
        ),
        "https://hooks.test/" + "x" * 2048,
    ],
)
def test_urls_of_a_wrong_form_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        target_of(url, NOBODY)


@given(st.text(max_size=60) | st.text(max_size=40).map("https://{}".format))
def test_no_text_makes_an_error_of_ours(url: str) -> None:
    try:
        target_of(url, LOOPBACK)
    except Refused:
        return


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *(("120", 120), (" 7 ", 7), ("86400", 86400), ("86401", 86400), ("9999999999", 86400)),
        ("Wed, 02 Jan 2030 03:06:05 GMT", 120),
        # RFC 9110 has receivers take the two old forms, too.
        ("Wednesday, 02-Jan-30 03:06:05 GMT", 120),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 86400),
        *(("Wed, 02 Jan 2030 03:04:05 GMT", None), ("Tue, 01 Jan 2030 00:00:00 GMT", None)),
        *(("", None), ("0", None), ("-5", None), ("1.5", None), ("soon", None), ("\u0661", None)),
        *(("12345678901", None), ("Wed, 99 Jan 2030 03:06:05 GMT", None), ("1e3", None)),
        # Of which zone it does not say.
        ("Wed, 02 Jan 2030 03:06:05", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_bounded(header: str, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)
    for asking in (429, 503):
        assert pause_wanted(asking, header, NOW) == expected
    for other in (None, 200, 301, 404, 500):
        assert pause_wanted(other, header, NOW) is None


@given(st.text() | st.text("0123456789 :,GMTJan", max_size=30))
def test_no_text_of_a_receiver_makes_a_pause_too_long_or_an_error(header: str) -> None:
    pause = pause_wanted(503, header, NOW)
    assert pause is None or timedelta(0) < pause <= LONGEST


def test_http_goes_only_to_what_is_configured() -> None:
    allowed = allowed_of(["10.1.0.0/16", "inner.test", "other.test:3000"])
    for url in ("http://10.1.2.3/", "http://inner.test:81/", "http://other.test:3000/"):
        target_of(url, allowed)
    for url in ("http://10.2.0.1/", "http://other.test/", "http://inner.test.evil.test/"):
        with pytest.raises(Refused):
            target_of(url, allowed)


# Spellings of loopback that a C library knows; the resolver makes addresses of them, which are judged.
@pytest.mark.parametrize(
    "host", ["localhost", "127.1", "2130706433", "0x7f.1", "017700000001", "[::1]", "[::ffff:127.0.0.1]", "0"]
)
async def test_no_spelling_of_loopback_gets_through(host: str) -> None:
    with pytest.raises(Refused):
        await DeliveryClient(NOBODY).check(f"https://{host}/")


@pytest.mark.parametrize("found", [["10.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["93.184.215.14", "::1"], []])
async def test_a_host_with_one_address_within_is_refused(found: list[str]) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return found

    target = target_of("https://hooks.test/", NOBODY)
    with pytest.raises(Refused) as caught:
        await addresses_of(target, NOBODY, resolve)
    # The inner DNS is not told to whoever set the URL.
    assert "10.0.0.1" not in str(caught.value)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of NAME with its key, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "receiver.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def receiver(certificate: Path) -> Iterator[Receiver]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with webhook_receiver(context) as made:
        # As the host application would name it: its address is the resolver's business.
        made.url = made.url.replace("127.0.0.1", NAME)
        yield made


class Resolver:
    """Answers with each of `answers` in turn, the last one for ever."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        return [self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]]


def sender(certificate: Path, resolver: Resolver, allowed: Allowed = LOOPBACK) -> DeliveryClient:
    return DeliveryClient(allowed, resolve=resolver, tls=ssl.create_default_context(cafile=str(certificate)))


async def test_the_address_is_judged_and_the_name_is_the_urls(receiver: Receiver, certificate: Path) -> None:
    resolver = Resolver("127.0.0.1")
    outcome = await sender(certificate, resolver).send(receiver.url, b'{"a":1}', {"webhook-id": "1"})
    assert (outcome.status, outcome.error, outcome.delivered) == (204, "", True)
    (message,) = receiver.messages
    assert message.headers["host"] == f"{NAME}:{httpx.URL(receiver.url).port}"
    assert (message.path, message.body) == ("/hooks?for=us", b'{"a":1}')
    assert message.headers["content-type"] == "application/json"
    assert receiver.server_names == [NAME]
    # Once: whatever the name leads to a moment later, nothing goes there.
    assert resolver.asked == [NAME]


async def test_a_name_that_leads_within_after_it_was_checked_is_not_called(
    receiver: Receiver, certificate: Path
) -> None:
    resolver = Resolver("93.184.215.14", "127.0.0.1")
    rebound = sender(certificate, resolver, NOBODY)
    await rebound.check(receiver.url)
    outcome = await rebound.send(receiver.url, b"{}", {})
    assert outcome.error.startswith("refused: ")
    assert not receiver.messages
    assert not receiver.server_names


async def test_another_hosts_certificate_is_refused(receiver: Receiver, certificate: Path) -> None:
    url = receiver.url.replace(NAME, "other.test")
    outcome = await sender(certificate, Resolver("127.0.0.1")).send(url, b"{}", {})
    assert outcome.status is None
    assert "certificate" in outcome.error.lower()
    assert receiver.messages == []


async def test_a_redirect_is_an_answer_like_others(receiver: Receiver, certificate: Path) -> None:
    receiver.status, receiver.headers = 307, {"Location": receiver.url}
    outcome = await sender(certificate, Resolver("127.0.0.1")).send(receiver.url, b"{}", {})
    assert (outcome.status, outcome.delivered) == (307, False)
    assert len(receiver.messages) == 1


async def test_of_a_long_answer_only_the_beginning_is_read(receiver: Receiver, certificate: Path) -> None:
    receiver.answer = b"x" * (400 * MAX_ANSWER_BYTES)
    outcome = await sender(certificate, Resolver("127.0.0.1")).send(receiver.url, b"{}", {})
    assert outcome.status == 204


async def test_a_receiver_that_is_slow_or_away_is_an_outcome(
    receiver: Receiver, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "TIMEOUT_SECONDS", 0.5)
    made = sender(certificate, Resolver("127.0.0.1"))
    receiver.gate.clear()
    assert "no answer" in (await made.send(receiver.url, b"{}", {})).error
    port = str(httpx.URL(receiver.url).port)
    away = await made.send(receiver.url.replace(port, "1"), b"{}", {})
    assert away.error.startswith("ConnectError: ")


async def test_no_proxy_of_the_environment_is_used(
    receiver: Receiver, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert (await sender(certificate, Resolver("127.0.0.1")).send(receiver.url, b"{}", {})).delivered


def test_signatures_are_those_of_standard_webhooks_also_while_secrets_change() -> None:
    old, new = new_secret(), new_secret()
    body = '{"type":"stream.live","text":"ü"}'.encode()
    headers = signed_headers("0b7e", datetime.now(UTC), body, [new, old])
    for secret in (old, new):
        assert Webhook(secret).verify(body, headers)["type"] == "stream.live"
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(body, headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body + b" ", headers)
    late = signed_headers("0b7e", datetime.now(UTC) - timedelta(minutes=6), body, [new])
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body, late)


def test_secrets_are_long_and_each_another() -> None:
    made = {new_secret() for _ in range(100)}
    assert len(made) == 100
    assert all(len(base64.b64decode(secret.removeprefix("whsec_"))) == 32 for secret in made)
