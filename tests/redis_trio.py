"""charts/redis with Sentinel, with the values and Secret of the program, in a namespace of a test's own."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import testinfra.host

from common.commands import Completed
from common.waiting import wait_until
from livekit_platform.config import PlatformConfig
from livekit_platform.values import redis as redis_values
from livekit_platform.values.livekit import REDIS_MASTER, REDIS_USER
from tests.deployment.kubectl import Kubectl
from tests.manifests.rendering import template
from tests.unit.infra.program import minimal_config, parse_completed

FAILOVER_MS = 3000
PASSWORD = 'sfu\'s "own" \\password#0123456789abcdef'
REPLICATION_PASSWORD = 'of the three\'s "own" \\#0123456789abcdef'
PODS = ("redis-0", "redis-1", "redis-2")
_COME_UP_SECONDS = 120.0
# One after another; each may wait for a minute where it brings another password.
_ROLL_SECONDS = 300.0


@dataclass(frozen=True)
class RedisTrio:
    """Three Redis in `namespace`. Names of pods are "redis-0" to "redis-2"."""

    kubectl: Kubectl
    namespace: str
    # The password of servers and Sentinels among themselves.
    own_password: str

    def cli(
        self, pod: str, *command: str, port: int = 6379, user: str = REDIS_USER, password: str = PASSWORD
    ) -> Completed:
        """redis-cli in `pod`; the password goes by standard input."""
        lines = [_line("AUTH", user, password), _line(*command)]
        # A server that hangs answers nobody, and must not hold the test up.
        redis_cli = ["timeout", "8", "redis-cli", "-p", str(port)]
        words = ["-n", self.namespace, "exec", "-i", pod, "-c", "redis", "--", *redis_cli]
        done = self.kubectl(*words, input="\n".join([*lines, ""]), check=False)
        return Completed(done.argv, done.returncode, done.stdout.removeprefix("OK\n").strip(), done.stderr)

    def roles(self) -> dict[str, str]:
        """What each server that answers takes itself for, by pod: "master", "slave connected" or such."""
        found = {}
        for pod in PODS:
            # ROLE of a replica: slave, host, port, state of the link, offset.
            words = self._as_sentinel(pod, "ROLE").splitlines()
            if words and words[0] in ("master", "slave"):
                found[pod] = words[0] if words[0] == "master" else f"slave {words[3]}"
        return found

    def named_by(self, pod: str) -> str | None:
        """The pod that the Sentinel of `pod` names as master."""
        words = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", REDIS_MASTER)
        answer = self.cli(pod, *words, port=26379, user="probe", password="any")
        host = answer.stdout.partition("\n")[0]
        return host.partition(".")[0] if host.startswith("redis-") else None

    def settled(self, *, timeout: float = _COME_UP_SECONDS, pods: tuple[str, ...] = PODS) -> str:
        """Wait until one is master, in all Sentinels' eyes too, and the others follow it; gives that."""

        def look() -> str | None:
            roles = self.roles()
            masters = [pod for pod, role in roles.items() if role == "master"]
            following = [pod for pod, role in roles.items() if role == "slave connected"]
            if len(masters) != 1 or len(following) != len(pods) - 1:
                return None
            return masters[0] if {self.named_by(pod) for pod in pods} == set(masters) else None

        what = f"one master and {len(pods) - 1} replicas in namespace {self.namespace}"
        master = wait_until(look, timeout=timeout, describe=what, interval=1)
        assert master
        self.kubectl("-n", self.namespace, "wait", "--for=condition=Ready", "pod", *pods, "--timeout=60s")
        return master

    def new_master(self, *, instead_of: str, timeout: float) -> str:
        """Wait until another pod than `instead_of` is master, in its own eyes and a Sentinel's; gives it."""
        others = tuple(pod for pod in PODS if pod != instead_of)

        def look() -> str | None:
            roles = self.roles()
            named = {self.named_by(pod) for pod in others}
            return next((pod for pod in others if roles.get(pod) == "master" and pod in named), None)

        master = wait_until(look, timeout=timeout, describe=f"a master other than {instead_of}")
        assert master
        return master

    def kill(self, pod: str) -> None:
        """Delete the pod without any grace: its processes are killed."""
        self.kubectl("-n", self.namespace, "delete", "pod", pod, "--force", "--grace-period=0")

    def signal(self, pod: str, node: testinfra.host.Host, name: str, *, only_server: bool = False) -> None:
        """Send a signal to the pod's server and Sentinel, or to the server only, from its node."""
        found = json.loads(self.kubectl("-n", self.namespace, "get", "pod", pod, "-o", "json").stdout)
        containers = [
            status["containerID"].rpartition("/")[2]
            for status in found["status"]["containerStatuses"]
            if status["name"] == "redis" or not only_server
        ]
        wanted = "\\|".join(containers)
        script = (
            f"for p in $(grep -l '{wanted}' /proc/[0-9]*/cgroup); do d=${{p%/cgroup}}; "
            f"grep -q '^redis-' $d/comm && kill -{name} ${{d#/proc/}} && echo $d; done"
        )
        sent = node.run(script).stdout.split()
        assert len(sent) >= len(containers), f"of {pod} only {sent} were found"

    def node_of(self, pod: str) -> str:
        words = ["-n", self.namespace, "get", "pod", pod, "-o", "jsonpath={.spec.nodeName}"]
        return self.kubectl(*words).stdout

    def scale(self, replicas: int) -> None:
        words = ["-n", self.namespace, "scale", "statefulset", "redis", f"--replicas={replicas}"]
        self.kubectl(*words)

    def _as_sentinel(self, pod: str, *command: str) -> str:
        return self.cli(pod, *command, user="sentinel", password=self.own_password).stdout


def _line(*words: str) -> str:
    """A command as redis-cli reads it."""
    return " ".join('"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in words)


def deploy(
    kubectl: Kubectl,
    namespace: str,
    *,
    failover_ms: int = FAILOVER_MS,
    replication_password: str = REPLICATION_PASSWORD,
) -> RedisTrio:
    """Apply the Secret and the chart in an existing namespace, for SFUs at the cluster's nodes."""
    config = sentinel_config(kubectl, namespace, failover_ms=failover_ms)
    files = redis_values.secret_files(config, PASSWORD, replication_password)
    values = {
        **redis_values.chart_values(config),
        # The platform's own class may not be there.
        "priorityClassName": "",
        "cpuRequest": "20m",
        "aclChecksum": hashlib.sha256(json.dumps(files).encode()).hexdigest(),
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "redis-acl", "namespace": namespace},
        "stringData": files,
    }
    kubectl.apply(secret)
    apply_chart(kubectl, "redis", namespace, values)
    trio = RedisTrio(kubectl, namespace, _own_password(files))
    trio.settled(timeout=_ROLL_SECONDS)
    return trio


def deployed(kubectl: Kubectl, namespace: str) -> RedisTrio | None:
    """The three that already run in `namespace`; None where it has one, or none of its own."""
    sets = kubectl.get("statefulsets", "-n", namespace, "--field-selector=metadata.name=redis")
    if [found["spec"]["replicas"] for found in sets] != [len(PODS)]:
        return None
    secret = json.loads(kubectl("-n", namespace, "get", "secret", "redis-acl", "-o", "json").stdout)
    files = {name: base64.b64decode(data).decode() for name, data in secret["data"].items()}
    return RedisTrio(kubectl, namespace, _own_password(files))


def _own_password(files: Mapping[str, str]) -> str:
    return files[redis_values.REPLICATION_FILE].split()[-1]


def apply_chart(kubectl: Kubectl, chart: str, namespace: str, values: Mapping[str, Any]) -> None:
    """`chart` of this repository as the release of its own name."""
    kubectl.apply(*template(kubectl.cluster.tools / "helm", chart, values, namespace))


def sentinel_config(
    kubectl: Kubectl, namespace: str, *, failover_ms: int = FAILOVER_MS, **changes: Any
) -> PlatformConfig:
    """A configuration with Redis of kind `sentinel` for the cluster's own nodes."""
    redis = {"kind": "sentinel", "failover_ms": failover_ms, "maxmemory_mib": 16, "storage_size": "64Mi"}
    own: dict[str, Any] = {"namespace": namespace, "nodes": kubectl.nodes(), "redis": redis}
    kubeconfig = kubectl.cluster.kubeconfig
    config, mistakes = parse_completed({**minimal_config(kubeconfig), **own, **changes})
    assert config is not None, mistakes
    return config
