"""Every port of the platform. Which of them may be where is ruled in `livekit_platform.ports`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from livekit_platform import names
from livekit_platform.config.section import PORT_ALLOWED, Port, Section
from livekit_platform.ports import PortClaim, PortRange, Protocol, Scope


def _port(default: int, purpose: str) -> Any:
    return Field(default=default, description=f"{PORT_ALLOWED}; {purpose}")


class RelayRange(Section):
    """UDP ports for relayed addresses, in each TURN server's own network: one for each allocation."""

    first: Port = Field(default=40000, description=PORT_ALLOWED)
    last: Port = Field(default=49999, description=PORT_ALLOWED)

    @property
    def ports(self) -> PortRange:
        """Both included."""
        return PortRange(self.first, self.last)


class Ports(Section):
    """Every port of the platform."""

    signal: Port = _port(7880, "TCP on SFU nodes: signalling and LiveKit's API")
    ice_tcp: Port = _port(7881, "TCP on SFU nodes: media over TCP")
    media_udp: Port = _port(7882, "UDP on SFU nodes: media, all clients on one port")
    turn_udp: Port = _port(3478, "UDP on TURN nodes: TURN")
    turn_tcp: Port = _port(3478, "TCP on TURN nodes: TURN over TCP, with coturn")
    turn_tls: Port = _port(
        5349,
        "TCP in coturn's pods: TURN over TLS, to which the edge leads; on TURN nodes, too, where "
        "`edge.kind` is `ingress` or `turn.kind` is `embedded`",
    )
    turn_relay: RelayRange = Field(
        default=RelayRange(), description='an object {"first": port, "last": port}'
    )
    turn_metrics: Port = _port(9641, "TCP in coturn's pods: Prometheus metrics")
    turn_reports: Port = _port(9642, "TCP on loopback of coturn's pods: what coturn reports for its metrics")
    livekit_metrics: Port = _port(6789, "TCP on SFU nodes: Prometheus metrics")
    edge_https: Port = _port(443, "TCP on the edge's nodes: signalling, API, object store and TURN over TLS")
    edge_http: Port = _port(80, "TCP on the edge's nodes: redirects to https")
    edge_metrics: Port = _port(8404, "TCP in the edge's pods: Prometheus metrics")
    redis: Port = _port(6379, "TCP in Redis' pods")
    redis_sentinel: Port = _port(26379, "TCP in Redis' pods: Sentinel")
    object_store: Port = _port(7070, "TCP in the object store's pod: S3")
    object_store_admin: Port = _port(7071, "TCP in the object store's pod: its own API, for its setup only")
    token_api: Port = _port(8080, "TCP in token-api's pods: HTTP")
    egress_template: Port = _port(
        7980, "TCP on loopback of livekit/egress' pods: the pages that its browser records"
    )
    egress_health: Port = _port(7981, "TCP in the egress workers' pods: health")
    egress_metrics: Port = _port(7982, "TCP in the egress workers' pods: Prometheus metrics")

    def claims(self) -> tuple[PortClaim, ...]:
        """Every port as a claim on the space it is taken from."""

        def one(field: str, protocol: Protocol, scope: Scope, pod: str = "") -> PortClaim:
            port: int = getattr(self, field)
            return PortClaim(f"ports.{field}", protocol, PortRange(port, port), scope, pod=pod)

        return (
            one("signal", Protocol.TCP, Scope.HOST),
            one("ice_tcp", Protocol.TCP, Scope.HOST),
            one("media_udp", Protocol.UDP, Scope.HOST),
            # The embedded server takes them from the node, coturn from the node and from its pod.
            *(
                one(field, protocol, scope, pod)
                for field, protocol in (
                    ("turn_udp", Protocol.UDP),
                    ("turn_tcp", Protocol.TCP),
                    ("turn_tls", Protocol.TCP),
                )
                for scope, pod in ((Scope.HOST_PORT, ""), (Scope.POD, names.COTURN))
            ),
            # The embedded server's are ports of the node: `turn_rules` says which those may be.
            PortClaim("ports.turn_relay", Protocol.UDP, self.turn_relay.ports, Scope.POD, pod=names.COTURN),
            one("turn_metrics", Protocol.TCP, Scope.POD, names.COTURN),
            one("turn_reports", Protocol.TCP, Scope.POD, names.COTURN),
            one("livekit_metrics", Protocol.TCP, Scope.HOST),
            one("edge_https", Protocol.TCP, Scope.HOST_PORT),
            one("edge_http", Protocol.TCP, Scope.HOST_PORT),
            one("edge_metrics", Protocol.TCP, Scope.POD, names.EDGE),
            one("redis", Protocol.TCP, Scope.POD, names.REDIS),
            one("redis_sentinel", Protocol.TCP, Scope.POD, names.REDIS),
            one("object_store", Protocol.TCP, Scope.POD, names.OBJECT_STORE),
            one("object_store_admin", Protocol.TCP, Scope.POD, names.OBJECT_STORE),
            one("token_api", Protocol.TCP, Scope.POD, names.TOKEN_API),
            one("egress_template", Protocol.TCP, Scope.POD, names.EGRESS),
            one("egress_health", Protocol.TCP, Scope.POD, names.EGRESS),
            one("egress_metrics", Protocol.TCP, Scope.POD, names.EGRESS),
        )
