from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from common.processes import Process
from loadtest.net.bridge import ClientName, ClientNetwork, NoFreeAddress, free_address


def _network(addresses: str, *, gateway: str = "10.99.0.1") -> ClientNetwork:
    return ClientNetwork(
        netns="switch",
        bridge="br0",
        gateway=IPv4Address(gateway),
        addresses=IPv4Network(addresses),
        prefix=24,
    )


names = st.builds(
    ClientName,
    owner=st.builds(Process, pid=st.integers(1, 2**22), started=st.integers(0, 2**63)),
    address=st.ip_addresses(v=4),
)


@given(name=names)
def test_a_name_says_whose_it_is_and_which_address_it_has(name: ClientName) -> None:
    assert ClientName.parse(str(name)) == name
    assert len(name.port_device) <= 15


@given(one=names, other=names)
def test_different_addresses_have_different_devices(one: ClientName, other: ClientName) -> None:
    assert (one.port_device == other.port_device) == (one.address == other.address)


@pytest.mark.parametrize(
    "name", ["", "cni-1", "lkclient", "lkclient-1-2", "lkclient-x-2-10.0.0.1", "lkclient-1-2-10.0.0.256"]
)
def test_other_namespaces_are_not_taken_for_ours(name: str) -> None:
    assert ClientName.parse(name) is None


def test_the_lowest_free_address_is_taken_and_never_one_with_a_meaning() -> None:
    network = _network("10.99.0.0/29")
    taken: list[IPv4Address] = []
    for expected in range(2, 8):
        taken.append(free_address(network, taken))
        assert taken[-1] == IPv4Address(f"10.99.0.{expected}")
    with pytest.raises(NoFreeAddress, match=r"10\.99\.0\.0/29 are taken"):
        free_address(network, taken)


def test_the_broadcast_address_is_left_out_and_a_freed_one_comes_again() -> None:
    network = _network("10.99.0.254/31")
    assert free_address(network, []) == IPv4Address("10.99.0.254")
    with pytest.raises(NoFreeAddress):
        free_address(network, [IPv4Address("10.99.0.254")])
    assert free_address(_network("10.99.0.128/25"), [IPv4Address("10.99.0.129")]) == IPv4Address(
        "10.99.0.128"
    )


def test_routers_take_the_highest_free_address() -> None:
    network = _network("10.99.0.0/29")
    assert free_address(network, [], highest=True) == IPv4Address("10.99.0.7")
    assert free_address(network, [IPv4Address("10.99.0.7")], highest=True) == IPv4Address("10.99.0.6")


@given(one=names, other=names)
def test_a_hardware_address_is_its_addresss_own_and_locally_made(one: ClientName, other: ClientName) -> None:
    assert (one.hardware_address == other.hardware_address) == (one.address == other.address)
    assert one.hardware_address.startswith("02:")


def test_addresses_outside_the_subnet_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"10\.98\.0\.0/25; allowed are parts of .* 10\.99\.0\.0/24"):
        _network("10.98.0.0/25")
