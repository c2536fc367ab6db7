"""What tests and users read of a stack: its outputs, and where its cluster is."""

from __future__ import annotations

from typing import Any

from local.browser import browser_urls
from local.cluster.cluster import Cluster
from local.given import given_cluster
from local.paths import Instance
from local.stack import Stack


def stack_outputs(instance: Instance, *, show_secrets: bool) -> dict[str, Any]:
    """The stack's outputs, plus `kubeconfig_path`, `client_network` and `browser_urls`.

    `client_network` is where network namespaces for clients are plugged in (`netns` and `bridge`),
    which `gateway` and `prefix` they take, and which `addresses` are theirs; None on a given cluster.
    `browser_urls` is what a browser on this machine opens, by scheme; None where no doors are open.
    """
    cluster = Cluster.recorded(instance)
    given = given_cluster()
    topology = cluster.topology if cluster else None
    deployed = Stack(instance).outputs(show_secrets=show_secrets)
    return {
        **deployed,
        "browser_urls": browser_urls(instance, deployed["domain"]) if "domain" in deployed else None,
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
