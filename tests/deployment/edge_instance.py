"""An edge of a test's own: the chart in a scratch namespace, on ports of its own, with an echo behind it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from common.waiting import wait_until
from tests.certificates import Certificate, certificate
from tests.deployment.kubectl import Kubectl
from tests.edge_client import EdgeClient
from tests.manifests.rendering import template
from tests.websocket import accept

DOMAIN = "edge.test"
HTTPS, HTTP = 18443, 18080
_SECRET = "certificate"
_ITS_PODS = ("-l", "app.kubernetes.io/name=edge")
# Answers every request with its pod's name, and echoes what follows one that asks for a WebSocket.
ECHO = rf"""
cat > /serve <<'END'
upgrade=
while IFS= read -r line && [ "${{#line}}" -gt 1 ]; do case "$line" in [Uu]pgrade:*) upgrade=1;; esac; done
if [ -n "$upgrade" ]; then
  printf 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
  printf 'Sec-WebSocket-Accept: {accept()}\r\n\r\n'
  exec cat
fi
name=$(hostname)
printf 'HTTP/1.1 200 OK\r\nContent-Length: %s\r\nConnection: close\r\n\r\n%s' "${{#name}}" "$name"
END
exec nc -ll -p 8080 -e sh /serve
"""


@dataclass
class Instance:
    """The edge of this test, at one node's address."""

    kubectl: Kubectl
    namespace: str
    node: str
    address: str
    image: str
    drain_seconds: int
    # The certificate and the values that a test changed last; `restore` undoes these changes.
    _certificate: Certificate | None = None
    _changes: dict[str, Any] = field(default_factory=dict)

    @property
    def client(self) -> EdgeClient:
        return EdgeClient(self.address, DOMAIN, HTTPS, HTTP)

    def apply(self, **changes: Any) -> None:
        """The chart, with `changes` to its values."""
        values = {
            "image": self.image,
            "nodeNames": [self.node],
            "domain": DOMAIN,
            "publicPorts": {"https": HTTPS, "http": HTTP},
            "tlsSecretName": _SECRET,
            "upstreams": {
                # Any name that there is: nobody calls by this edge.
                "sfu": {"host": f"echo.{self.namespace}.svc", "addresses": [self.address]},
                "api": {
                    "host": f"echo.{self.namespace}.svc",
                    "podLabels": {"app": "echo"},
                },
            },
            "drainSeconds": self.drain_seconds,
            "noticeSeconds": 1,
            "watch": {"intervalSeconds": 1},
            **changes,
        }
        helm = self.kubectl.cluster.tools / "helm"
        self._changes = changes
        self.kubectl.apply(*template(helm, "edge", values, self.namespace))
        self.kubectl.touch_pods(self.namespace, *_ITS_PODS)

    def write_configuration(self, text: str) -> None:
        """Replace haproxy.cfg in its ConfigMap by any text, valid or not."""
        self._changes = {"haproxy.cfg": text}
        patch = json.dumps({"data": {"haproxy.cfg": text}})
        self.kubectl("-n", self.namespace, "patch", "configmap", "edge", "--type=merge", "-p", patch)
        self.kubectl.touch_pods(self.namespace, *_ITS_PODS)

    def restore(self) -> None:
        """Undo a test's changes: a ready pod, the chart's own values and a valid certificate."""
        self.make_service()
        self.wait_ready()
        if self._changes:
            self.apply()
            wait_until(
                lambda: self.client.status("localhost") == 421, timeout=150, describe="the chart's own values"
            )
        if self._certificate is None or self.client.served() != self._certificate.der:
            right = certificate(DOMAIN)
            self.use(right)
            wait_until(lambda: self.client.served() == right.der, timeout=150, describe="a right certificate")

    def use(self, certificate: Certificate) -> None:
        """Put `certificate` into the Secret that the edge reads."""
        self._certificate = certificate
        data = {"tls.crt": certificate.pem, "tls.key": certificate.key}
        self.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": _SECRET, "namespace": self.namespace},
                "type": "kubernetes.io/tls",
                "stringData": data,
            }
        )
        self.kubectl.touch_pods(self.namespace, *_ITS_PODS)

    def worker(self) -> str:
        """The process of the worker that takes new connections, by HAProxy's own account."""
        [pid] = re.findall(r"^Pid: (\d+)$", self._ask("@1 show info;quit"), re.MULTILINE)
        return str(pid)

    def old_workers(self) -> int:
        """The number of workers that are ending, as the master process reports it."""
        _, _, old = self._ask("show proc;quit").partition("# old workers\n")
        return len(re.findall(r"^\d+ +worker ", old, re.MULTILINE))

    def _ask(self, command: str) -> str:
        return ask_haproxy(self.kubectl, self.namespace, self.pod()["metadata"]["name"], command)

    def make_service(self) -> None:
        """The Service of the echo."""
        self.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "echo", "namespace": self.namespace},
                "spec": {"selector": {"app": "echo"}, "ports": [{"port": 8080}]},
            }
        )

    def move_service(self) -> None:
        """Another Service takes the echo's address, and the echo's is made anew."""
        address = self.service_address()
        words = ("-n", self.namespace)
        self.kubectl(*words, "delete", "service", "echo")
        ports = [{"port": 8080}]
        self.kubectl.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "taken", "namespace": self.namespace},
                "spec": {"selector": {"app": "nobody"}, "ports": ports, "clusterIP": address},
            }
        )
        self.make_service()

    def service_address(self) -> str:
        words = ("get", "service", "echo", "-o", "jsonpath={.spec.clusterIP}")
        return self.kubectl("-n", self.namespace, *words).stdout

    def pod(self) -> dict[str, Any]:
        """The pod that is not going away."""
        found = self.kubectl.get("pods", "-n", self.namespace, *_ITS_PODS)
        [pod] = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return pod

    def wait_ready(self) -> None:
        words = ("rollout", "status", "deployment/edge", "--timeout=120s")
        self.kubectl("-n", self.namespace, *words, timeout=130)

    def events(self, pod: str, container: str) -> list[dict[str, Any]]:
        """What a container's scripts said."""
        said = self.kubectl("-n", self.namespace, "logs", pod, "-c", container).stdout
        lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        return [line for line in lines if "event" in line]

    def answers(self, service: str) -> str:
        """Which pod does, or what the edge says instead."""
        with self.client.connect() as connection:
            connection.sendall(
                f"GET / HTTP/1.1\r\nHost: {service}.{DOMAIN}\r\nConnection: close\r\n\r\n".encode()
            )
            answer = b"".join(iter(lambda: connection.recv(4000), b""))
        return answer.partition(b"\r\n\r\n")[2].decode()


def ask_haproxy(kubectl: Kubectl, namespace: str, pod: str, command: str) -> str:
    """The answer of the master process in an edge's pod to one command, by the chart's own script.

    Args:
        command: for the master process, or for its worker after `@1 `. `;quit` closes the connection.
    """
    script = f". /scripts/lib.sh; ask '{command}' 5"
    return kubectl("-n", namespace, "exec", pod, "-c", "watch", "--", "bash", "-c", script).stdout


def start(kubectl: Kubectl, namespace: str, node: str, address: str, image: str) -> Instance:
    """The echo and the edge, ready."""
    kubectl.create_pod(namespace, "echo", script=ECHO)
    instance = Instance(kubectl, namespace, node, address, image, drain_seconds=15)
    instance.make_service()
    instance.use(certificate(DOMAIN))
    instance.apply()
    kubectl.wait_for_pods(namespace, "echo")
    instance.wait_ready()
    return instance
