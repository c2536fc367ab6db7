"""The whole configuration of a stack."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from livekit_platform import names
from livekit_platform.config.certificates import Certificates
from livekit_platform.config.edge import Edge
from livekit_platform.config.egress import Egress
from livekit_platform.config.images import Images
from livekit_platform.config.livekit import LiveKit
from livekit_platform.config.network import Network
from livekit_platform.config.object_store import ObjectStore
from livekit_platform.config.ports import Ports
from livekit_platform.config.recordings import Recordings
from livekit_platform.config.redis import Redis
from livekit_platform.config.secrets import Secrets
from livekit_platform.config.section import DNS_LABEL, DNS_NAME, Section, existing_file, reachable
from livekit_platform.config.token_api import Database, TokenApi
from livekit_platform.config.turn import Turn

_RESERVED_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


def _not_reserved(namespace: str) -> str:
    if namespace in _RESERVED_NAMESPACES:
        raise ValueError("reserved")
    return namespace


class Node(Section):
    """A cluster node on which SFUs, TURN servers and the edge may run."""

    name: str = Field(
        pattern=DNS_NAME,
        description="the node's name in Kubernetes (`kubectl get nodes`)",
        examples=["node-a"],
    )
    address: Annotated[IPv4Address, AfterValidator(reachable)] = Field(
        description="the IPv4 address at which clients reach the node (not loopback, link-local or "
        "multicast)",
        examples=["198.51.100.11"],
    )
    internal_address: Annotated[IPv4Address, AfterValidator(reachable)] | None = Field(
        default=None,
        description="the node's own IPv4 address inside the cluster (its InternalIP), where it differs from "
        "`address`, which is then translated to it one to one",
        examples=["10.0.0.11"],
    )

    @property
    def inside(self) -> IPv4Address:
        """The address of the node's own interface: what the cluster sees, and what its policies name."""
        return self.internal_address or self.address

    @property
    def addresses(self) -> tuple[IPv4Address, ...]:
        """Every address at which the node is reached, the clients' first."""
        return tuple(dict.fromkeys((self.address, self.inside)))


class PlatformConfig(Section):
    """The whole configuration: one field per key under `livekit-platform:`."""

    kubeconfig: Annotated[Path, AfterValidator(existing_file)] = Field(
        description="the absolute path of the kubeconfig of the cluster to deploy to, a file that exists; "
        "set it with `pulumi config set livekit-platform:kubeconfig <path>` (`make up` sets it to the "
        "cluster it makes). The ambient kubeconfig is never used",
        examples=["/home/ops/.kube/staging.yaml"],
    )
    context: str | None = Field(
        default=None,
        min_length=1,
        description="a context of the kubeconfig; its current one where left out",
        examples=["staging"],
    )
    environment: Literal["local", "staging", "production"] = Field(
        default="staging",
        description="one of local, staging, production; production refuses what would lose data or trust",
    )
    namespace: Annotated[str, AfterValidator(_not_reserved)] = Field(
        default="livekit",
        pattern=DNS_LABEL,
        description="a DNS label (a-z, 0-9, -; up to 63) that is not a namespace of Kubernetes itself",
    )
    domain: str = Field(
        default="lk.localhost",
        pattern=DNS_NAME,
        max_length=200,
        description="a DNS name in lower case, up to 200 characters; sfu., turn., api. and s3. below it lead "
        "to the edge",
        examples=["live.example.com"],
    )
    nodes: tuple[Node, ...] = Field(
        min_length=1,
        description='a list of at least one {"name": ..., "address": ...}, with an "internal_address" where '
        "that differs",
    )
    network: Network = Field(default=Network(), description="an object of lists of networks")
    livekit: LiveKit = Field(default=LiveKit(), description="an object")
    turn: Turn = Field(default=Turn(), description="an object")
    edge: Edge = Field(default=Edge(), description="an object")
    redis: Redis = Field(default=Redis(), description="an object")
    object_store: ObjectStore = Field(default=ObjectStore(), description="an object")
    egress: Egress = Field(default=Egress(), description="an object")
    recordings: Recordings = Field(default=Recordings(), description="an object")
    token_api: TokenApi = Field(default=TokenApi(), description="an object")
    database: Database = Field(default=Database(), description="an object")
    images: Images = Field(
        description="an object with at least `token_api`, `object_store_setup` and `turn_exporter`"
    )
    secrets: Secrets = Field(default=Secrets(), description="an object")
    certificates: Certificates = Field(default=Certificates(), description="an object")
    ports: Ports = Field(default=Ports(), description="an object of port numbers")

    @property
    def sfu_nodes(self) -> tuple[Node, ...]:
        """The nodes on which SFUs run: the first `livekit.replicas` of `nodes`."""
        return self.nodes[: self.livekit.replicas or len(self.nodes)]

    @property
    def turn_nodes(self) -> tuple[Node, ...]:
        """The nodes on which coturn runs: the first `turn.replicas` of `nodes`."""
        return self.nodes[: self.turn.servers(len(self.nodes))]

    @property
    def edge_nodes(self) -> tuple[Node, ...]:
        """The nodes on which HAProxy runs: the first `edge.replicas` of `nodes`."""
        return self.nodes[: self.edge.replicas or len(self.nodes)]

    @property
    def sfu_cidrs(self) -> list[str]:
        """The SFUs inside the cluster, as policies name them: they use their nodes' network."""
        return [f"{node.inside}/32" for node in self.sfu_nodes]

    @property
    def sfu_media_cidrs(self) -> list[str]:
        """The SFUs at every address that media may go to: their own, and the one that clients are told."""
        return [f"{address}/32" for node in self.sfu_nodes for address in node.addresses]

    @property
    def sfu_source_cidrs(self) -> list[str]:
        """Where SFUs come from when they connect to pods."""
        return [*self.sfu_cidrs, *map(str, self.network.node_cidrs)]

    @property
    def own_cidrs(self) -> list[str]:
        """The cluster's nodes, at all their addresses: what no public address is."""
        nodes = [f"{address}/32" for node in self.nodes for address in node.addresses]
        return list(dict.fromkeys([*nodes, *map(str, self.network.node_cidrs)]))

    @property
    def tls_secret_name(self) -> str:
        """The Secret with the certificate of the edge and of TURN: a given one, or the platform's own."""
        return self.edge.tls.secret_name or names.EDGE_TLS_SECRET

    def host(self, service: str) -> str:
        """The name of `service` (sfu, turn, api, s3) below the domain."""
        return f"{service}.{self.domain}"
