"""What kubeadm is told. Pure: values in, configuration documents out."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from local.cluster.topology import POD_CIDR, SERVICE_CIDR, NodeSpec, Topology

_API = "kubeadm.k8s.io/v1beta4"
API_SERVER_PORT = 6443

# These settings reduce the processor time of an idle cluster. There is only one control plane, so leader
# election and frequent etcd heartbeats are useless. By default two components renew their leases in etcd
# every 2 s, and etcd wakes up every 100 ms to send heartbeats to members that do not exist.
_ALONE = {"leader-elect": "false"}
_ALONE_ETCD = {"heartbeat-interval": "1000", "election-timeout": "10000"}
# The kubelet needs container metrics only for evictions.
_HOUSEKEEPING = {"housekeeping-interval": "30s"}

# Each for a reason; anything else that kubeadm's preflight finds still stops it.
IGNORED_PREFLIGHT = (
    "SystemVerification",  # wants the kernel's configuration, and cgroup v2
    "Swap",
    "NumCPU",
    "Mem",
    "FileExisting-socat",  # for `kubectl port-forward` by a runtime that we do not use
    "FileExisting-crictl",
    "FileExisting-systemctl",
    "Service-Kubelet",
    "KubeletVersion",  # asks systemd
)


@dataclass(frozen=True)
class Versions:
    """Image tags that kubeadm cannot know: what was built or pulled for this cluster."""

    kubernetes: str
    etcd: str
    coredns: str


@dataclass(frozen=True)
class JoinToken:
    """What a further node shows and checks at its first contact."""

    token: str
    ca_hash: str

    @classmethod
    def parse(cls, join_command: str) -> JoinToken:
        """From what `kubeadm token create --print-join-command` prints.

        Raises:
            ValueError: it printed something else.
        """
        try:
            words = shlex.split(join_command)
            token = words[words.index("--token") + 1]
            ca_hash = words[words.index("--discovery-token-ca-cert-hash") + 1]
        except (ValueError, IndexError) as error:
            raise ValueError(f"not a join command: {join_command!r}") from error
        if not (re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", token) and ca_hash.startswith("sha256:")):
            raise ValueError(f"not a join command: {join_command!r}")
        return cls(token, ca_hash)


def init_config(topology: Topology, versions: Versions) -> str:
    """For `kubeadm init` on the control-plane node."""
    node = topology.control_plane
    return yaml.safe_dump_all(
        [
            {
                "apiVersion": _API,
                "kind": "InitConfiguration",
                "localAPIEndpoint": {"advertiseAddress": node.address, "bindPort": API_SERVER_PORT},
                "nodeRegistration": _registration(topology, node),
            },
            {
                "apiVersion": _API,
                "kind": "ClusterConfiguration",
                "clusterName": f"livekit-platform-{topology.instance}",
                "kubernetesVersion": versions.kubernetes,
                "controlPlaneEndpoint": f"{node.address}:{API_SERVER_PORT}",
                "networking": {"podSubnet": POD_CIDR, "serviceSubnet": SERVICE_CIDR},
                "etcd": {
                    "local": {
                        "dataDir": "/var/lib/etcd/data",
                        "imageTag": versions.etcd,
                        "extraArgs": _arguments(_ALONE_ETCD),
                    }
                },
                "controllerManager": {"extraArgs": _arguments(_ALONE)},
                "scheduler": {"extraArgs": _arguments(_ALONE)},
                "dns": {"imageRepository": "docker.io/coredns", "imageTag": versions.coredns},
            },
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "cgroupDriver": "cgroupfs",
                "failCgroupV1": False,
                "failSwapOn": False,
                # No registry to fetch an image from again: never collect one as garbage, and let
                # no nearly full disk of the host evict pods.
                "imageGCHighThresholdPercent": 100,
                "imageGCLowThresholdPercent": 99,
                "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
                # An image that is here may be used by whoever names it. Else one that the kubelet has
                # pulled once, by any name, is pulled again for each pod that names it otherwise.
                "imagePullCredentialsVerificationPolicy": "NeverVerify",
            },
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "mode": "iptables",
                # kube-proxy writes rules when a Service changes. This period only repairs changes by others.
                "iptables": {"syncPeriod": "5m"},
                "clusterCIDR": POD_CIDR,
                # These limits belong to the host's network namespace; a node may not set them.
                "conntrack": {
                    "maxPerCore": 0,
                    "min": 0,
                    "tcpEstablishedTimeout": "0s",
                    "tcpCloseWaitTimeout": "0s",
                },
            },
        ],
        sort_keys=False,
    )


def join_config(topology: Topology, node: NodeSpec, token: JoinToken) -> str:
    """For `kubeadm join` on a further node."""
    return yaml.safe_dump(
        {
            "apiVersion": _API,
            "kind": "JoinConfiguration",
            "discovery": {
                "bootstrapToken": {
                    "apiServerEndpoint": f"{topology.control_plane.address}:{API_SERVER_PORT}",
                    "token": token.token,
                    "caCertHashes": [token.ca_hash],
                }
            },
            "nodeRegistration": _registration(topology, node),
        },
        sort_keys=False,
    )


def _registration(topology: Topology, node: NodeSpec) -> dict[str, Any]:
    return {
        "name": node.name,
        "criSocket": "unix:///run/containerd/containerd.sock",
        "imagePullPolicy": "Never",  # images are loaded beforehand
        "taints": [],  # every node takes pods, the first too
        "ignorePreflightErrors": list(IGNORED_PREFLIGHT),
        "kubeletExtraArgs": [
            {"name": "cgroup-root", "value": f"/{topology.cgroup}/{node.name}"},
            {"name": "node-ip", "value": node.address},
            *_arguments(_HOUSEKEEPING),
        ],
    }


def _arguments(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def cni_config(pod_cidr: str) -> str:
    """Routed pods: `ptp` gives each a link of its own to the node, so that every packet passes the
    node's FORWARD chain, where network policies are enforced; a bridge would need br_netfilter."""
    return json.dumps(
        {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "ptp",
                    "ipMasq": False,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": pod_cidr}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        },
        indent=2,
    )
