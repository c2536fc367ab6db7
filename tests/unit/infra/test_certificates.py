"""The dynamic providers of our own certificates."""

from __future__ import annotations

import base64
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from pulumi.dynamic.dynamic import serialize_provider

from common.commands import CommandFailed, run
from livekit_platform import certificates
from livekit_platform.certificates import CertificateAuthorityProvider, ServerCertificateProvider

DOMAIN = "calls.example.org"
NAMES = [DOMAIN, f"sfu.{DOMAIN}", f"turn.{DOMAIN}"]
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
    """The time at which certificates are made and looked at: it stands still."""
    clock = Clock()
    monkeypatch.setattr(certificates, "now", clock)
    return clock


def authority(domain: str = DOMAIN) -> dict[str, Any]:
    outs = CertificateAuthorityProvider().create({"domain": domain}).outs
    assert outs is not None
    return outs


def wanted(ca: dict[str, Any], names: list[str] = NAMES) -> dict[str, Any]:
    """The inputs of a server's certificate."""
    return {"names": names, "ca_certificate": ca["certificate"], "ca_private_key": ca["private_key"]}


def server(ca: dict[str, Any], names: list[str] = NAMES) -> dict[str, Any]:
    outs = ServerCertificateProvider().create(wanted(ca, names)).outs
    assert outs is not None
    return outs


def parsed(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def verify(ca: dict[str, Any], leaf: dict[str, Any], name: str, *, at: datetime = START) -> None:
    """Verify as a strict client does.

    Raises:
        VerificationError: it would not connect.
    """
    store = Store([parsed(ca["certificate"])])
    builder = PolicyBuilder().store(store).time(at)
    builder.build_server_verifier(x509.DNSName(name)).verify(parsed(leaf["certificate"]), [])


@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_trusts_the_authority_takes_every_name(name: str) -> None:
    ca = authority()
    verify(ca, server(ca), name)


def test_another_name_or_another_authority_is_refused() -> None:
    ca = authority()
    with pytest.raises(VerificationError):
        verify(ca, server(ca), f"other.{DOMAIN}")
    with pytest.raises(VerificationError):
        verify(authority(), server(ca), DOMAIN)


def test_the_authority_is_good_for_its_domain_only(tmp_path: Path) -> None:
    """By OpenSSL, as most clients do: cryptography's own verifier knows no constraints of a root."""
    openssl = shutil.which("openssl")
    assert openssl, "openssl is not on PATH"
    ca = authority()
    (tmp_path / "ca.pem").write_text(ca["certificate"])

    def openssl_verifies(name: str) -> None:
        (tmp_path / "leaf.pem").write_text(server(ca, [name])["certificate"])
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
    basic = parsed(authority()["certificate"]).extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert (basic.value.ca, basic.value.path_length) == (True, 0)
    leaf = parsed(server(authority())["certificate"]).extensions
    assert not leaf.get_extension_for_class(x509.BasicConstraints).value.ca
    assert list(leaf.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        x509.oid.ExtendedKeyUsageOID.SERVER_AUTH
    ]


def test_two_authorities_differ_in_name_key_and_number() -> None:
    one, other = parsed(authority()["certificate"]), parsed(authority()["certificate"])
    assert one.subject != other.subject
    assert one.serial_number != other.serial_number
    assert one.public_key() != other.public_key()


def test_clients_whose_clock_is_behind_are_served() -> None:
    ca = authority()
    verify(ca, server(ca), DOMAIN, at=START - timedelta(minutes=55))


@pytest.mark.parametrize(
    ("after", "due"),
    [
        (timedelta(0), False),
        (SERVER * 2 / 3 - timedelta(hours=2), False),
        (SERVER * 2 / 3 + timedelta(hours=2), True),
        (SERVER * 2, True),
    ],
)
def test_a_server_s_certificate_is_renewed_in_the_last_third_of_its_life(
    clock: Clock, after: timedelta, due: bool
) -> None:
    ca = authority()
    olds = server(ca)
    clock.time = START + after
    result = ServerCertificateProvider().diff("id", olds, {**wanted(ca), "__provider": "another form"})
    assert (result.changes, result.replaces) == (due, [])


def test_a_renewed_certificate_is_by_the_same_authority_with_another_key(clock: Clock) -> None:
    ca = authority()
    olds = server(ca)
    clock.time = START + SERVER
    renewed = ServerCertificateProvider().update("id", olds, wanted(ca)).outs
    assert renewed is not None
    verify(ca, renewed, DOMAIN, at=clock.time)
    assert renewed["private_key"] != olds["private_key"]
    again = ServerCertificateProvider().diff("id", renewed, wanted(ca))
    assert again.changes is False


@pytest.mark.parametrize(
    ("after", "due"), [(AUTHORITY / 2, False), (AUTHORITY * 2 / 3 + timedelta(days=1), True)]
)
def test_the_authority_lasts_for_years(clock: Clock, after: timedelta, due: bool) -> None:
    olds = authority()
    clock.time = START + after
    assert CertificateAuthorityProvider().diff("id", olds, {"domain": DOMAIN}).changes is due


def test_another_domain_other_names_or_another_authority_make_new_certificates() -> None:
    ca = authority()
    olds = server(ca)
    diff = ServerCertificateProvider().diff
    assert CertificateAuthorityProvider().diff("id", ca, {"domain": "example.net"}).changes is True
    assert diff("id", olds, wanted(ca, [*NAMES, f"s3.{DOMAIN}"])).changes is True
    assert diff("id", olds, wanted(authority())).changes is True
    # What the engine says at preview, where the authority is yet to be made anew.
    unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    assert diff("id", olds, {**wanted(ca), "ca_certificate": unknown}).changes is True


def test_a_refresh_keeps_both() -> None:
    ca = authority()
    assert CertificateAuthorityProvider().read("id", ca).outs == ca
    leaf = server(ca)
    assert ServerCertificateProvider().read("id", leaf).outs == leaf


def test_the_authority_s_key_is_in_one_place_of_the_outputs() -> None:
    ca = authority()
    assert ca["private_key"] not in server(ca).values()


@pytest.mark.parametrize("provider", [CertificateAuthorityProvider(), ServerCertificateProvider()])
def test_the_providers_are_serialized_by_reference(provider: Any) -> None:
    serialized = base64.b64decode(serialize_provider(provider))
    assert b"livekit_platform.certificates" in serialized
    # By value the code itself would be in it, and every edit would be a new certificate.
    assert len(serialized) < 200
