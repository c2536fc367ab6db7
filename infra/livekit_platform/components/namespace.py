"""The namespace, closed to traffic that nobody allowed."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes import core, meta, networking

from livekit_platform import names


@dataclass(frozen=True)
class NamespaceArgs:
    name: str


class Namespace(pulumi.ComponentResource):
    """A namespace and its default-deny NetworkPolicy."""

    def __init__(self, name: str, args: NamespaceArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("livekit-platform:components:Namespace", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        namespace = core.v1.Namespace(
            name,
            metadata=meta.v1.ObjectMetaArgs(
                name=args.name,
                labels={
                    **names.labels(name),
                    # SFUs use the node's network, which every level below `privileged` forbids to the whole
                    # namespace. All other pods keep to `restricted` (tests/manifests holds them to it), and
                    # audit records who does not.
                    "pod-security.kubernetes.io/enforce": "privileged",
                    "pod-security.kubernetes.io/audit": "restricted",
                },
            ),
            opts=child,
        )
        # Pods of this namespace reach, and are reached by, only what their own chart allows. SFUs are not
        # bound by it: NetworkPolicies do not see pods on the node's network.
        networking.v1.NetworkPolicy(
            f"{name}-default-deny",
            metadata=meta.v1.ObjectMetaArgs(
                name="default-deny", namespace=args.name, labels=names.labels("default-deny")
            ),
            spec=networking.v1.NetworkPolicySpecArgs(
                pod_selector=meta.v1.LabelSelectorArgs(), policy_types=["Ingress", "Egress"]
            ),
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[namespace])),
        )
        self.register_outputs({})
