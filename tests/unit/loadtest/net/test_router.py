"""A router's commands and names."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from common.processes import Process
from loadtest.net.bridge import ClientName, ClientNetwork, RouterName
from loadtest.net.router import device_settings, links

NETWORK = ClientNetwork(
    netns="switch",
    bridge="br0",
    gateway=IPv4Address("10.99.0.1"),
    addresses=IPv4Network("10.99.0.128/25"),
    prefix=24,
)
CLIENT = ClientName(Process(7, 8), IPv4Address("10.99.0.130"))


def test_a_client_has_a_cable_of_its_own_to_the_bridge_and_no_offloads() -> None:
    plain = "gso_max_segs 1 gso_max_size 1514 gro_max_size 1514 addrgenmode none"
    assert links(CLIENT, NETWORK) == [
        "link add up0a630082 address 02:6c:0a:63:00:82 type veth peer name lk0a630082 netns switch",
        f"link set dn0a630082 {plain}",
        f"link set up0a630082 {plain}",
    ]


def test_the_router_answers_for_all_others_towards_the_client_and_at_once() -> None:
    assert device_settings(CLIENT) == [
        "net.ipv4.conf.dn0a630082.proxy_arp=1",
        "net.ipv4.neigh.dn0a630082.proxy_delay=0",
        "net.ipv4.neigh.up0a630082.proxy_delay=0",
    ]


def test_a_routers_name_says_whose_it_is_and_is_none_of_a_client() -> None:
    name = RouterName(Process(7, 8), IPv4Address("10.99.0.131"))
    assert str(name) == "lkrouter-7-8-10.99.0.131"
    assert RouterName.parse(str(name)) == name
    assert ClientName.parse(str(name)) is None
    assert RouterName.parse(str(CLIENT)) is None


@pytest.mark.parametrize(
    "name", ["lkrouter", "lkrouter-1-2", "lkrouter-1-2-10.0.0.256", "router-1-2-10.0.0.1"]
)
def test_other_namespaces_are_not_taken_for_routers(name: str) -> None:
    assert RouterName.parse(name) is None


def test_devices_of_one_client_differ_and_fit_linux() -> None:
    devices = {CLIENT.port_device, CLIENT.down_device, CLIENT.up_device}
    assert len(devices) == 3
    assert all(len(device) <= 15 for device in devices)
