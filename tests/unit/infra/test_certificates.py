"""The stack's own certificates: what they are valid for, and when they are replaced."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from common.commands import CommandFailed, run
from livekit_platform import certificates
from livekit_platform.certificates import (
    KeyPair,
    authority_fault,
    expiry,
    is_due,
    new_authority,
    new_server_certificate,
    server_fault,
    server_names,
)

DOMAIN = "calls.example.org"
NAMES = server_names(DOMAIN)
START = datetime(2031, 5, 1, 12, 0, tzinfo=UTC)
SERVER = timedelta(days=90)
AUTHORITY = timedelta(days=3650)


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A fixed time at which certificates are made and examined."""
    clock = Clock()
    monkeypatch.setattr(certificates, "now", clock)
    return clock


def parsed(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def verify(ca: KeyPair, leaf: KeyPair, name: str, *, at: datetime = START) -> None:
    """Verify as a strict client does.

    Raises:
        VerificationError: it would not connect.
    """
    store = Store([parsed(ca.certificate)])
    builder = PolicyBuilder().store(store).time(at)
    builder.build_server_verifier(x509.DNSName(name)).verify(parsed(leaf.certificate), [])


def test_the_edge_answers_to_the_domain_and_to_each_service() -> None:
    assert [DOMAIN, *(f"{host}.{DOMAIN}" for host in ("sfu", "turn", "api", "s3"))] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_trusts_the_authority_accepts_every_name(name: str) -> None:
    ca = new_authority(DOMAIN)
    verify(ca, new_server_certificate(NAMES, ca), name)


def test_another_name_or_another_authority_is_refused() -> None:
    ca = new_authority(DOMAIN)
    leaf = new_server_certificate(NAMES, ca)
    with pytest.raises(VerificationError):
        verify(ca, leaf, f"other.{DOMAIN}")
    with pytest.raises(VerificationError):
        verify(new_authority(DOMAIN), leaf, DOMAIN)


def test_the_authority_is_valid_for_its_domain_only(tmp_path: Path) -> None:
    """Verify with OpenSSL, as most clients do: cryptography's own verifier ignores a root's constraints."""
    openssl = shutil.which("openssl")
    assert openssl, "openssl is not on PATH"
    ca = new_authority(DOMAIN)
    (tmp_path / "ca.pem").write_text(ca.certificate)

    def openssl_verifies(name: str) -> None:
        (tmp_path / "leaf.pem").write_text(new_server_certificate([name], ca).certificate)
        at = str(int(START.timestamp()))
        run(
            [
                *(openssl, "verify", "-x509_strict", "-attime", at, "-verify_hostname", name),
                *("-CAfile", tmp_path / "ca.pem", tmp_path / "leaf.pem"),
            ],
            timeout=30,
        )

    openssl_verifies(DOMAIN)
    openssl_verifies(f"sfu.{DOMAIN}")
    with pytest.raises(CommandFailed, match="permitted subtree violation"):
        openssl_verifies("bank.example.com")


def test_the_authority_signs_servers_and_nothing_below() -> None:
    ca = new_authority(DOMAIN)
    basic = parsed(ca.certificate).extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert (basic.value.ca, basic.value.path_length) == (True, 0)
    leaf = parsed(new_server_certificate(NAMES, ca).certificate).extensions
    assert not leaf.get_extension_for_class(x509.BasicConstraints).value.ca
    assert list(leaf.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        x509.oid.ExtendedKeyUsageOID.SERVER_AUTH
    ]


def test_two_authorities_differ_in_name_key_and_number() -> None:
    one, other = (parsed(new_authority(DOMAIN).certificate) for _ in range(2))
    assert one.subject != other.subject
    assert one.serial_number != other.serial_number
    assert one.public_key() != other.public_key()


def test_clients_whose_clock_is_late_are_served() -> None:
    ca = new_authority(DOMAIN)
    verify(ca, new_server_certificate(NAMES, ca), DOMAIN, at=START - timedelta(minutes=55))


@pytest.mark.parametrize(
    ("after", "due"),
    [
        (timedelta(0), False),
        (SERVER * 2 / 3 - timedelta(hours=2), False),
        (SERVER * 2 / 3 + timedelta(hours=2), True),
        (SERVER * 2, True),
    ],
)
def test_a_server_certificate_is_due_in_the_last_third_of_its_life(
    clock: Clock, after: timedelta, due: bool
) -> None:
    leaf = new_server_certificate(NAMES, new_authority(DOMAIN))
    clock.time = START + after
    assert is_due(leaf.certificate) is due


@pytest.mark.parametrize(
    ("after", "due"), [(AUTHORITY / 2, False), (AUTHORITY * 2 / 3 + timedelta(days=1), True)]
)
def test_the_authority_lasts_for_years(clock: Clock, after: timedelta, due: bool) -> None:
    ca = new_authority(DOMAIN)
    clock.time = START + after
    assert is_due(ca.certificate) is due


def test_the_expiry_is_the_end_of_the_life() -> None:
    leaf = new_server_certificate(NAMES, new_authority(DOMAIN))
    assert expiry(leaf.certificate) == START + SERVER - timedelta(hours=1)


def test_a_right_pair_has_no_fault() -> None:
    ca = new_authority(DOMAIN)
    assert authority_fault(ca, DOMAIN) is None
    assert server_fault(new_server_certificate(NAMES, ca), ca.certificate, NAMES) is None
    # The order of names does not matter.
    assert server_fault(new_server_certificate(NAMES[::-1], ca), ca.certificate, NAMES) is None


def test_an_authority_of_another_domain_or_with_another_key_is_at_fault() -> None:
    ca, other = new_authority(DOMAIN), new_authority(DOMAIN)
    assert authority_fault(ca, "example.net") == f"is for the domain {DOMAIN}"
    mixed = KeyPair(ca.certificate, other.private_key)
    assert authority_fault(mixed, DOMAIN) == "does not belong to its private key"
    leaf = new_server_certificate(NAMES, ca)
    assert authority_fault(leaf, DOMAIN) == "has no name constraint"


def test_a_server_certificate_that_clients_would_refuse_is_at_fault() -> None:
    ca, other = new_authority(DOMAIN), new_authority(DOMAIN)
    leaf = new_server_certificate(NAMES, ca)
    assert server_fault(leaf, other.certificate, NAMES) == "is not signed by the authority"
    fewer = new_server_certificate([DOMAIN], ca)
    assert server_fault(fewer, ca.certificate, NAMES) == f"is for the names {DOMAIN}"
    mixed = KeyPair(leaf.certificate, ca.private_key)
    assert server_fault(mixed, ca.certificate, NAMES) == "does not belong to its private key"


@pytest.mark.parametrize("text", ["", "secret-text", "-----BEGIN PRIVATE KEY-----\nsecret-text\n"])
def test_what_cannot_be_read_is_at_fault_and_not_repeated(text: str) -> None:
    ca = new_authority(DOMAIN)
    for pair in (KeyPair(ca.certificate, text), KeyPair(text, ca.private_key)):
        fault = authority_fault(pair, DOMAIN)
        assert fault is not None
        assert "secret-text" not in fault


def test_a_private_key_is_not_in_the_repr() -> None:
    ca = new_authority(DOMAIN)
    assert ca.private_key.splitlines()[1] not in repr(ca)
