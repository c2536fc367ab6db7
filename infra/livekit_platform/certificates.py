"""A certificate authority for one stack, and the edge's certificate signed by it.

The functions are pure and store nothing. `make up` and `make secrets` store the result in the stack's
configuration (docs/adr/0025-secrets-in-the-configuration.md).
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_LIFE = timedelta(days=3650)
# The same lifetime as Let's Encrypt's certificates; browsers reject more than 398 days.
_SERVER_LIFE = timedelta(days=90)
# Clients whose clock is slow also accept the certificate.
_BACKDATED = timedelta(hours=1)
_HOSTS = ("sfu", "turn", "api", "s3")


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, both in PEM. The key does not show in `repr`."""

    certificate: str
    private_key: str = field(repr=False)


def now() -> datetime:
    """The current time; tests replace it."""
    return datetime.now(UTC)


def server_names(domain: str) -> list[str]:
    """Every name to which the edge or TURN answers with TLS."""
    return [domain, *(f"{host}.{domain}" for host in _HOSTS)]


def new_authority(domain: str) -> KeyPair:
    """An authority whose certificates are valid only for `domain` and the names below it."""
    key = ec.generate_private_key(ec.SECP256R1())
    # A machine that trusts this authority must trust it for this domain only.
    constraints = x509.NameConstraints(
        permitted_subtrees=[x509.DNSName(domain)],
        excluded_subtrees=[x509.IPAddress(ip_network("0.0.0.0/0")), x509.IPAddress(ip_network("::/0"))],
    )
    # A unique name: a machine that still trusts an earlier authority must not confuse the two.
    name = _name(f"LiveKit platform CA {secrets.token_hex(4)}")
    certificate = (
        _builder(name, key, _AUTHORITY_LIFE)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(constraints, critical=True)
        .sign(key, hashes.SHA256())
    )
    return _key_pair(certificate, key)


def new_server_certificate(names: Sequence[str], authority: KeyPair) -> KeyPair:
    """A server certificate for `names`, signed by `authority`.

    Raises:
        ValueError: the authority's certificate or key cannot be read.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(_name("LiveKit platform edge"), key, _SERVER_LIFE)
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .sign(_load_key(authority.private_key), hashes.SHA256())
    )
    return _key_pair(certificate, key)


def expiry(certificate: str) -> datetime:
    """When the PEM `certificate` expires."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc


def is_due(certificate: str) -> bool:
    """Whether less than a third of the PEM `certificate`'s life is left."""
    parsed = x509.load_pem_x509_certificate(certificate.encode())
    life = parsed.not_valid_after_utc - parsed.not_valid_before_utc
    return parsed.not_valid_after_utc - now() < life / 3


def authority_fault(authority: KeyPair, domain: str) -> str | None:
    """Why `authority` cannot sign for `domain`, as the end of "it ..."; None if it can."""
    fault = _pair_fault(authority)
    if fault is not None:
        return fault
    parsed = x509.load_pem_x509_certificate(authority.certificate.encode())
    try:
        permitted = parsed.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    except x509.ExtensionNotFound:
        return "has no name constraint"
    domains = [name.value for name in permitted or [] if isinstance(name, x509.DNSName)]
    return None if domains == [domain] else f"is for the domain {', '.join(domains) or 'of no name'}"


def server_fault(server: KeyPair, authority_certificate: str, names: Sequence[str]) -> str | None:
    """Why clients of the authority refuse `server` for `names`, as the end of "it ..."; None if none."""
    fault = _pair_fault(server)
    if fault is not None:
        return fault
    parsed = x509.load_pem_x509_certificate(server.certificate.encode())
    try:
        parsed.verify_directly_issued_by(x509.load_pem_x509_certificate(authority_certificate.encode()))
    except (ValueError, TypeError, InvalidSignature):
        return "is not signed by the authority"
    try:
        alternative = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return "has no names"
    found = alternative.get_values_for_type(x509.DNSName)
    return None if sorted(found) == sorted(names) else f"is for the names {', '.join(found)}"


def _pair_fault(pair: KeyPair) -> str | None:
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
    except ValueError:
        return "is not a PEM certificate"
    try:
        key = _load_key(pair.private_key)
    except ValueError:
        return "has a private key that is not an EC key in PEM"
    return None if key.public_key() == certificate.public_key() else "does not belong to its private key"


def _load_key(pem: str) -> ec.EllipticCurvePrivateKey:
    # Do not pass on the library's error message: it could contain a part of the key.
    try:
        key = serialization.load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):
        raise ValueError("not a private key in PEM without a passphrase") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"given {type(key).__name__}, allowed is an EC key")
    return key


def _key_pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return KeyPair(certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey, life: timedelta) -> x509.CertificateBuilder:
    start = now() - _BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
