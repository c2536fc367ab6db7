"""Certificates for tests: valid ones, and invalid ones of every kind that a Secret may contain."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Certificate:
    """The content of a Secret of type kubernetes.io/tls in PEM: the certificate, its chain, and its key."""

    pem: str
    key: str

    @property
    def der(self) -> bytes:
        """The first certificate in DER, as a client gets it."""
        return ssl.PEM_cert_to_DER_cert(self.pem.strip().partition(_END)[0] + _END)


_END = "-----END CERTIFICATE-----"


@dataclass(frozen=True)
class Authority:
    """Signs certificates."""

    name: x509.Name
    key: PrivateKey
    pem: str


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, text)])


def _sign(
    subject: x509.Name, key: PrivateKey, names: Sequence[str], ends: timedelta, by: Authority | None
) -> str:
    """A certificate as PEM, self-signed if no authority is given. Without names it is an authority's own."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.name if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    if names:
        dns = [x509.DNSName(name) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(dns), critical=False)
    return builder.sign(by.key if by else key, hashes.SHA256()).public_bytes(_PEM).decode()


def key_text(key: PrivateKey, passphrase: str | None = None, *, traditional: bool = False) -> str:
    """A private key as PEM: PKCS#8, or the older format that OpenSSL wrote in the past."""
    form = (
        serialization.PrivateFormat.TraditionalOpenSSL if traditional else serialization.PrivateFormat.PKCS8
    )
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(_PEM, form, encryption).decode()


def elliptic() -> PrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def authority(name: str) -> Authority:
    key = elliptic()
    return Authority(_name(name), key, _sign(_name(name), key, (), timedelta(days=1), None))


def certificate(
    domain: str,
    *,
    by: Authority | None = None,
    key: PrivateKey | None = None,
    ends: timedelta = timedelta(days=1),
) -> Certificate:
    """A certificate for a domain and the names below it, without a chain. Without `by` it is self-signed."""
    own = key or elliptic()
    return Certificate(_sign(_name(domain), own, (domain, f"*.{domain}"), ends, by), key_text(own))


@dataclass(frozen=True)
class Wrong:
    """A certificate that no server can use, and the text that reports why."""

    certificate: Certificate
    because: str


@cache
def wrong_certificates(domain: str) -> dict[str, Wrong]:
    """One of each kind."""
    signer = authority("a test's authority")
    key = elliptic()
    right, other = certificate(domain, by=signer, key=key), certificate(domain)
    other_type = certificate(domain, key=rsa.generate_private_key(public_exponent=65537, key_size=2048))
    # OpenSSL refuses an RSA key of this size for a server.
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505
    weak = certificate(domain, key=small)
    mismatch = "tls.key does not belong to the first certificate in tls.crt"
    no_certificate, no_key = "tls.crt: no certificate can be read", "tls.key: no private key can be read"
    encrypted = "tls.key is encrypted"
    public = key.public_key().public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    pairs = {
        "another certificate's key": (right.pem, other.key, mismatch),
        "a key of another type": (right.pem, other_type.key, mismatch),
        "a certificate of another type": (other_type.pem, right.key, mismatch),
        "its issuer comes first": (signer.pem + right.pem, right.key, mismatch),
        "another key comes first": (right.pem, other.key + right.key, mismatch),
        "an empty certificate": ("", right.key, "tls.crt is empty"),
        "an empty key": (right.pem, " \n\n", "tls.key is empty"),
        "no certificate": ("this is no certificate\n", right.key, no_certificate),
        "no key": (right.pem, "this is no key\n", no_key),
        "the two are exchanged": (right.key, right.pem, no_certificate),
        "a truncated certificate": (_truncated(right.pem), right.key, no_certificate),
        "a truncated chain": (
            right.pem + _truncated(signer.pem),
            right.key,
            "tls.crt: not all of its 2 certificates can be read",
        ),
        "a truncated key": (right.pem, _truncated(right.key), no_key),
        "a damaged certificate": (right.pem.replace("\nMII", "\n!!!"), right.key, no_certificate),
        "a public key": (right.pem, public, no_key),
        "a key with a passphrase": (right.pem, key_text(key, "secret"), encrypted),
        "an older key with a passphrase": (right.pem, key_text(key, "secret", traditional=True), encrypted),
        "a key that is too small": (weak.pem, weak.key, "ee key too small"),
    }
    return {name: Wrong(Certificate(pem, key), because) for name, (pem, key, because) in pairs.items()}


def _truncated(pem: str) -> str:
    """The first half of the text, as after an interrupted upload."""
    lines = pem.splitlines(keepends=True)
    return "".join(lines[: len(lines) // 2])
