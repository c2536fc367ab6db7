"""The namespace, closed to traffic that nobody allowed."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_kubernetes import core, meta, networking, scheduling

from livekit_platform import names


@dataclass(frozen=True)
class NamespaceArgs:
    name: str


# Who goes last when a node is short of memory: calls, then what they stand on. Kubernetes' own critical pods
# are above 2000000000, everybody else's are at 0.
_PRIORITIES = {names.MEDIA: 100000, names.STATE: 90000, names.API: 50000}


class Namespace(pulumi.ComponentResource):
    """The platform's namespace: closed by default, with the PriorityClasses of its pods."""

    def __init__(self, name: str, args: NamespaceArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("livekit-platform:components:Namespace", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        namespace = core.v1.Namespace(
            name,
            metadata=meta.v1.ObjectMetaArgs(
                name=args.name,
                labels={
                    **names.labels(name),
                    # SFUs and coturn use the node's network, and the edge takes ports of it, which every
                    # level below `privileged` forbids to the whole namespace. In all else they, and all other
                    # pods in everything, keep to `restricted` (tests/manifests holds them to it); audit
                    # records who does not.
                    "pod-security.kubernetes.io/enforce": "privileged",
                    "pod-security.kubernetes.io/audit": "restricted",
                    "pod-security.kubernetes.io/warn": "baseline",
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
        for group, value in _PRIORITIES.items():
            name_of_class = names.priority_class(args.name, group)
            scheduling.v1.PriorityClass(
                name_of_class,
                metadata=meta.v1.ObjectMetaArgs(name=name_of_class, labels=names.labels(group)),
                value=value,
                global_default=False,
                description=f"The {group} pods of the LiveKit platform in namespace {args.name}",
                opts=child,
            )
        self.register_outputs({})
