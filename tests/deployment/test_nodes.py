"""The nodes as an attacker and a packet see them: open ports, buffers, files."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import ip_address

import pytest
import testinfra.host

from tests.deployment.kubectl import Kubectl
from tests.running import RunningStack

# What Kubernetes itself and the local cluster's network policies listen on, beyond loopback: each with its
# program, and whether only the control plane has it.
_OF_THE_CLUSTER = {
    ("tcp", 10250): "kubelet",
    ("tcp", 10256): "kube-proxy, health",
    ("tcp", 20244): "kube-router, health",
}
_OF_THE_CONTROL_PLANE = {
    ("tcp", 2379): "etcd",
    ("tcp", 2380): "etcd",
    ("tcp", 6443): "kube-apiserver",
}
_UDP_BUFFER_BYTES = 5_000_000


@dataclass(frozen=True)
class _Socket:
    protocol: str
    address: str
    port: int

    @property
    def is_local(self) -> bool:
        address = self.address.partition("%")[0].strip("[]")
        return address != "*" and ip_address(address).is_loopback


def _listening(node: testinfra.host.Host) -> list[_Socket]:
    lines = node.check_output("ss -Hlntu").splitlines()
    found = []
    for line in lines:
        protocol, _state, _received, _sent, local = line.split()[:5]
        address, _, port = local.rpartition(":")
        found.append(_Socket(protocol, address, int(port)))
    return found


def _relay_ports(kubectl: Kubectl, platform: str) -> range:
    """As the pods that relay declare them: a list of them would be hundreds long."""
    for pod in kubectl.get("pods", "-n", platform):
        declared = pod["metadata"].get("annotations", {}).get("livekit-platform/turn-relay-ports")
        if declared:
            first, last = re.findall(r"\d+", declared)
            return range(int(first), int(last) + 1)
    pytest.fail("no pod declares relay ports")


def test_open_ports_are_the_declared_ones_on_every_node(
    platform: str, kubectl: Kubectl, nodes: list[testinfra.host.Host]
) -> None:
    relay = _relay_ports(kubectl, platform)
    control_plane = {
        node["metadata"]["name"]
        for node in kubectl.get("nodes", "-l", "node-role.kubernetes.io/control-plane")
    }
    pods = kubectl.get("pods", "-n", platform)
    for node in nodes:
        name = node.backend.get_hostname()
        declared = {
            (port["protocol"].lower(), port["containerPort"])
            for pod in pods
            if pod["spec"]["nodeName"] == name and pod["spec"].get("hostNetwork")
            for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
            for port in container.get("ports", [])
        }
        expected = declared | set(_OF_THE_CLUSTER)
        if name in control_plane:
            expected |= set(_OF_THE_CONTROL_PLANE)
        open_ports = {
            (one.protocol, one.port)
            for one in _listening(node)
            if not one.is_local and not (one.protocol == "udp" and one.port in relay)
        }
        assert open_ports == expected, (
            f"{name}: open and not declared: {sorted(open_ports - expected)}; "
            f"declared and not open: {sorted(expected - open_ports)}"
        )


def test_host_ports_of_pods_answer_at_every_address_of_the_edge(
    stack: RunningStack, platform: str, kubectl: Kubectl
) -> None:
    """They are no sockets: the node leads them to the pod."""
    ports = {
        port["hostPort"]
        for pod in kubectl.get("pods", "-n", platform, "-l", "app.kubernetes.io/name=edge")
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
        if "hostPort" in port
    }
    assert ports
    for address in stack.outputs.edge_addresses:
        for port in ports:
            with socket.create_connection((str(address), port), timeout=5):
                pass


def test_nodes_give_media_large_buffers_and_the_server_takes_them(
    platform: str, kubectl: Kubectl, nodes: list[testinfra.host.Host]
) -> None:
    [media] = {
        port["containerPort"]
        for pod in kubectl.get("pods", "-n", platform, "-l", "app.kubernetes.io/name=livekit-server")
        for port in pod["spec"]["containers"][0]["ports"]
        if port["name"] == "media-udp"
    }
    for node in nodes:
        assert node.sysctl("net.core.rmem_max") >= _UDP_BUFFER_BYTES
        shown = node.check_output(f"ss -Huanm sport = :{media}")
        buffers = [int(size) for size in re.findall(r"skmem:\(r\d+,rb(\d+)", shown)]
        assert buffers, f"nothing listens on UDP {media} of {node.backend.get_hostname()}"
        assert min(buffers) >= _UDP_BUFFER_BYTES, f"{node.backend.get_hostname()}: {buffers}"


def test_secret_files_of_pods_are_closed_to_others(
    nodes: list[testinfra.host.Host], kubectl: Kubectl
) -> None:
    """Read on the node: what the kubelet mounts into pods, below its directory that only root enters."""
    for node in nodes:
        assert node.file("/var/lib/kubelet/pods").mode & 0o007 == 0
        for path in ("/etc/kubernetes/admin.conf", "/etc/kubernetes/kubelet.conf"):
            file = node.file(path)
            assert not file.exists or file.mode & 0o077 == 0, f"{node.backend.get_hostname()}: {path}"
        secrets = node.check_output(
            "find /var/lib/kubelet/pods -path '*kubernetes.io~secret*' -type f -perm /007"
        )
        assert secrets == "", f"{node.backend.get_hostname()}: others may read {secrets}"
