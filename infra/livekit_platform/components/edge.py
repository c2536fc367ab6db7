"""The edge: HAProxy of our own, or Ingress objects for a controller that the cluster has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_kubernetes import meta
from pulumi_kubernetes.networking import v1 as networking

from livekit_platform import names
from livekit_platform.components.chart import own_chart
from livekit_platform.values.edge import IngressHost, IngressRoute


@dataclass(frozen=True)
class IngressArgs:
    """Ingress objects by their names, and what all of them have."""

    hosts: Mapping[str, IngressHost]
    class_name: str
    annotations: Mapping[str, str]
    tls_secret_name: str


@dataclass(frozen=True)
class EdgeArgs:
    namespace: str
    # Values of charts/edge, or Ingress objects instead of it.
    edge: Mapping[str, Any] | IngressArgs


class Edge(pulumi.ComponentResource):
    """charts/edge, or Ingress objects."""

    def __init__(self, name: str, args: EdgeArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__("livekit-platform:components:Edge", name, {}, opts)
        if isinstance(args.edge, IngressArgs):
            for ingress, host in args.edge.hosts.items():
                self._ingress(ingress, host, args.namespace, args.edge)
        else:
            own_chart(names.EDGE, namespace=args.namespace, values=args.edge, parent=self, depends_on=[])
        self.register_outputs({})

    def _ingress(self, name: str, host: IngressHost, namespace: str, args: IngressArgs) -> None:
        networking.Ingress(
            name,
            metadata=meta.v1.ObjectMetaArgs(
                name=name,
                namespace=namespace,
                labels=names.labels(names.EDGE),
                annotations={
                    # Controllers differ in whether and when they write an address into the status.
                    "pulumi.com/skipAwait": "true",
                    **args.annotations,
                },
            ),
            spec=networking.IngressSpecArgs(
                ingress_class_name=args.class_name or None,
                tls=[networking.IngressTLSArgs(hosts=[host.host], secret_name=args.tls_secret_name)],
                rules=[
                    networking.IngressRuleArgs(
                        host=host.host,
                        http=networking.HTTPIngressRuleValueArgs(paths=[*map(_path, host.routes)]),
                    )
                ],
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )


def _path(route: IngressRoute) -> networking.HTTPIngressPathArgs:
    return networking.HTTPIngressPathArgs(
        path=route.path,
        path_type="Prefix",
        backend=networking.IngressBackendArgs(
            service=networking.IngressServiceBackendArgs(
                name=route.service, port=networking.ServiceBackendPortArgs(number=route.port)
            )
        ),
    )
