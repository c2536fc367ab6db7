"""What the edge is given: the names of its certificate, the values of charts/edge, or Ingress objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from livekit_platform import names
from livekit_platform.certificates import server_names
from livekit_platform.config import Node, PlatformConfig

# LiveKit's own paths, where it shares a host with token-api: signalling and the server API.
SFU_PATHS = ("/rtc", "/twirp")


def certificate_names(config: PlatformConfig) -> list[str]:
    """Every name that the edge, or TURN, answers to by TLS."""
    return server_names(config.domain)


def certificate_spec(config: PlatformConfig) -> dict[str, Any]:
    """The spec of a Certificate of cert-manager.

    Raises:
        ValueError: the configuration names no issuer.
    """
    issuer = config.edge.tls.issuer
    if issuer is None:
        raise ValueError("edge.tls.issuer: given nothing, allowed is an issuer")
    return {
        "secretName": names.EDGE_TLS_SECRET,
        "dnsNames": certificate_names(config),
        "issuerRef": {"group": "cert-manager.io", "kind": issuer.kind, "name": issuer.name},
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["digital signature", "server auth"],
    }


def chart_values(config: PlatformConfig) -> dict[str, Any]:
    """Values of charts/edge: no secret, and nothing unknown at preview."""
    edge, ports = config.edge, config.ports
    on_nodes = edge.expose == "host_port"
    embedded_turn = config.turn.kind == "embedded"
    s3 = config.object_store.kind == "embedded"
    return {
        "image": config.images.complete(config.images.haproxy),
        "imagePullSecrets": list(config.images.pull_secrets),
        "replicas": edge.servers(len(config.nodes)),
        "nodeNames": [node.name for node in config.edge_nodes] if on_nodes else [],
        "priorityClassName": names.priority_class(config.namespace, names.MEDIA),
        "domain": config.domain,
        "expose": "hostPort" if on_nodes else "loadBalancer",
        "publicPorts": {"https": ports.edge_https, "http": ports.edge_http},
        "ports": {"metrics": ports.edge_metrics},
        "tlsSecretName": config.tls_secret_name,
        "upstreams": {
            "sfu": _on_nodes(config, names.LIVEKIT, config.sfu_nodes, ports.signal),
            "turn": {
                **(
                    _on_nodes(config, names.LIVEKIT, config.sfu_nodes, ports.turn_tls)
                    if embedded_turn
                    else {
                        **_on_nodes(config, names.COTURN, config.turn_nodes, ports.turn_tls),
                        "podLabels": {"app.kubernetes.io/name": names.COTURN},
                    }
                ),
                # coturn reads the certificate itself, and sees whom it talks to end to end.
                "terminateTls": embedded_turn,
                "connectionsPerAddress": config.turn.allocations_per_address,
            },
            "api": _service(config, names.TOKEN_API, ports.token_api),
            **({"s3": _service(config, names.OBJECT_STORE, ports.object_store)} if s3 else {}),
        },
        "networkPolicy": {"dnsCidrs": [*map(str, config.network.dns_cidrs)]},
        "plainLocalhost": edge.plain_localhost,
        "rateLimit": {
            "requestsPer10s": edge.rate_limit.requests_per_10s,
            "connections": edge.rate_limit.connections,
            "joinsPer60s": edge.rate_limit.joins_per_60s,
        },
        "drainSeconds": edge.drain_seconds,
        "resources": edge.resources.to_values(),
    }


def _on_nodes(config: PlatformConfig, workload: str, nodes: Iterable[Node], port: int) -> dict[str, Any]:
    return {
        "host": names.nodes_host(workload, config.namespace),
        "addresses": [str(node.inside) for node in nodes],
        "port": port,
    }


def _service(config: PlatformConfig, name: str, port: int) -> dict[str, Any]:
    return {
        "host": names.service_host(name, config.namespace),
        "port": port,
        "podLabels": {"app.kubernetes.io/name": name},
    }


@dataclass(frozen=True)
class IngressRoute:
    """Requests for paths below `path` go to a Service."""

    path: str
    service: str
    port: int


@dataclass(frozen=True)
class IngressHost:
    """One host name, and where its requests go."""

    host: str
    routes: tuple[IngressRoute, ...]


def ingress_hosts(config: PlatformConfig) -> Mapping[str, IngressHost]:
    """What an Ingress controller serves, by the names of Ingress objects: one per host."""
    ports = config.ports
    # Its metrics and probes are not for everybody.
    api = IngressRoute("/v1", names.TOKEN_API, ports.token_api)
    store = IngressRoute("/", names.OBJECT_STORE, ports.object_store)

    def sfu(path: str) -> IngressRoute:
        return IngressRoute(path, names.LIVEKIT, ports.signal)

    return {
        f"{names.EDGE}-domain": IngressHost(config.domain, (*map(sfu, SFU_PATHS), api)),
        f"{names.EDGE}-sfu": IngressHost(config.host("sfu"), (sfu("/"),)),
        f"{names.EDGE}-api": IngressHost(config.host("api"), (api,)),
        **(
            {f"{names.EDGE}-s3": IngressHost(config.host("s3"), (store,))}
            if config.object_store.kind == "embedded"
            else {}
        ),
    }
