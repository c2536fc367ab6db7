"""What the cluster's own network is like, where its policies must know it."""

from __future__ import annotations

from ipaddress import IPv4Network

from pydantic import Field

from livekit_platform.config.section import Section


class Network(Section):
    """Networks that policies let through beside the addresses in `nodes`: most clusters need none."""

    node_cidrs: tuple[IPv4Network, ...] = Field(
        default=(),
        description="a list of IPv4 networks, beside the nodes' own addresses, from which pods on the nodes' "
        "network (the SFUs) reach other pods: the node ends of the pod network's tunnels, where it has any",
        examples=[["10.244.0.0/32", "10.244.1.0/32"]],
    )
    dns_cidrs: tuple[IPv4Network, ...] = Field(
        default=(),
        description="a list of IPv4 networks of name servers that are no pods of kube-system, such as "
        "NodeLocal DNSCache",
        examples=[["169.254.20.10/32"]],
    )
    ingress_cidrs: tuple[IPv4Network, ...] = Field(
        default=(),
        description="a list of IPv4 networks from which an Ingress controller that is outside the pod "
        "network reaches pods, for `edge.kind` `ingress`",
        examples=[["198.51.100.0/28"]],
    )

    def lists(self) -> dict[str, tuple[IPv4Network, ...]]:
        """Every list by its key."""
        return {name: getattr(self, name) for name in type(self).model_fields}
