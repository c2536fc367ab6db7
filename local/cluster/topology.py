"""The shape of a local cluster as values: names, addresses, node roles. Only its record has effects."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from common.files import write_whole

# One /24 per instance out of this block. It lies apart from what Docker (172.16/12), kind
# (10.244/16, 10.96/16) and home routers (192.168/16) take.
_BLOCK = ipaddress.IPv4Network("10.213.0.0/16")
POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
# Ports that no program on a node is given as an ephemeral one: media servers declare fixed
# ranges here, apart from NodePorts (30000-32767).
RESERVED_PORTS = "40000-49999"


class UnreadableRecord(RuntimeError):
    """A cluster was made, and the file that says which cannot be read; the message says what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(
            f"{path} cannot be read ({reason}): `make down` removes what carries this instance's name, "
            "then `make up` makes a new cluster"
        )


@dataclass(frozen=True)
class NodeSpec:
    """A node: a network namespace and a mount namespace that Kubernetes takes for a machine."""

    name: str
    address: str
    netns: str
    control_plane: bool


@dataclass(frozen=True)
class Topology:
    """Names and addresses of one cluster.

    `subnet` is an IPv4 /24: `.1` is the host, `.11` onwards are the nodes, and the upper half is
    free for clients (`client_addresses`).
    """

    instance: str
    subnet: str
    node_count: int

    @property
    def switch_netns(self) -> str:
        """The bridge lives in a namespace of its own, so that no firewall rule of the host's
        (Docker's FORWARD DROP, say) ever sees traffic between nodes."""
        return f"lkp-{self.instance}-net"

    @property
    def bridge(self) -> str:
        return "br0"

    @property
    def host_link(self) -> str:
        """The host's own end of its cable to the bridge; at most 15 characters."""
        return f"lkp-{self.instance}"

    @property
    def cgroup(self) -> str:
        return f"livekit-platform-{self.instance}"

    @property
    def prefix(self) -> int:
        return ipaddress.IPv4Network(self.subnet).prefixlen

    @property
    def gateway(self) -> str:
        return str(ipaddress.IPv4Network(self.subnet)[1])

    @property
    def client_addresses(self) -> str:
        return str(list(ipaddress.IPv4Network(self.subnet).subnets(1))[1])

    @property
    def nodes(self) -> tuple[NodeSpec, ...]:
        network = ipaddress.IPv4Network(self.subnet)
        return tuple(
            NodeSpec(
                name=f"node{number}",
                address=str(network[10 + number]),
                netns=f"lkp-{self.instance}-node{number}",
                control_plane=number == 1,
            )
            for number in range(1, self.node_count + 1)
        )

    @property
    def control_plane(self) -> NodeSpec:
        return self.nodes[0]

    def save(self, path: Path) -> None:
        write_whole(path, json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Topology | None:
        """The recorded topology, or None where no cluster was made.

        Raises:
            UnreadableRecord: there is a file, and it holds none.
        """
        if not path.exists():
            return None
        try:
            return cls(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise UnreadableRecord(path, str(error)) from error


def free_subnet(taken: Iterable[str]) -> str:
    """The first /24 of the block that overlaps none of the `taken` networks (CIDR strings).

    Raises:
        RuntimeError: all 256 are taken.
    """
    used = [ipaddress.IPv4Network(cidr, strict=False) for cidr in taken]
    for candidate in _BLOCK.subnets(new_prefix=24):
        if not any(candidate.overlaps(network) for network in used):
            return str(candidate)
    raise RuntimeError(f"no free /24 is left in {_BLOCK}: `make down` in checkouts that you no longer use")
