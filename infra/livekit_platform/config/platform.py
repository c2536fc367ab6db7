"""The typed configuration of a stack: every key, its default and what it allows.

A field's `description` is the sentence shown as "allowed" where a value is refused. Rules over more than one
section are in `config_rules`, reading and error messages in `config_loader`.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from livekit_platform.ports import PortClaim, PortRange, Protocol, Scope

_DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
_DNS_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$"
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
_IMAGE = (
    r"^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)
_RESERVED_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


def _existing_file(path: Path) -> Path:
    path = path.expanduser()
    if not path.is_absolute() or not path.is_file():
        # A relative path would be taken from infra/, where the program runs: never what was meant.
        raise ValueError("not an absolute path of a file")
    return path


def _not_reserved(namespace: str) -> str:
    if namespace in _RESERVED_NAMESPACES:
        raise ValueError("reserved")
    return namespace


def _reachable(address: IPv4Address) -> IPv4Address:
    if address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local:
        raise ValueError("not reachable")
    return address


def _pinned(image: str) -> str:
    name, _, digest = image.partition("@")
    tag = name.rsplit("/", 1)[-1].partition(":")[2]
    if not digest and tag in ("", "latest"):
        raise ValueError("not pinned")
    return image


def _strong(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not 32 <= len(text) <= 256 or len(set(text)) < 8 or not all("!" <= letter <= "~" for letter in text):
        raise ValueError("weak or unusable")
    return secret


Image = Annotated[str, Field(pattern=_IMAGE), AfterValidator(_pinned)]
Quantity = Annotated[str, Field(pattern=_QUANTITY)]
Port = Annotated[int, Field(ge=1, le=65535)]
GivenSecret = Annotated[SecretStr, AfterValidator(_strong)]

_IMAGE_ALLOWED = (
    "a full image reference with a tag other than `latest`, or a digest: registry/path:tag[@sha256:...]"
)
_PORT_ALLOWED = "a port number from 1 to 65535"
_KEY_ALLOWED = (
    "32 to 256 printable ASCII characters without spaces, at least 8 of them different, set with "
    "`pulumi config set --secret --path`; "
    "leave it out and one is generated"
)
_QUANTITY_ALLOWED = "a Kubernetes quantity such as 250m, 128Mi or 1Gi"


class Section(BaseModel):
    """A part of the configuration: immutable, and without keys that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Node(Section):
    """A cluster node on which an SFU may run."""

    name: str = Field(pattern=_DNS_NAME, description="the node's name in Kubernetes (`kubectl get nodes`)")
    address: Annotated[IPv4Address, AfterValidator(_reachable)] = Field(
        description="the IPv4 address at which clients reach the node (not loopback, link-local or multicast)"
    )


class Resources(Section):
    """What a container asks for and is held to. CPU is not limited: throttling shows as jitter in calls."""

    cpu_request: Quantity = Field(default="500m", description=_QUANTITY_ALLOWED)
    memory_request: Quantity = Field(default="256Mi", description=_QUANTITY_ALLOWED)
    memory_limit: Quantity = Field(default="2Gi", description=_QUANTITY_ALLOWED)


class LiveKit(Section):
    """The SFU."""

    replicas: int | None = Field(
        default=None,
        ge=1,
        description="how many SFUs, at most one per node in `nodes`; one per node where left out",
    )
    # Known at preview, because webhooks name it; the secret that belongs to it is generated.
    api_key: str = Field(
        default="platform",
        pattern=r"^[A-Za-z0-9_-]{3,64}$",
        description="3 to 64 letters, digits, - or _",
    )
    interfaces: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,15}$")], ...] = Field(
        default=("eth0",),
        min_length=1,
        description="names of the network interfaces of the nodes that carry media (`ip link`), at least one",
    )
    log_level: Literal["debug", "info", "warn", "error"] = Field(
        default="info", description="one of debug, info, warn, error"
    )
    region: str = Field(
        default="", pattern=r"^[A-Za-z0-9_-]{0,64}$", description="up to 64 letters, digits, - or _"
    )
    # True until token-api creates the rooms.
    room_auto_create: bool = Field(
        default=True, description="true (a join makes the room) or false (only the server API does)"
    )
    drain_seconds: int = Field(
        default=600,
        ge=5,
        le=18000,
        description="seconds from 5 to 18000 that a stopping SFU waits for its calls; cluster autoscalers "
        "cut it at their own limit, commonly 600",
    )
    priority_class: str = Field(
        default="",
        pattern=r"^[a-z0-9.-]{0,253}$",
        description="the name of an existing PriorityClass, or empty",
    )
    resources: Resources = Field(default=Resources(), description="an object of quantities")


class Turn(Section):
    """How clients that reach no SFU port directly are served."""

    kind: Literal["embedded"] = Field(
        default="embedded", description="`embedded` (the TURN server inside LiveKit)"
    )


class Redis(Section):
    """What the SFUs share their state through."""

    kind: Literal["single"] = Field(default="single", description="`single` (one Redis in the cluster)")
    maxmemory_mib: int = Field(
        default=256,
        ge=16,
        le=65536,
        description="MiB of data from 16 to 65536; the container gets twice that",
    )
    storage_size: Quantity = Field(default="1Gi", description=_QUANTITY_ALLOWED)
    storage_class: str = Field(
        default="",
        pattern=r"^[a-z0-9.-]{0,253}$",
        description="the name of a StorageClass, or empty for the default one",
    )
    client_cidrs: tuple[IPv4Network, ...] = Field(
        default=(),
        description="a list of IPv4 networks, beside the nodes' addresses, from which SFUs reach Redis: "
        "the node ends of the pod network's tunnels, where it has any",
    )


class TokenApi(Section):
    """The token service."""

    replicas: int = Field(default=2, ge=1, le=20, description="a number from 1 to 20")


class Images(Section):
    """Which image each part runs."""

    livekit: Image = Field(default="docker.io/livekit/livekit-server:v1.13.5", description=_IMAGE_ALLOWED)
    redis: Image = Field(default="docker.io/library/redis:7.0.15-bookworm", description=_IMAGE_ALLOWED)
    token_api: Image = Field(
        description=f"{_IMAGE_ALLOWED}; it is built from services/token-api, and `make up` sets it"
    )


class Secrets(Section):
    """Generated secrets and, where the owner has them already, given ones."""

    generation: int = Field(
        default=1,
        ge=1,
        description="a number from 1; raising it makes every generated secret anew and restarts the pods",
    )
    livekit_api_secret: GivenSecret | None = Field(default=None, description=_KEY_ALLOWED)
    redis_password: GivenSecret | None = Field(default=None, description=_KEY_ALLOWED)
    api_service_key: GivenSecret | None = Field(default=None, description=_KEY_ALLOWED)

    def given(self) -> dict[str, SecretStr]:
        """The secrets that the owner gives, by field name."""
        values = {name: getattr(self, name) for name in type(self).model_fields if name != "generation"}
        return {name: value for name, value in values.items() if value is not None}


class RelayRange(Section):
    """UDP ports for relayed addresses: each client that needs TURN takes one for the length of its call."""

    first: Port = Field(default=40000, description=_PORT_ALLOWED)
    last: Port = Field(default=40199, description=_PORT_ALLOWED)


class Ports(Section):
    """Every port of the platform."""

    signal: Port = Field(default=7880, description=_PORT_ALLOWED)
    ice_tcp: Port = Field(default=7881, description=_PORT_ALLOWED)
    media_udp: Port = Field(default=7882, description=_PORT_ALLOWED)
    turn_udp: Port = Field(default=3478, description=_PORT_ALLOWED)
    turn_relay: RelayRange = Field(
        default=RelayRange(), description='an object {"first": port, "last": port}'
    )
    livekit_metrics: Port = Field(default=6789, description=_PORT_ALLOWED)
    redis: Port = Field(default=6379, description=_PORT_ALLOWED)
    token_api: Port = Field(default=8080, description=_PORT_ALLOWED)
    token_api_node_port: Port = Field(default=30080, description=_PORT_ALLOWED)

    def claims(self) -> tuple[PortClaim, ...]:
        """Every port as a claim on the space it is taken from."""

        def one(field: str, protocol: Protocol, scope: Scope) -> PortClaim:
            port: int = getattr(self, field)
            return PortClaim(f"ports.{field}", protocol, PortRange(port, port), scope)

        relay = PortRange(self.turn_relay.first, self.turn_relay.last)
        return (
            one("signal", Protocol.TCP, Scope.HOST),
            one("ice_tcp", Protocol.TCP, Scope.HOST),
            one("media_udp", Protocol.UDP, Scope.HOST),
            one("turn_udp", Protocol.UDP, Scope.HOST),
            PortClaim("ports.turn_relay", Protocol.UDP, relay, Scope.HOST, relay=True),
            one("livekit_metrics", Protocol.TCP, Scope.HOST),
            one("redis", Protocol.TCP, Scope.POD),
            one("token_api", Protocol.TCP, Scope.POD),
            one("token_api_node_port", Protocol.TCP, Scope.NODE_PORT),
        )


class PlatformConfig(Section):
    """The whole configuration: one field per key under `livekit-platform:`."""

    kubeconfig: Annotated[Path, AfterValidator(_existing_file)] = Field(
        description="the absolute path of the kubeconfig of the cluster to deploy to, a file that exists; "
        "set it with `pulumi config set livekit-platform:kubeconfig <path>` (`make up` sets it to the "
        "cluster it makes). The ambient kubeconfig is never used"
    )
    context: str | None = Field(
        default=None, min_length=1, description="a context of the kubeconfig; its current one where left out"
    )
    namespace: Annotated[str, AfterValidator(_not_reserved)] = Field(
        default="livekit",
        pattern=_DNS_LABEL,
        description="a DNS label (a-z, 0-9, -; up to 63) that is not a namespace of Kubernetes itself",
    )
    domain: str = Field(
        default="lk.localhost",
        pattern=_DNS_NAME,
        max_length=200,
        description="a DNS name in lower case, up to 200 characters",
    )
    nodes: tuple[Node, ...] = Field(
        min_length=1, description='a list of at least one {"name": ..., "address": ...}'
    )
    livekit: LiveKit = Field(default=LiveKit(), description="an object")
    turn: Turn = Field(default=Turn(), description="an object")
    redis: Redis = Field(default=Redis(), description="an object")
    token_api: TokenApi = Field(default=TokenApi(), description="an object")
    images: Images = Field(description="an object with at least `token_api`")
    secrets: Secrets = Field(default=Secrets(), description="an object")
    ports: Ports = Field(default=Ports(), description="an object of port numbers")

    @property
    def sfu_nodes(self) -> tuple[Node, ...]:
        """The nodes on which SFUs run: the first `livekit.replicas` of `nodes`."""
        return self.nodes[: self.livekit.replicas or len(self.nodes)]
