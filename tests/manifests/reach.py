"""Whether a NetworkPolicy lets a pod connect to an address."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from tests.manifests.rendering import Manifest, of_kind

PUBLIC = "93.184.216.34"
# Addresses that do not belong to anybody on the internet, and those of the clouds' metadata services.
PRIVATE = (
    *("10.0.0.1", "10.0.0.2", "172.16.5.5", "192.168.1.1", "100.64.0.1", "127.0.0.1", "0.0.0.0"),
    *("169.254.169.254", "168.63.129.16", "192.0.0.192", "224.0.0.1", "255.255.255.255"),
)


def reaches(manifests: list[Manifest], address: str, port: int, protocol: str = "TCP") -> bool:
    """Whether a rule of the only policy lets a connection to `address` out."""
    [policy] = of_kind(manifests, "NetworkPolicy")
    return any(
        _in_block(peer["ipBlock"], address)
        and any(entry["protocol"] == protocol and entry.get("port", port) == port for entry in rule["ports"])
        for rule in policy["spec"]["egress"]
        for peer in rule["to"]
        if "ipBlock" in peer
    )


def _in_block(block: dict[str, Any], address: str) -> bool:
    one = ip_address(address)
    return one in ip_network(block["cidr"]) and not any(
        one in ip_network(network) for network in block.get("except", [])
    )
