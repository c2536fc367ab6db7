"""The one port that browsers and corporate firewalls want."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from livekit_platform.config.section import (
    DNS_NAME,
    OPTIONAL_NAME,
    SECRET_NAME_ALLOWED,
    Annotations,
    Resources,
    SecretName,
    Section,
)


class Issuer(Section):
    """A cert-manager issuer."""

    kind: Literal["Issuer", "ClusterIssuer"] = Field(
        default="ClusterIssuer", description="`Issuer` or `ClusterIssuer`"
    )
    # HAProxy answers on port 80 itself: a solver of HTTP-01 has no place there.
    name: str = Field(
        pattern=DNS_NAME,
        description="the name of an existing issuer of cert-manager; with `edge.kind` `haproxy` one that "
        "solves by DNS-01",
        examples=["letsencrypt"],
    )


class Tls(Section):
    """Where the certificate for `domain` comes from, and for sfu., turn., api. and s3. below it."""

    kind: Literal["own_ca", "secret", "cert_manager"] = Field(
        default="own_ca",
        description="`own_ca` (a certificate authority of the stack's own, its certificate in the outputs), "
        "`secret` (a given Secret, named by `secret_name`) or `cert_manager` (issued by `issuer`)",
    )
    secret_name: SecretName | None = Field(
        default=None,
        description=f"{SECRET_NAME_ALLOWED} with tls.crt and tls.key, for kind `secret`",
        examples=["edge-certificate"],
    )
    issuer: Issuer | None = Field(
        default=None, description='an object {"kind": ..., "name": ...}, for kind `cert_manager`'
    )


class RateLimit(Section):
    """What one client may do. The excess is refused."""

    requests_per_10s: int = Field(
        default=200,
        ge=1,
        le=100000,
        description="HTTP requests in 10 seconds per client address, from 1 to 100000",
    )
    connections: int = Field(
        default=500,
        ge=1,
        le=100000,
        description="connections at the same time per client address, from 1 to 100000",
    )
    joins_per_60s: int = Field(
        default=30,
        ge=1,
        le=100000,
        description="joins and resumes in 60 seconds per participant's identity at each edge, from 1 to "
        "100000: each gets credentials for TURN",
    )


class Edge(Section):
    """HAProxy on ports 443 and 80, or Ingress objects for a controller that the cluster has."""

    kind: Literal["haproxy", "ingress"] = Field(
        default="haproxy",
        description="`haproxy` (of its own: TLS, and TURN/TLS on the same port) or `ingress` (Ingress "
        "objects; TURN/TLS is then on its own port)",
    )
    expose: Literal["host_port", "load_balancer"] = Field(
        default="host_port",
        description="`host_port` (ports of the nodes themselves) or `load_balancer` (a Service of that type)",
    )
    replicas: int | None = Field(
        default=None,
        ge=1,
        description="how many, at most one per node in `nodes`; one per node where left out",
        examples=[2],
    )
    tls: Tls = Field(default=Tls(), description="an object")
    # Browsers give camera and microphone to https pages and to http://localhost only.
    plain_localhost: bool = Field(
        default=False,
        description="true (HTTP is served to whoever asks for `localhost`, everybody else is redirected) or "
        "false (everybody is redirected)",
    )
    rate_limit: RateLimit = Field(default=RateLimit(), description="an object")
    ingress_class: str = Field(
        default="",
        pattern=OPTIONAL_NAME,
        description="the name of an IngressClass, or empty for the default",
        examples=["nginx"],
    )
    ingress_annotations: Annotations = Field(
        default={},
        description="annotations of the Ingress objects, as an object of texts",
        examples=[{"example.com/body-size": "0"}],
    )
    drain_seconds: int = Field(
        default=600,
        ge=5,
        le=18000,
        description="seconds from 5 to 18000 that a stopping edge keeps the connections it has",
    )
    resources: Resources = Field(
        default=Resources(cpu_request="100m", memory_request="64Mi", memory_limit="512Mi"),
        description="an object of quantities",
    )

    def servers(self, nodes: int) -> int:
        """How many HAProxys there are to be on so many nodes: none with an Ingress controller."""
        return 0 if self.kind == "ingress" else self.replicas or nodes
