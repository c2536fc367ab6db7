"""Every port of the platform, declared once, and the rules that they must keep.

SFU pods use the node's network, so their ports share one space with the node's own programs, with
NodePorts (which kube-proxy takes away from everybody else) and with the ephemeral ports that the kernel
hands to outgoing connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from itertools import combinations


class Protocol(StrEnum):
    TCP = "TCP"
    UDP = "UDP"


class Scope(Enum):
    """Whose port space a port is taken from."""

    HOST = "the node's own network"
    # Ports of the node that lead to a pod's: taken from the same space, and open to privileged numbers.
    HOST_PORT = "the node's own network, led to a pod"
    POD = "a pod's own network"


@dataclass(frozen=True)
class PortRange:
    """Ports `first` to `last`, both included."""

    first: int
    last: int

    def __len__(self) -> int:
        return max(self.last - self.first + 1, 0)

    def overlaps(self, other: PortRange) -> bool:
        return self.first <= other.last and other.first <= self.last

    def within(self, other: PortRange) -> bool:
        return other.first <= self.first and self.last <= other.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


# kube-apiserver's default --service-node-port-range.
NODE_PORTS = PortRange(30000, 32767)
# Linux's default net.ipv4.ip_local_port_range.
EPHEMERAL = PortRange(32768, 60999)
# No pod of the platform has CAP_NET_BIND_SERVICE.
UNPRIVILEGED = PortRange(1024, 65535)
# What Kubernetes itself listens on at a node: etcd, API server, kubelet, kube-proxy, controller manager,
# scheduler.
KUBERNETES_TCP = (2379, 2380, 6443, 10248, 10249, 10250, 10256, 10257, 10259)


@dataclass(frozen=True)
class PortClaim:
    """One declared port (range): `key` is its place in the configuration, e.g. "ports.signal"."""

    key: str
    protocol: Protocol
    ports: PortRange
    scope: Scope
    # Whose own network, where `scope` is POD: containers of one pod share it.
    pod: str = ""


def broken_rules(claims: Sequence[PortClaim]) -> list[tuple[str, str, str]]:
    """All rules that `claims` break, as (key, what was given, what is allowed)."""
    broken = [entry for claim in claims for entry in _alone(claim)]
    reported: set[tuple[str, str]] = set()
    for one, other in combinations(claims, 2):
        space = None if (one.key, other.key) in reported else _shared_space(one, other)
        if space and one.protocol is other.protocol and one.ports.overlaps(other.ports):
            reported.add((one.key, other.key))
            broken.append(
                (
                    other.key,
                    f"{other.ports}/{other.protocol.value}",
                    f"ports that {one.key} ({one.ports}/{one.protocol.value}) does not take: both are "
                    f"{space}",
                )
            )
    return broken


def _shared_space(one: PortClaim, other: PortClaim) -> str | None:
    """What both take their ports from, or None where they cannot meet."""
    if Scope.POD not in (one.scope, other.scope):
        return "ports of the nodes"
    if one.scope is other.scope and one.pod and one.pod == other.pod:
        return f"ports of pod {one.pod}"
    return None


def _alone(claim: PortClaim) -> list[tuple[str, str, str]]:
    """The rules that one claim breaks by itself."""
    given = f"{claim.ports}/{claim.protocol.value}"
    allowed = None
    if claim.ports.first > claim.ports.last:
        allowed = "a range whose first port is not above its last"
    elif claim.scope is not Scope.HOST_PORT and not claim.ports.within(UNPRIVILEGED):
        allowed = f"an unprivileged port: {UNPRIVILEGED}"
    if allowed is not None:
        return [(claim.key, given, allowed)]
    return [] if claim.scope is Scope.POD else _on_node(claim, given)


def _on_node(claim: PortClaim, given: str) -> list[tuple[str, str, str]]:
    """The rules for ports that are taken from a node."""
    broken = []
    if claim.ports.overlaps(NODE_PORTS):
        broken.append((claim.key, given, f"a port outside the NodePorts ({NODE_PORTS})"))
    if claim.ports.overlaps(EPHEMERAL):
        broken.append((claim.key, given, f"a port outside the ephemeral ports ({EPHEMERAL})"))
    if claim.protocol is Protocol.TCP and any(
        claim.ports.first <= port <= claim.ports.last for port in KUBERNETES_TCP
    ):
        taken = ", ".join(map(str, KUBERNETES_TCP))
        broken.append((claim.key, given, f"a port that Kubernetes does not use on nodes ({taken})"))
    return broken
