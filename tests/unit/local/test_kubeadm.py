"""The documents that kubeadm, the kubelet, kube-proxy and the CNI plugins read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from local.cluster.kubeadm import JoinToken, Versions, cni_config, init_config, join_config
from local.cluster.topology import POD_CIDR, SERVICE_CIDR, Topology

_TOPOLOGY = Topology("abc123", "10.213.7.0/24", 2)
_HASH = "sha256:" + "0123456789abcdef" * 4
_TOKEN = JoinToken("abcdef.0123456789abcdef", _HASH)


def _documents() -> dict[str, dict[str, Any]]:
    text = init_config(_TOPOLOGY, Versions("v1.35.4", "3.6.6-0", "1.15.0"))
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def test_the_first_node_gets_a_document_for_every_component() -> None:
    assert set(_documents()) == {
        "InitConfiguration",
        "ClusterConfiguration",
        "KubeletConfiguration",
        "KubeProxyConfiguration",
    }


def test_the_api_server_is_on_the_first_nodes_address() -> None:
    documents = _documents()
    assert documents["InitConfiguration"]["localAPIEndpoint"] == {
        "advertiseAddress": "10.213.7.11",
        "bindPort": 6443,
    }
    assert documents["ClusterConfiguration"]["controlPlaneEndpoint"] == "10.213.7.11:6443"


def test_versions_and_networks_are_those_that_were_given() -> None:
    documents = _documents()
    cluster = documents["ClusterConfiguration"]
    assert cluster["kubernetesVersion"] == "v1.35.4"
    assert cluster["etcd"]["local"]["imageTag"] == "3.6.6-0"
    assert cluster["dns"]["imageTag"] == "1.15.0"
    assert cluster["networking"] == {"podSubnet": POD_CIDR, "serviceSubnet": SERVICE_CIDR}
    assert documents["KubeProxyConfiguration"]["clusterCIDR"] == POD_CIDR


def test_no_image_is_collected_as_garbage_since_none_could_be_fetched_again() -> None:
    kubelet = _documents()["KubeletConfiguration"]
    # The kubelet refuses a low threshold that is not below the high one; 100 turns collection off.
    assert kubelet["imageGCHighThresholdPercent"] == 100
    assert kubelet["imageGCLowThresholdPercent"] < 100
    assert kubelet["imagePullCredentialsVerificationPolicy"] == "NeverVerify"


def _registrations() -> list[dict[str, Any]]:
    joining = yaml.safe_load(join_config(_TOPOLOGY, _TOPOLOGY.nodes[1], _TOKEN))
    return [_documents()["InitConfiguration"]["nodeRegistration"], joining["nodeRegistration"]]


def test_every_node_has_its_own_name_address_and_cgroup() -> None:
    found = [
        (given["name"], {entry["name"]: entry["value"] for entry in given["kubeletExtraArgs"]})
        for given in _registrations()
    ]
    assert found == [
        (
            f"node{number}",
            {
                "cgroup-root": f"/{_TOPOLOGY.cgroup}/node{number}",
                "node-ip": f"10.213.7.1{number}",
                "housekeeping-interval": "30s",
            },
        )
        for number in (1, 2)
    ]


def test_every_node_takes_pods_and_pulls_nothing() -> None:
    for given in _registrations():
        # Left out, kubeadm would taint the control plane; an empty list does not.
        assert given["taints"] == []
        assert given["imagePullPolicy"] == "Never"
        # "all" would hide what really is wrong with a machine.
        assert "all" not in [name.lower() for name in given["ignorePreflightErrors"]]


def test_a_joining_node_checks_the_control_plane_by_its_hash() -> None:
    document = yaml.safe_load(join_config(_TOPOLOGY, _TOPOLOGY.nodes[1], _TOKEN))
    assert document["kind"] == "JoinConfiguration"
    assert document["discovery"]["bootstrapToken"] == {
        "apiServerEndpoint": "10.213.7.11:6443",
        "token": _TOKEN.token,
        "caCertHashes": [_HASH],
    }


@pytest.mark.parametrize(
    "printed",
    [
        f"kubeadm join 10.0.0.1:6443 --token {_TOKEN.token} --discovery-token-ca-cert-hash {_HASH} \n",
        f"kubeadm join 10.0.0.1:6443 --token {_TOKEN.token} \\\n\t--discovery-token-ca-cert-hash {_HASH}\n",
        f"kubeadm join 10.0.0.1:6443 --discovery-token-ca-cert-hash {_HASH} --token {_TOKEN.token}",
    ],
)
def test_a_join_command_is_taken_apart(printed: str) -> None:
    assert JoinToken.parse(printed) == _TOKEN


@pytest.mark.parametrize(
    "printed",
    [
        "",
        "error: no such thing",
        f"kubeadm join 10.213.7.11:6443 --token {_TOKEN.token}",
        f"kubeadm join 10.213.7.11:6443 --discovery-token-ca-cert-hash {_HASH}",
        f"kubeadm join --discovery-token-ca-cert-hash {_HASH} --token",
        f"kubeadm join --token --discovery-token-ca-cert-hash {_HASH}",
        "it couldn't be made",
    ],
)
def test_anything_else_is_refused_and_shown(printed: str) -> None:
    with pytest.raises(ValueError, match="not a join command") as caught:
        JoinToken.parse(printed)
    assert repr(printed) in str(caught.value)


def test_pods_get_addresses_of_their_nodes_network_and_are_routed() -> None:
    document = json.loads(cni_config("10.244.1.0/24"))
    first, second = document["plugins"]
    assert first["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}]]
    # A bridge would carry packets past the chain in which network policies are enforced.
    assert (first["type"], first["ipMasq"]) == ("ptp", False)
    assert (second["type"], second["capabilities"]) == ("portmap", {"portMappings": True})


def test_nothing_on_the_only_control_plane_works_for_others_that_it_does_not_have() -> None:
    """Leases and etcd heartbeats use a tenth of the processor time of an idle cluster."""
    cluster = _documents()["ClusterConfiguration"]

    def arguments(component: Mapping[str, Any]) -> dict[str, str]:
        return {entry["name"]: entry["value"] for entry in component["extraArgs"]}

    assert arguments(cluster["controllerManager"]) == {"leader-elect": "false"}
    assert arguments(cluster["scheduler"]) == {"leader-elect": "false"}
    etcd = arguments(cluster["etcd"]["local"])
    # etcd requires at least five times the heartbeat interval.
    assert int(etcd["election-timeout"]) >= 5 * int(etcd["heartbeat-interval"])
