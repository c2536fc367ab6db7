"""The certificate of the edge and of TURN: by an authority of our own, by cert-manager, or a given one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes import apiextensions, meta
from pulumi_kubernetes.networking import v1 as networking

from livekit_platform import names
from livekit_platform.certificates import KeyPair
from livekit_platform.components.secret_object import secret_object

# cert-manager's own choice.
_SOLVER_PORT = 8089


@dataclass(frozen=True)
class OwnCertificate:
    """The edge's certificate, signed by the stack's own authority.

    Attributes:
        authority: the authority's certificate in PEM. Its key stays in the configuration.
    """

    authority: str
    server: KeyPair


@dataclass(frozen=True)
class TlsArgs:
    namespace: str
    # For kind `own_ca`.
    own: OwnCertificate | None
    # The spec of cert-manager's Certificate, for kind `cert_manager`.
    certificate_spec: Mapping[str, Any] | None
    # Whether an Ingress controller may lead its challenges to pods in the platform's namespace.
    solved_by_http: bool


class Tls(pulumi.ComponentResource):
    """The Secret with tls.crt and tls.key, unless one is given.

    Attributes:
        ca_certificate: PEM of our own authority; empty where there is none.
    """

    ca_certificate: pulumi.Output[str]

    def __init__(self, name: str, args: TlsArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("livekit-platform:components:Tls", name, {}, opts)
        self.ca_certificate = pulumi.Output.from_input("")
        if args.own is not None:
            self.ca_certificate = pulumi.Output.from_input(args.own.authority)
            self._keep(args.namespace, args.own)
        elif args.certificate_spec is not None:
            solver = [self._open_solver(args.namespace)] if args.solved_by_http else []
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
                opts=pulumi.ResourceOptions(parent=self, depends_on=solver),
            )
        self.register_outputs({})

    def _open_solver(self, namespace: str) -> pulumi.Resource:
        """Opens the pods that cert-manager makes here to solve HTTP-01, to everybody: what they answer is no
        secret, and is asked for by way of a controller that may be anywhere.
        """
        return networking.NetworkPolicy(
            names.ACME_SOLVER,
            metadata=meta.v1.ObjectMetaArgs(
                name=names.ACME_SOLVER, namespace=namespace, labels=names.labels(names.ACME_SOLVER)
            ),
            spec=networking.NetworkPolicySpecArgs(
                pod_selector=meta.v1.LabelSelectorArgs(
                    match_labels={"acme.cert-manager.io/http01-solver": "true"}
                ),
                policy_types=["Ingress"],
                ingress=[
                    networking.NetworkPolicyIngressRuleArgs(
                        ports=[networking.NetworkPolicyPortArgs(port=_SOLVER_PORT, protocol="TCP")]
                    )
                ],
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _keep(self, namespace: str, own: OwnCertificate) -> None:
        data = {
            "tls.crt": own.server.certificate,
            "tls.key": own.server.private_key,
            "ca.crt": own.authority,
        }
        secret_object(
            names.EDGE_TLS_SECRET,
            namespace=namespace,
            component=names.EDGE,
            data=pulumi.Output.secret(data),
            parent=self,
            kind="kubernetes.io/tls",
        )
