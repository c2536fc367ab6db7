"""charts/redis with Sentinel, with the values and Secret of the program, in a namespace of a test's own."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import testinfra.host

from common.commands import CommandFailed, Completed
from common.waiting import wait_until
from livekit_platform.config import PlatformConfig
from livekit_platform.values import redis as redis_values
from livekit_platform.values.redis_client import REDIS_MASTER, REDIS_USER
from tests.deployment.kubectl import Kubectl
from tests.manifests.rendering import template
from tests.support.speed import scaled
from tests.unit.infra.program import minimal_config, parse_completed

FAILOVER_MS = 3000
PASSWORD = 'sfu\'s "own" \\password#0123456789abcdef'
REPLICATION_PASSWORD = 'of the three\'s "own" \\#0123456789abcdef'
PODS = ("redis-0", "redis-1", "redis-2")
_COME_UP_SECONDS = 120.0
# Longer than redis-cli may take.
_COMMAND_SECONDS = 15.0
# By the chart's schema: the startup probe gives up some time later.
_LONGEST_GRACE = 240
# One after another; each may wait for a minute where it brings another password.
_ROLL_SECONDS = 300.0


@dataclass(frozen=True)
class RedisTrio:
    """Three Redis in `namespace`. Names of pods are "redis-0" to "redis-2"."""

    kubectl: Kubectl
    namespace: str
    # The password of servers and Sentinels among themselves.
    own_password: str
    # The time without an answer after which the Sentinels consider the master dead.
    failover_ms: int

    @property
    def failover_seconds(self) -> float:
        """A limit for a failover: two attempts may fail because two Sentinels vote at the same moment."""
        return scaled(redis_values.failover_seconds(self.failover_ms, attempts=3))

    def cli(
        self, pod: str, *command: str, port: int = 6379, user: str = REDIS_USER, password: str = PASSWORD
    ) -> Completed:
        """redis-cli in `pod`; the password goes by standard input.

        Raises:
            CommandFailed: kubectl did not end, because its connection to the pod hangs.
        """
        lines = [_line("AUTH", user, password), _line(*command)]
        # A server that hangs answers nobody, and must not hold the test up.
        redis_cli = ["timeout", "8", "redis-cli", "-p", str(port)]
        words = ["-n", self.namespace, "exec", "-i", pod, "-c", "redis", "--", *redis_cli]
        seconds = scaled(_COMMAND_SECONDS)
        done = self.kubectl(*words, input="\n".join([*lines, ""]), check=False, timeout=seconds)
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
        """Wait until one pod is master for every Sentinel, and the others follow it; returns its name."""

        def look() -> str | None:
            roles = self.roles()
            masters = [pod for pod, role in roles.items() if role == "master"]
            following = [pod for pod, role in roles.items() if role == "slave connected"]
            if len(masters) != 1 or len(following) != len(pods) - 1:
                return None
            return masters[0] if {self.named_by(pod) for pod in pods} == set(masters) else None

        what = f"one master and {len(pods) - 1} replicas in namespace {self.namespace}"
        master = wait_until(
            look, timeout=scaled(timeout), describe=what, interval=1, tolerate=(CommandFailed,)
        )
        assert master
        self.kubectl.wait_for_pods(self.namespace, *pods, seconds=scaled(60))
        return master

    def new_master(self, *, instead_of: str) -> str:
        """Wait until a pod other than `instead_of` is master and a Sentinel names it; returns its name.

        `instead_of` must not come back meanwhile, because it would stay master.
        """
        others = tuple(pod for pod in PODS if pod != instead_of)

        def look() -> str | None:
            roles = self.roles()
            named = {self.named_by(pod) for pod in others}
            return next((pod for pod in others if roles.get(pod) == "master" and pod in named), None)

        what = f"a master other than {instead_of}"
        master = wait_until(look, timeout=self.failover_seconds, describe=what, tolerate=(CommandFailed,))
        assert master
        return master

    def kill(self, pod: str) -> None:
        """Delete the pod without any grace: its processes are killed. Kubernetes starts it again.

        If the restart is faster than a failover, the pod stays master with its data, and no other pod is
        promoted. `killed` prevents the restart.
        """
        self.kubectl("-n", self.namespace, "delete", "pod", pod, "--force", "--grace-period=0")

    @contextmanager
    def killed(self, pod: str) -> Iterator[None]:
        """Kill the pod, and prevent Kubernetes from starting it again before the block ends."""
        metadata = {"name": "no-new-pods", "namespace": self.namespace}
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata}
        self.kubectl.apply({**quota, "spec": {"hard": {"pods": "0"}}})
        try:
            self.kill(pod)
            yield
        finally:
            self.kubectl("-n", self.namespace, "delete", "resourcequota", metadata["name"])
            wait_until(
                lambda: self._is_made_again(pod),
                timeout=scaled(30),
                describe=f"pod {pod} to be made again",
                interval=1,
            )

    def _is_made_again(self, pod: str) -> bool:
        """Whether the pod exists. If not, make the controller try to create it now.

        After many refusals the StatefulSet's controller waits for minutes before it tries again. If one of
        its pods changes, it tries at once.
        """
        self.kubectl.touch_pods(self.namespace, "-l", "app.kubernetes.io/name=redis")
        return self.incarnation(pod) is not None

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

    def incarnation(self, pod: str) -> tuple[str, int] | None:
        """Identifies the pod's current server: the pod's uid and its restarts; None if there is no pod."""
        for found in self.kubectl.get("pods", "-n", self.namespace, f"--field-selector=metadata.name={pod}"):
            for status in found["status"].get("containerStatuses", []):
                if status["name"] == "redis":
                    return found["metadata"]["uid"], status["restartCount"]
        return None

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
    chart = redis_values.chart_values(config)
    # On a slow machine two of the three servers take longer to start. A test must see their behaviour before
    # the grace period ends.
    grace = min(_LONGEST_GRACE, round(scaled(chart["sentinel"]["restartGraceSeconds"])))
    values = {
        **chart,
        # The platform's own class may not be there.
        "priorityClassName": "",
        "cpuRequest": "20m",
        "sentinel": {**chart["sentinel"], "restartGraceSeconds": grace},
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
    trio = RedisTrio(kubectl, namespace, _own_password(files), failover_ms)
    trio.settled(timeout=_ROLL_SECONDS)
    return trio


def deployed(kubectl: Kubectl, namespace: str) -> RedisTrio | None:
    """The three that already run in `namespace`; None where it has one, or none of its own."""
    sets = kubectl.get("statefulsets", "-n", namespace, "--field-selector=metadata.name=redis")
    if [found["spec"]["replicas"] for found in sets] != [len(PODS)]:
        return None
    secret = json.loads(kubectl("-n", namespace, "get", "secret", "redis-acl", "-o", "json").stdout)
    files = {name: base64.b64decode(data).decode() for name, data in secret["data"].items()}
    words = ["get", "configmap", "redis", "-o", "jsonpath={.data.settings\\.sh}"]
    settings = kubectl("-n", namespace, *words).stdout
    [failover_ms] = re.findall(r"^down_after_ms=(\d+)$", settings, re.MULTILINE)
    return RedisTrio(kubectl, namespace, _own_password(files), int(failover_ms))


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
