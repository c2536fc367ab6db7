"""Where client namespaces are plugged in, and how they are named and addressed. Decisions only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.processes import Process

CLIENT_DEVICE: Final = "eth0"
_NAME_PREFIX: Final = "lkclient"


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
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    netns: str = Field(min_length=1)
    bridge: str = Field(min_length=1)
    gateway: IPv4Address
    addresses: IPv4Network
    prefix: int = Field(ge=8, le=30)
    names: dict[str, IPv4Address] = {}
    ca_certificate: str = ""

    @model_validator(mode="after")
    def _addresses_are_in_the_subnet(self) -> ClientNetwork:
        subnet = IPv4Network(f"{self.gateway}/{self.prefix}", strict=False)
        if not self.addresses.subnet_of(subnet):
            raise ValueError(
                f"addresses is {self.addresses}; allowed are parts of the bridge's subnet {subnet}"
            )
        return self


@dataclass(frozen=True)
class ClientName:
    """A client namespace's name. It says whose it is and which address it has taken.

    So the list of namespaces is the whole record of addresses in use, and there is no second one
    that could disagree with it.
    """

    owner: Process
    address: IPv4Address

    def __str__(self) -> str:
        return f"{_NAME_PREFIX}-{self.owner.pid}-{self.owner.started}-{self.address}"

    @property
    def port_device(self) -> str:
        """Name of the bridge's end of the link; Linux allows 15 characters."""
        return f"lk{int(self.address):08x}"

    @staticmethod
    def parse(name: str) -> ClientName | None:
        """The parts of a name that `str()` made; None for any other namespace."""
        match name.split("-"):
            case [prefix, pid, started, address] if prefix == _NAME_PREFIX:
                try:
                    return ClientName(Process(int(pid), int(started)), IPv4Address(address))
                except ValueError:
                    return None
        return None


def free_address(network: ClientNetwork, taken: Iterable[IPv4Address]) -> IPv4Address:
    """The lowest client address that nobody has taken.

    Raises:
        NoFreeAddress: none is left.
    """
    subnet = IPv4Network(f"{network.gateway}/{network.prefix}", strict=False)
    unusable = {*taken, network.gateway, subnet.network_address, subnet.broadcast_address}
    for address in network.addresses:
        if address not in unusable:
            return address
    raise NoFreeAddress(
        f"all client addresses of {network.addresses} are taken; `ip netns list` shows by whom "
        f"({_NAME_PREFIX}-<process id>-...)"
    )
