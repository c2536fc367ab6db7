"""Where client namespaces are plugged in, and how they are named and addressed. Decisions only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import ClassVar, Final, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.processes import Process

CLIENT_DEVICE: Final = "eth0"


class NoFreeAddress(Exception):
    """Every client address of the bridge is taken."""


class ClientNetwork(BaseModel):
    """The bridge that clients are plugged into, and what they are told there.

    All but the last two are `client_network` of `make outputs`; those are laid over it by
    `StackOutputs.network_of_clients`.

    Attributes:
        netns: name of the network namespace that holds the bridge, as `ip netns` lists it.
        bridge: the bridge's name in there.
        gateway: the bridge's own address.
        addresses: the addresses that are free for clients.
        prefix: prefix length of the bridge's whole subnet.
        names: what a client resolves beside `localhost`, as an IPv4 address each: no DNS answers there.
        ca_certificate: the only authority that clients trust for TLS, as PEM; empty for the machine's own.
        resolv_conf: what clients have for /etc/resolv.conf; empty for the machine's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    netns: str = Field(min_length=1)
    bridge: str = Field(min_length=1)
    gateway: IPv4Address
    addresses: IPv4Network
    prefix: int = Field(ge=8, le=30)
    names: dict[str, IPv4Address] = {}
    ca_certificate: str = ""
    resolv_conf: str = ""

    @property
    def subnet(self) -> IPv4Network:
        """The bridge's whole subnet."""
        return IPv4Network(f"{self.gateway}/{self.prefix}", strict=False)

    @model_validator(mode="after")
    def _addresses_are_in_the_subnet(self) -> ClientNetwork:
        if not self.addresses.subnet_of(self.subnet):
            raise ValueError(
                f"addresses is {self.addresses}; allowed are parts of the bridge's subnet {self.subnet}"
            )
        return self


@dataclass(frozen=True)
class OwnedName:
    """A namespace's name. It says whose it is and which address it has taken.

    So the list of namespaces is the whole record of addresses in use, and there is no second one
    that could disagree with it.
    """

    prefix: ClassVar[str]

    owner: Process
    address: IPv4Address

    def __str__(self) -> str:
        return f"{self.prefix}-{self.owner.pid}-{self.owner.started}-{self.address}"


@dataclass(frozen=True)
class ClientName(OwnedName):
    """The name of a client's namespace, and what belongs to it. Linux allows 15 characters for a device."""

    prefix: ClassVar[str] = "lkclient"

    @property
    def hardware_address(self) -> str:
        """Of the device that the bridge's other users see; always the same for an IP address.

        They remember it for the next client with this address, and a router does not tell them of another.
        """
        return ":".join(["02", "6c", *(f"{byte:02x}" for byte in self.address.packed)])

    @property
    def port_device(self) -> str:
        """The bridge's end of the link; behind a router the other end is there."""
        return f"lk{int(self.address):08x}"

    @property
    def down_device(self) -> str:
        """The router's end of the link to the client: what leaves it there goes down to the client."""
        return f"dn{int(self.address):08x}"

    @property
    def up_device(self) -> str:
        """The router's end of the link to the bridge: what leaves it there has come up from the client."""
        return f"up{int(self.address):08x}"

    @staticmethod
    def parse(name: str) -> ClientName | None:
        """The parts of a name that `str()` made; None for any other namespace."""
        return _parse(ClientName, name)


@dataclass(frozen=True)
class RouterName(OwnedName):
    """The name of a namespace that stands between a group of clients and the bridge.

    Others remember a router's address with a client's hardware address, so it is from the other end
    than clients' addresses: nobody is to be found at it.
    """

    prefix: ClassVar[str] = "lkrouter"

    @staticmethod
    def parse(name: str) -> RouterName | None:
        """The parts of a name that `str()` made; None for any other namespace."""
        return _parse(RouterName, name)


NamespaceName: TypeAlias = ClientName | RouterName
_N = TypeVar("_N", bound=OwnedName)


def _parse(kind: type[_N], name: str) -> _N | None:
    match name.split("-"):
        case [prefix, pid, started, address] if prefix == kind.prefix:
            try:
                return kind(Process(int(pid), int(started)), IPv4Address(address))
            except ValueError:
                return None
    return None


def free_address(
    network: ClientNetwork, taken: Iterable[IPv4Address], *, highest: bool = False
) -> IPv4Address:
    """The lowest client address that nobody has taken, or the highest one.

    Raises:
        NoFreeAddress: none is left.
    """
    subnet = network.subnet
    unusable = {*taken, network.gateway, subnet.network_address, subnet.broadcast_address}
    numbers = range(network.addresses.num_addresses)
    for number in reversed(numbers) if highest else numbers:
        address = network.addresses[number]
        if address not in unusable:
            return address
    raise NoFreeAddress(
        f"all client addresses of {network.addresses} are taken; `ip netns list` shows by whom "
        f"({ClientName.prefix}- and {RouterName.prefix}-<process id>-...)"
    )
