"""Names and addresses of a cluster, and the choice of its subnet."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path

import pytest

from local.cluster import network
from local.cluster.cluster import Cluster
from local.cluster.topology import POD_CIDR, SERVICE_CIDR, Topology, UnreadableRecord, free_subnet
from local.paths import Instance, state_root

# The longest instance id that `paths.instance_id` allows.
_LONGEST = Topology("abc123", "10.213.7.0/24", 3)
# Linux' IFNAMSIZ is 16, with the final zero.
_LINK_NAME_CHARACTERS = 15


def test_names_of_links_fit_into_the_kernels_limit() -> None:
    # A node's cable is named after the node at the switch's end.
    links = [_LONGEST.host_link, _LONGEST.bridge, *(node.name for node in _LONGEST.nodes)]
    assert [name for name in links if len(name) > _LINK_NAME_CHARACTERS] == []


def test_no_two_instances_share_a_name_on_the_machine() -> None:
    other = replace(_LONGEST, instance="abc124")

    def names(topology: Topology) -> set[str]:
        return {
            topology.switch_netns,
            topology.host_link,
            topology.cgroup,
            *(node.netns for node in topology.nodes),
        }

    # The host's link, the cgroup, the switch's namespace and three nodes'.
    assert len(names(_LONGEST)) == 6
    assert names(_LONGEST) & names(other) == set()


def test_addresses_lie_in_the_subnet_and_apart_from_each_other() -> None:
    subnet = ipaddress.IPv4Network(_LONGEST.subnet)
    clients = ipaddress.IPv4Network(_LONGEST.client_addresses)
    fixed = [ipaddress.IPv4Address(text) for text in (_LONGEST.gateway, *(n.address for n in _LONGEST.nodes))]
    assert _LONGEST.gateway == "10.213.7.1"
    assert [node.address for node in _LONGEST.nodes] == ["10.213.7.11", "10.213.7.12", "10.213.7.13"]
    assert _LONGEST.client_addresses == "10.213.7.128/25"
    assert _LONGEST.prefix == 24
    assert len(set(fixed)) == 4
    assert all(address in subnet and address not in clients for address in fixed)
    assert clients.subnet_of(subnet)


def test_the_first_node_and_no_other_is_the_control_plane() -> None:
    assert [node.control_plane for node in _LONGEST.nodes] == [True, False, False]
    assert _LONGEST.control_plane == _LONGEST.nodes[0]


@pytest.mark.parametrize(
    ("taken", "chosen"),
    [
        ([], "10.213.0.0/24"),
        (["192.168.1.0/24", "172.17.0.0/16", POD_CIDR, SERVICE_CIDR], "10.213.0.0/24"),
        (["10.213.0.0/24"], "10.213.1.0/24"),
        # An address as `ip address` shows it has bits beside its network's.
        (["10.213.0.1/24", "10.213.1.77"], "10.213.2.0/24"),
        # One within ours, and one that ours is within.
        (["10.213.0.128/25", "10.213.0.0/20"], "10.213.16.0/24"),
        (["10.213.1.0/24"], "10.213.0.0/24"),
    ],
)
def test_the_first_subnet_that_overlaps_nothing_is_taken(taken: list[str], chosen: str) -> None:
    assert free_subnet(taken) == chosen


def test_pods_services_and_nodes_have_networks_of_their_own() -> None:
    networks = [ipaddress.IPv4Network(cidr) for cidr in (POD_CIDR, SERVICE_CIDR, free_subnet([]))]
    assert not any(a.overlaps(b) for a in networks for b in networks if a is not b)


def test_the_last_subnet_is_still_given_out_and_then_what_to_do_is_said() -> None:
    taken = [f"10.213.{number}.0/24" for number in range(255)]
    assert free_subnet(taken) == "10.213.255.0/24"
    taken.append("10.213.255.0/24")
    with pytest.raises(RuntimeError, match=r"no free /24 is left in 10\.213\.0\.0/16: `make down`"):
        free_subnet(taken)


def test_a_record_gives_back_what_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "not" / "there" / "cluster.json"
    assert Topology.load(path) is None
    _LONGEST.save(path)
    assert Topology.load(path) == _LONGEST


def test_a_record_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads while it is written finds the old one, whole."""
    path = tmp_path / "cluster.json"
    _LONGEST.save(path)
    write = Path.write_text
    seen: list[Topology | None] = []

    def halfway(file: Path, text: str, encoding: str) -> int:
        write(file, text[: len(text) // 2], encoding)
        seen.append(Topology.load(path))
        return write(file, text, encoding)

    monkeypatch.setattr(Path, "write_text", halfway)
    changed = replace(_LONGEST, node_count=1)
    changed.save(path)
    assert (seen, Topology.load(path)) == ([_LONGEST], changed)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b'{"instance": "abc', b"null", b'{"instance": "abc123"}', b"\xff"])
def test_of_a_record_that_cannot_be_read_it_is_said_what_to_do(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cluster.json"
    path.write_bytes(content)
    with pytest.raises(UnreadableRecord, match="cannot be read") as caught:
        Topology.load(path)
    assert str(caught.value).startswith(str(path))
    assert "`make down`" in str(caught.value)


def test_the_broken_record_of_another_instance_is_none_of_ours(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in {"broken": "{", "whole": ""}.items():
        (state_root() / name).mkdir(parents=True)
        (state_root() / name / "cluster.json").write_text(content)
    Topology("whole", "10.213.0.0/24", 1).save(state_root() / "whole" / "cluster.json")
    monkeypatch.setattr(network, "networks_in_use", list)
    assert Cluster.plan(instance, 2).topology == Topology(instance.id, "10.213.1.0/24", 2)


def test_without_its_record_a_cluster_is_found_by_its_names(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("node1", "node2", "other"):
        (instance.nodes / name).mkdir(parents=True)
    there = {"lkp-abc123-net", "lkp-abc123-node3", "lkp-abc12-node9", "lkp-abc1234-node9"}
    monkeypatch.setattr(network, "network_namespaces", lambda: there)
    topology = Cluster.by_name(instance).topology
    assert [node.netns for node in topology.nodes] == [f"lkp-abc123-node{number}" for number in (1, 2, 3)]
    assert (topology.switch_netns, topology.cgroup) == ("lkp-abc123-net", "livekit-platform-abc123")
