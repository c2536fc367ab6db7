"""The certificate of the edge and of TURN: by an authority of our own, by cert-manager, or a given one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes import apiextensions, meta

from livekit_platform import names
from livekit_platform.certificates import CertificateAuthority, ServerCertificate
from livekit_platform.components.secret_object import secret_object


@dataclass(frozen=True)
class TlsArgs:
    namespace: str
    kind: str
    domain: str
    # What the certificate is for.
    names: Sequence[str]
    # The spec of cert-manager's Certificate, for kind `cert_manager`.
    certificate_spec: Mapping[str, Any] | None
    # Whether Pulumi refuses to delete the authority: machines have been told to trust it.
    protect: bool


class Tls(pulumi.ComponentResource):
    """The Secret with tls.crt and tls.key, unless one is given.

    Attributes:
        ca_certificate: PEM of our own authority; empty where there is none.
    """

    ca_certificate: pulumi.Output[str]

    def __init__(self, name: str, args: TlsArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("livekit-platform:components:Tls", name, {}, opts)
        self.ca_certificate = pulumi.Output.from_input("")
        if args.kind == "own_ca":
            self.ca_certificate = self._by_own_authority(args)
        elif args.kind == "cert_manager":
            apiextensions.CustomResource(
                names.EDGE_TLS_SECRET,
                api_version="cert-manager.io/v1",
                kind="Certificate",
                metadata=meta.v1.ObjectMetaArgs(
                    name=names.EDGE_TLS_SECRET,
                    namespace=args.namespace,
                    labels=names.labels(names.EDGE),
                    # A DNS challenge takes minutes. Pods wait for the Secret in any case.
                    annotations={"pulumi.com/waitFor": "condition=Ready"},
                ),
                spec=args.certificate_spec,
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({})

    def _by_own_authority(self, args: TlsArgs) -> pulumi.Output[str]:
        authority = CertificateAuthority(
            "edge-ca",
            domain=args.domain,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        server = ServerCertificate(
            "edge-certificate",
            names=args.names,
            authority=authority,
            opts=pulumi.ResourceOptions(parent=self),
        )
        secret_object(
            names.EDGE_TLS_SECRET,
            namespace=args.namespace,
            component=names.EDGE,
            data=pulumi.Output.all(
                ca=authority.certificate, certificate=server.certificate, key=server.private_key
            ).apply(
                lambda made: {
                    "tls.crt": made["certificate"],
                    "tls.key": made["key"],
                    "ca.crt": made["ca"],
                }
            ),
            parent=self,
            kind="kubernetes.io/tls",
        )
        return authority.certificate
