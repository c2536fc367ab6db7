from ipaddress import IPv4Address, IPv4Network

import pytest

from common.processes import Process
from loadtest.net.uplink_name import NoUplink, UplinkName, free_subnet, masquerade, resolv_conf

NAME = UplinkName(Process(123, 456789), IPv4Network("198.18.5.0/24"))


def test_a_name_says_whose_it_is_and_can_be_read_back() -> None:
    assert str(NAME) == "lkuplink-123-456789-198.18.5.0"
    assert UplinkName.parse(str(NAME)) == NAME


@pytest.mark.parametrize(
    "name", ["lkclient-1-2-198.18.5.128", "lkuplink", "lkuplink-1-2-198.18.5.7", "lkuplink-a-2-198.18.5.0"]
)
def test_other_names_are_no_uplinks(name: str) -> None:
    assert UplinkName.parse(name) is None


def test_each_subnet_has_names_of_its_own_that_linux_allows() -> None:
    other = UplinkName(NAME.owner, IPv4Network("198.19.255.0/24"))
    assert NAME.device != other.device
    assert NAME.table != other.table
    assert len(other.device) <= 15


def test_clients_get_the_upper_half_beside_the_machine_and_the_bridge() -> None:
    names = {"sfu.example.com": IPv4Address("192.0.2.1")}
    network = NAME.network(names, "")
    assert (network.netns, network.gateway) == (str(NAME), IPv4Address("198.18.5.1"))
    assert network.addresses == IPv4Network("198.18.5.128/25")
    assert NAME.bridge_address not in network.addresses
    assert network.names == names


def test_the_first_subnet_that_nothing_uses_is_taken() -> None:
    taken = [IPv4Network(text) for text in ("10.0.0.0/8", "198.18.0.0/24", "198.18.1.7/32", "198.18.2.0/23")]
    assert free_subnet(taken) == IPv4Network("198.18.4.0/24")


def test_a_machine_whose_routes_cover_all_of_them_is_told_so() -> None:
    with pytest.raises(NoUplink, match=r"routes to all of 198\.18\.0\.0/15"):
        free_subnet([IPv4Network("198.0.0.0/8")])


def test_only_what_leaves_the_machine_is_masqueraded() -> None:
    assert masquerade(NAME) == (
        "table ip livekit_uplink_c6120500 {\n"
        "  chain postrouting {\n"
        "    type nat hook postrouting priority srcnat; policy accept;\n"
        '    ip saddr 198.18.5.0/24 oifname != "luc6120500" masquerade\n'
        "  }\n"
        "}\n"
    )


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["nameserver 192.0.2.53\n"], "nameserver 192.0.2.53\n"),
        (["nameserver 127.0.0.53\n", "nameserver 192.0.2.53\n"], "nameserver 192.0.2.53\n"),
        (["nameserver 127.0.0.53\nnameserver ::1\n"], ""),
        (["search example.com\nnameserver\n"], ""),
        ([], ""),
    ],
)
def test_clients_get_the_first_resolver_that_is_not_on_loopback(files: list[str], wanted: str) -> None:
    assert resolv_conf(files) == wanted
