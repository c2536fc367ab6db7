"""Killing the SFU of a node, as a machine that loses its power would."""

from __future__ import annotations

import json
from ipaddress import IPv4Address

from common.commands import run
from loadtest.targets.target import Cluster

_SFU = "app.kubernetes.io/name=livekit-server"
_SECONDS = 30.0


class CannotKill(Exception):
    """The node's SFU is out of reach. A sentence for people."""


def kill_sfu(cluster: Cluster | None, node: IPv4Address) -> str:
    """Delete the SFU's pod at a node without a grace period; gives its name.

    Raises:
        CannotKill: the server's pods are out of reach, or none is at this node.
        CommandFailed: kubectl says no.
    """
    if cluster is None:
        raise CannotKill(
            "only pods of a stack of this project can be killed, and the target is another server"
        )
    kubectl = ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "-n", cluster.namespace]
    listed = run([*kubectl, "get", "pods", "-l", _SFU, "-o", "json"], timeout=_SECONDS).stdout
    name = pod_at(listed, node)
    run(
        [*kubectl, "delete", "pod", name, "--grace-period=0", "--force", "--wait=false"],
        timeout=_SECONDS,
    )
    return name


def pod_at(listed: str, node: IPv4Address) -> str:
    """The running pod at a node's address, of a list as kubectl gives it in JSON. Pure.

    Raises:
        CannotKill: there is none.
    """
    pods = [
        pod
        for pod in json.loads(listed)["items"]
        if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
    ]
    for pod in pods:
        if str(node) in (pod["status"].get("hostIP"), pod["status"].get("podIP")):
            return str(pod["metadata"]["name"])
    raise CannotKill(f"no SFU pod runs at {node}, where the room's media goes; there are {len(pods)} of them")
