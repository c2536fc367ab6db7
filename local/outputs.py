"""What tests and users read of a stack: its outputs, and where its cluster is."""

from __future__ import annotations

from typing import Any

from local.cluster.cluster import Cluster
from local.paths import Instance
from local.stack import Stack
from local.up import given_cluster


def stack_outputs(instance: Instance, *, show_secrets: bool) -> dict[str, Any]:
    """The stack's outputs, plus `kubeconfig_path` and `client_network`.

    `client_network` is where network namespaces for clients are plugged in (`netns` and `bridge`),
    which `gateway` and `prefix` they take, and which `addresses` are theirs; None on a given cluster.
    """
    cluster = Cluster.recorded(instance)
    given = given_cluster()
    topology = cluster.topology if cluster else None
    return {
        **Stack(instance).outputs(show_secrets=show_secrets),
        "kubeconfig_path": str(given.kubeconfig if given else instance.kubeconfig),
        "client_network": {
            "netns": topology.switch_netns,
            "bridge": topology.bridge,
            "gateway": topology.gateway,
            "addresses": topology.client_addresses,
            "prefix": topology.prefix,
        }
        if topology
        else None,
    }
