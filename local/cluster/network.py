"""Cables: the bridge in its own network namespace, one link to each node and one to the host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from common.commands import run
from local.cluster.topology import RESERVED_PORTS, NodeSpec, Topology

_TIMEOUT = 20.0
# What LiveKit asks for: below it, bursts of media are lost in the kernel before the SFU reads them.
_UDP_BUFFER_BYTES = 5_000_000
_UDP_BUFFER_LIMIT = Path("/proc/sys/net/core/rmem_max")


def _ip(*words: str) -> None:
    run(["ip", *words], timeout=_TIMEOUT)


def _ip_json(*words: str) -> list[dict[str, Any]]:
    printed = run(["ip", "-json", *words], timeout=_TIMEOUT).stdout
    return list(json.loads(printed)) if printed.strip() else []


def networks_in_use() -> list[str]:
    """IPv4 networks that the host has an address or a route in, as CIDR strings."""
    addresses = [
        f"{info['local']}/{info['prefixlen']}"
        for link in _ip_json("-4", "address")
        for info in link.get("addr_info", [])
    ]
    routes = [route["dst"] for route in _ip_json("-4", "route") if route["dst"] != "default"]
    return addresses + routes


def network_namespaces() -> set[str]:
    return {entry["name"] for entry in _ip_json("netns", "list")}


def host_links() -> set[str]:
    return {link["ifname"] for link in _ip_json("link")}


def create(topology: Topology) -> None:
    """Bridge, host cable and node cables; what is there and complete stays as it is."""
    switch = topology.switch_netns
    if not _has_link(switch, topology.bridge):
        remove(topology)  # without its bridge, what is left has nothing to be plugged into
        _ip("netns", "add", switch)
        _ip("-n", switch, "link", "set", "lo", "up")
        _ip("-n", switch, "link", "add", topology.bridge, "type", "bridge")
        # Bridged packets are not for iptables: the namespace has no rules, and the look-up costs.
        _sysctl(switch, "net.bridge.bridge-nf-call-iptables=0", required=False)
        _ip("-n", switch, "link", "set", topology.bridge, "up")
    if not _has_address(None, topology.host_link, topology.gateway):
        if topology.host_link in host_links():
            _ip("link", "delete", topology.host_link)
        _ip("link", "add", topology.host_link, "type", "veth", "peer", "name", "host", "netns", switch)
        _ip("-n", switch, "link", "set", "host", "master", topology.bridge, "up")
        _ip("link", "set", topology.host_link, "up")
        _ip("address", "add", f"{topology.gateway}/{topology.prefix}", "dev", topology.host_link)
    for node in topology.nodes:
        if not _has_address(node.netns, "eth0", node.address):
            if node.netns in network_namespaces():
                _ip("netns", "delete", node.netns)
            _create_node(topology, node)


def allow_large_udp_buffers() -> None:
    """Raise the machine's limit for receive buffers, which all network namespaces share; never lower it."""
    if int(_UDP_BUFFER_LIMIT.read_text()) < _UDP_BUFFER_BYTES:
        _UDP_BUFFER_LIMIT.write_text(f"{_UDP_BUFFER_BYTES}\n")


def _has_link(netns: str, name: str) -> bool:
    return netns in network_namespaces() and name in {
        link["ifname"] for link in _ip_json("-n", netns, "link")
    }


def _has_address(netns: str | None, link: str, address: str) -> bool:
    """Whether a link was set up to its last step: the address is given to it last."""
    if netns is not None and netns not in network_namespaces():
        return False
    links = _ip_json(*(["-n", netns] if netns else []), "-4", "address")
    known = {entry.get("ifname"): [info["local"] for info in entry.get("addr_info", [])] for entry in links}
    return address in known.get(link, [])


def _create_node(topology: Topology, node: NodeSpec) -> None:
    _ip("netns", "add", node.netns)
    _ip("-n", node.netns, "link", "set", "lo", "up")
    peer = ["peer", "name", "eth0", "netns", node.netns]
    _ip("-n", topology.switch_netns, "link", "add", node.name, "type", "veth", *peer)
    _ip("-n", topology.switch_netns, "link", "set", node.name, "master", topology.bridge, "up")
    _sysctl(node.netns, "net.ipv4.ip_forward=1")
    _sysctl(node.netns, f"net.ipv4.ip_local_reserved_ports={RESERVED_PORTS}")
    _ip("-n", node.netns, "link", "set", "eth0", "up")
    _ip("-n", node.netns, "address", "add", f"{node.address}/{topology.prefix}", "dev", "eth0")
    _ip("-n", node.netns, "route", "replace", "default", "via", topology.gateway)


def route_pods(topology: Topology, pod_cidrs: dict[str, str]) -> None:
    """Tell every node which node holds which pods: `pod_cidrs` is node name to CIDR."""
    for node in topology.nodes:
        for other in topology.nodes:
            if other != node:
                _ip("-n", node.netns, "route", "replace", pod_cidrs[other.name], "via", other.address)


def remove(topology: Topology) -> None:
    """Everything that `create` made. Deleting a veth or a namespace takes its peers with it."""
    if topology.host_link in host_links():
        _ip("link", "delete", topology.host_link)
    existing = network_namespaces()
    for netns in [*(node.netns for node in topology.nodes), topology.switch_netns]:
        if netns in existing:
            _ip("netns", "delete", netns)


def _sysctl(netns: str, setting: str, *, required: bool = True) -> None:
    run(["ip", "netns", "exec", netns, "sysctl", "-qw", setting], timeout=_TIMEOUT, check=required)
