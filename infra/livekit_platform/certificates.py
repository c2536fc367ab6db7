"""A certificate authority of the stack's own, and the edge's certificate by it.

Dynamic resources like `RandomSecret`, and for the same reason: no plugin of a registry makes them. Their
state holds the keys, encrypted by the stack's secrets provider. Both are made once, and again by an `up` that
finds less than a third of their life left, or that they are for other names.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pulumi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

_AUTHORITY_LIFE = timedelta(days=3650)
# What Let's Encrypt gives; browsers refuse more than 398.
_SERVER_LIFE = timedelta(days=90)
# Clocks of clients that are behind must not find a certificate of the future.
_BACKDATED = timedelta(hours=1)


def now() -> datetime:
    """The time; tests replace it."""
    return datetime.now(UTC)


def _is_due(certificate: str) -> bool:
    """Whether less than a third of the PEM `certificate`'s life is left."""
    parsed = x509.load_pem_x509_certificate(certificate.encode())
    life = parsed.not_valid_after_utc - parsed.not_valid_before_utc
    return parsed.not_valid_after_utc - now() < life / 3


class _Provider(ResourceProvider):
    """What both kinds of certificate share. Pickled by reference, so its serialized form is constant."""

    # It captures nothing, so there is nothing to hide in its serialized form.
    serialize_as_secret_always = False
    # The inputs that the certificate is made for.
    inputs: tuple[str, ...]

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(id_=secrets.token_hex(8), outs=self._outputs(props))

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        # An input that is not known yet, because the authority is to be made anew, is another one, too.
        differs = any(olds[name] != news.get(name) for name in self.inputs)
        # Said outright: without `changes` the engine would compare the serialized provider too.
        return DiffResult(changes=differs or _is_due(olds["certificate"]), replaces=[], stables=[])

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(outs=self._outputs(news))

    def _outputs(self, props: Mapping[str, Any]) -> dict[str, Any]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.certificate(props, key)
        return {
            **{name: props[name] for name in self.inputs},
            "certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
            "private_key": key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
        }

    def certificate(self, props: Mapping[str, Any], key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        """The certificate of `key`."""
        raise NotImplementedError


class CertificateAuthorityProvider(_Provider):
    """Makes the authority."""

    inputs = ("domain",)

    def certificate(self, props: Mapping[str, Any], key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        # Who tells a machine to trust it, trusts it for the domain and for nothing else.
        constraints = x509.NameConstraints(
            permitted_subtrees=[x509.DNSName(props["domain"])],
            excluded_subtrees=[
                x509.IPAddress(ip_network("0.0.0.0/0")),
                x509.IPAddress(ip_network("::/0")),
            ],
        )
        # A name of its own: a machine that still trusts an earlier one must not take this for it.
        name = _name(f"LiveKit platform CA {secrets.token_hex(4)}")
        return (
            _builder(name, key, _AUTHORITY_LIFE)
            .issuer_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(constraints, critical=True)
            .sign(key, hashes.SHA256())
        )


class ServerCertificateProvider(_Provider):
    """Makes a server's certificate by an authority."""

    inputs = ("names", "ca_certificate")

    def certificate(self, props: Mapping[str, Any], key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        authority = x509.load_pem_x509_certificate(props["ca_certificate"].encode())
        authority_key = serialization.load_pem_private_key(props["ca_private_key"].encode(), None)
        if not isinstance(authority_key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"ca_private_key: given {type(authority_key).__name__}, allowed is an EC key")
        names = x509.SubjectAlternativeName([x509.DNSName(name) for name in props["names"]])
        identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        return (
            _builder(_name("LiveKit platform edge"), key, _SERVER_LIFE)
            .issuer_name(authority.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(names, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
            )
            .sign(authority_key, hashes.SHA256())
        )


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


class CertificateAuthority(Resource, module="livekit-platform", name="CertificateAuthority"):
    """An authority for `domain` and the names below it: PEM `certificate`, and secret `private_key`."""

    certificate: pulumi.Output[str]
    private_key: pulumi.Output[str]

    def __init__(self, name: str, *, domain: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__(
            CertificateAuthorityProvider(),
            name,
            {"domain": domain, "certificate": None, "private_key": None},
            pulumi.ResourceOptions.merge(
                opts, pulumi.ResourceOptions(additional_secret_outputs=["private_key"])
            ),
        )


class ServerCertificate(Resource, module="livekit-platform", name="ServerCertificate"):
    """A server's certificate for `names`: PEM `certificate`, and secret `private_key`."""

    certificate: pulumi.Output[str]
    private_key: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        names: Sequence[str],
        authority: CertificateAuthority,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(
            ServerCertificateProvider(),
            name,
            {
                "names": list(names),
                "ca_certificate": authority.certificate,
                "ca_private_key": authority.private_key,
                "certificate": None,
                "private_key": None,
            },
            pulumi.ResourceOptions.merge(
                opts, pulumi.ResourceOptions(additional_secret_outputs=["private_key"])
            ),
        )
