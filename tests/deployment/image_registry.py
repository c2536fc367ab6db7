"""A registry on a node of the cluster, and our images in it as a platform engineer puts them there."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from common.waiting import wait_until
from tests.deployment.kubectl import Kubectl
from tests.running import local

PORT = 15055
# Container runtimes take plain HTTP on loopback and nowhere else, so a node has the registry there.
LOOPBACK = f"127.0.0.1:{PORT}/livekit-platform"
_PUSH_SECONDS = 600.0
_CRANE = "from local.toolchain.go_tools import CRANE as c; print(c.path if c.built else c.build())"


def crane() -> Path:
    """What pushes can also serve: a whole registry in one static program."""
    return Path(local("run", "--", "python", "-c", _CRANE, timeout=300).strip())


@dataclass(frozen=True)
class Registry:
    """One that a pod serves on the network of its node: reached from here, and by the node on loopback.

    Attributes:
        node: the node's name, by which the pod is named, too.
        host: the registry as it is reached from here.
    """

    kubectl: Kubectl
    namespace: str
    node: str
    host: str

    def push(self) -> dict[str, str]:
        """`make images-push`; gives the image of each key under `images` that it printed."""
        given = f"{self.host}/livekit-platform"
        printed: dict[str, str] = yaml.safe_load(local("images-push", given, timeout=_PUSH_SECONDS))[
            "livekit-platform:images"
        ]
        assert printed.pop("registry") == given
        return printed

    def asked_for(self, image: str) -> bool:
        """Whether somebody looked for `image` (`name@digest`, or `name:tag@digest`) here."""
        name, _, digest = image.partition("@")
        log = self.kubectl("-n", self.namespace, "logs", _pod(self.node)).stdout
        path = f"/v2/livekit-platform/{name.partition(':')[0]}/manifests/{digest}"
        return f"GET {path}" in log or f"HEAD {path}" in log

    def answers(self) -> bool:
        try:
            # Whatever proxy the machine has, its own nodes are not behind it.
            return httpx.get(f"http://{self.host}/v2/", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


def serve(kubectl: Kubectl, namespace: str, node: str, program: Path) -> Registry:
    """An empty registry on `node`, for as long as the namespace is there.

    Args:
        program: crane.
    """
    run = f"exec /registry/crane registry serve --address 0.0.0.0:{PORT} --disk /registry/blobs"
    kubectl.start_pod(
        namespace,
        _pod(node),
        node=node,
        script=f"while [ ! -x /registry/crane ]; do sleep 0.2; done; {run}",
        hostNetwork=True,
        volumes=[{"name": "registry", "emptyDir": {}}],
        container={"volumeMounts": [{"name": "registry", "mountPath": "/registry"}]},
    )
    unpack = "busybox base64 -d >/registry/new && mkdir /registry/blobs && chmod +x /registry/new"
    kubectl(
        *("-n", namespace, "exec", "-i", _pod(node), "--"),
        *("sh", "-c", f"{unpack} && mv /registry/new /registry/crane"),
        input=base64.b64encode(program.read_bytes()).decode(),
        timeout=120,
    )
    served = Registry(kubectl, namespace, node, f"{kubectl.pod_ip(namespace, _pod(node))}:{PORT}")
    wait_until(served.answers, timeout=30, describe=f"the registry at {served.host} to answer", interval=0.2)
    return served


def forget(node: str) -> None:
    """Take all names of images that a node pulled from such a registry from it again."""
    ctr = "ctr -n k8s.io images"
    names = f"{ctr} ls -q | grep '^{LOOPBACK}/' | xargs -r {ctr} rm"
    local("enter", node, "--", "sh", "-c", names, timeout=60)


def _pod(node: str) -> str:
    return f"registry-{node}"
