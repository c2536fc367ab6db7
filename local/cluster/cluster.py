"""Making, healing and removing a cluster. Every step looks first whether it is done."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from common.commands import CommandFailed
from common.waiting import wait_until
from local.cluster import cgroups, network, node_files
from local.cluster.doors import close_doors
from local.cluster.kubeadm import API_SERVER_PORT, JoinToken, Versions, cni_config, init_config, join_config
from local.cluster.node import Node
from local.cluster.topology import SERVICE_CIDR, Topology, UnreadableRecord, free_subnet
from local.images import catalog
from local.paths import Instance, machine_lock, state_root

_MANIFESTS = Path(__file__).parent / "manifests"
_ADMIN_CONFIG = "/etc/kubernetes/admin.conf"
_KUBEADM_CONFIG = "/etc/kubernetes/kubeadm.yaml"
# Written last: kubeadm itself leaves files that look finished long before it is.
KUBEADM_DONE = "/etc/kubernetes/joined"
_KUBEADM_SECONDS = 600.0
_READY_SECONDS = 300.0
# A kubelet registers its node, then the controller manager gives it a network.
_CIDR_SECONDS = 120.0
# The namespaces of the objects that `initialise` and `install_addons` create.
SYSTEM_NAMESPACES = ("kube-system", "local-path-storage")
# Stands for one that is lost; no address is reached by it.
_UNKNOWN_SUBNET = "192.0.2.0/24"


class _WithoutCidr(Exception):
    """Nodes have no pod CIDR yet, or are not registered."""


@dataclass(frozen=True)
class Cluster:
    """A recorded cluster: it may run, run in part, or be only files after a reboot."""

    instance: Instance
    topology: Topology

    @classmethod
    def recorded(cls, instance: Instance) -> Cluster | None:
        """The cluster as it was made, or None where none was.

        Raises:
            UnreadableRecord: as `Topology.load`.
        """
        topology = Topology.load(instance.record)
        return cls(instance, topology) if topology else None

    @classmethod
    def by_name(cls, instance: Instance) -> Cluster:
        """What there is of a cluster whose record cannot be read, for `remove`: names come from the instance.

        Its nodes are those that have a directory or a network namespace. The subnet is lost, and
        nothing is removed by it.
        """
        first = Topology(instance.id, _UNKNOWN_SUBNET, 1)
        namespace = re.escape(first.control_plane.netns.removesuffix("1"))
        found = [
            *(re.fullmatch(r"node(\d+)", path.name) for path in instance.nodes.glob("*")),
            *(re.fullmatch(namespace + r"(\d+)", name) for name in network.network_namespaces()),
        ]
        numbers = [int(match[1]) for match in found if match]
        return cls(instance, replace(first, node_count=max(numbers, default=1)))

    @classmethod
    def plan(cls, instance: Instance, node_count: int) -> Cluster:
        """The recorded cluster, or a new one with a subnet that nothing on this machine uses."""
        existing = cls.recorded(instance)
        if existing is not None:
            return existing
        with machine_lock("subnets"):  # two checkouts must not choose the same
            subnet = free_subnet([*network.networks_in_use(), *_promised()])
            made = cls(instance, Topology(instance.id, subnet, node_count))
            made.topology.save(instance.record)
        return made

    @property
    def nodes(self) -> list[Node]:
        return [Node(spec, self.instance.nodes / spec.name) for spec in self.topology.nodes]

    @property
    def control_plane(self) -> Node:
        return self.nodes[0]

    def kubectl(self, *words: str, timeout: float = 60.0, input: str | None = None) -> str:
        """`kubectl` on the control-plane node, as administrator; gives its output."""
        command = ["kubectl", f"--kubeconfig={_ADMIN_CONFIG}", *words]
        return self.control_plane.run(command, timeout=timeout, input=input).stdout

    def start_nodes(self) -> None:
        """Cables and node processes; after a reboot the nodes come back with their disks."""
        network.allow_large_udp_buffers()
        network.create(self.topology)
        layers = [node_files.make(), node_files.ROOTFS.unpack()]
        for node in self.nodes:
            node.start(self.topology, layers)
            if _is_interrupted(node):
                node.run(["kubeadm", "reset", "--force"], timeout=180)
                node.run(["rm", _KUBEADM_CONFIG], timeout=10)
                # kubeadm cannot stop our kubelet, whose ports make the next preflight check fail.
                node.stop(self.topology)
                node.start(self.topology, layers)
            address = self.topology.gateway
            # Nothing answers there: names outside the cluster fail at once instead of after a time-out.
            node.run(["tee", "/etc/resolv.conf"], input=f"nameserver {address}\n", timeout=10)

    def initialise(self) -> None:
        """`kubeadm init` on the first node."""
        node = self.control_plane
        if not _joined(node):
            versions = Versions(catalog.kubernetes_version(), catalog.etcd_tag(), catalog.coredns_tag())
            _kubeadm(node, "init", init_config(self.topology, versions), "--skip-token-print")
        self._write_kubeconfig()
        self._wait_for_api_server()

    def join(self) -> None:
        """`kubeadm join` on every other node."""
        for node in self.nodes[1:]:
            if _joined(node):
                continue
            # An interrupted join may have registered the node, and kubeadm refuses a name that is in use.
            self.kubectl("delete", "node", node.name, "--ignore-not-found")
            printed = self.control_plane.run(
                ["kubeadm", "token", "create", "--ttl=1h", "--print-join-command"], timeout=60
            )
            _kubeadm(node, "join", join_config(self.topology, node.spec, JoinToken.parse(printed.stdout)))

    def connect_pods(self) -> None:
        """Pod networking: each node's CNI configuration, and routes to the pods of the others."""
        names = [node.name for node in self.nodes]

        def pod_cidrs() -> dict[str, str]:
            listed = self.kubectl("get", "nodes", "-o", "yaml")
            given = {
                n["metadata"]["name"]: n["spec"].get("podCIDR", "") for n in yaml.safe_load(listed)["items"]
            }
            missing = [name for name in names if not given.get(name)]
            if missing:
                raise _WithoutCidr(f"{', '.join(missing)} without; the cluster has {given}")
            return given

        cidrs = wait_until(
            pod_cidrs,
            timeout=_CIDR_SECONDS,
            describe="every node to get a pod CIDR",
            tolerate=(CommandFailed, _WithoutCidr),
        )
        for node in self.nodes:
            node.run(["mkdir", "-p", "/etc/cni/net.d"], timeout=10)
            path = "/etc/cni/net.d/10-pods.conflist"
            node.run(["tee", path], input=cni_config(cidrs[node.name]), timeout=10)
        network.route_pods(self.topology, cidrs)

    def install_addons(self) -> None:
        """Network policies and the default storage class."""
        images = {image.repository.rpartition("/")[2]: image.reference for image in catalog.cluster_images()}
        manifests = []
        for name, values in {
            "network-policy": {"IMAGE": images["kube-router"], "SERVICE_CIDR": SERVICE_CIDR},
            "storage": {"IMAGE": images["local-path-provisioner"], "HELPER_IMAGE": images["busybox"]},
        }.items():
            manifest = (_MANIFESTS / f"{name}.yaml").read_text()
            for key, value in values.items():
                manifest = manifest.replace(f"@{key}@", value)
            manifests.append(manifest)
        self.kubectl("apply", "-f", "-", input="\n---\n".join(manifests))

    def wait_ready(self) -> None:
        """Until every node is Ready and every system workload is rolled out.

        Raises:
            CommandFailed: with kubectl's last words, when that takes over 5 minutes.
        """
        wait = f"--timeout={_READY_SECONDS:.0f}s"
        self.kubectl("wait", "--for=condition=Ready", "nodes", "--all", wait, timeout=_READY_SECONDS + 30)
        for workload in (
            *("kube-system daemonset/kube-proxy", "kube-system daemonset/kube-router"),
            *("kube-system deployment/coredns", "local-path-storage deployment/local-path-provisioner"),
        ):
            namespace, name = workload.split()
            self.kubectl("-n", namespace, "rollout", "status", name, wait, timeout=_READY_SECONDS + 30)

    def remove(self) -> None:
        """Take everything away: processes, cgroups, cables, disks. Safe to repeat after a failure."""
        close_doors(self.topology)
        for node in self.nodes:
            node.stop(self.topology)
        cgroups.remove(self.topology.cgroup)
        network.remove(self.topology)
        shutil.rmtree(self.instance.root)

    def _write_kubeconfig(self) -> None:
        content = self.control_plane.run(["cat", _ADMIN_CONFIG], timeout=10).stdout
        self.instance.kubeconfig.touch(mode=0o600)
        self.instance.kubeconfig.write_text(content)

    def _wait_for_api_server(self) -> None:
        wait_until(
            lambda: self.kubectl("get", "--raw", "/readyz", timeout=10) == "ok",
            timeout=_READY_SECONDS,
            describe=f"the API server on {self.topology.control_plane.address}:{API_SERVER_PORT} "
            f"(logs: {self.control_plane.logs})",
            tolerate=(CommandFailed,),
        )


def _promised() -> Iterator[str]:
    """The subnets of all recorded clusters, running or not."""
    for record in state_root().glob("*/cluster.json"):
        # Another instance's mishap: it has to be made anew there, with whatever subnet is free then.
        with contextlib.suppress(UnreadableRecord):
            topology = Topology.load(record)
            if topology is not None:
                yield topology.subnet


def _joined(node: Node) -> bool:
    return node.run(["test", "-e", KUBEADM_DONE], timeout=10, check=False).ok


def _is_interrupted(node: Node) -> bool:
    """Whether kubeadm was started on the node and did not end with success."""
    return not _joined(node) and node.run(["test", "-e", _KUBEADM_CONFIG], timeout=10, check=False).ok


def _kubeadm(node: Node, command: str, config: str, *flags: str) -> None:
    node.run(["mkdir", "-p", "/etc/kubernetes"], timeout=10)
    node.run(["tee", _KUBEADM_CONFIG], input=config, timeout=10)
    node.run(["kubeadm", command, f"--config={_KUBEADM_CONFIG}", *flags], timeout=_KUBEADM_SECONDS)
    node.run(["touch", KUBEADM_DONE], timeout=10)
