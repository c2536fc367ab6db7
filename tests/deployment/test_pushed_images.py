"""`make images-push`: a node pulls our images from a registry, by what the command printed, and runs them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from common.commands import run
from common.waiting import wait_until
from tests.deployment.kubectl import Kubectl
from tests.running import CHECKOUT, local

PORT = 15055
# Container runtimes take plain HTTP on loopback and nowhere else, so the node has the registry there.
LOOPBACK = f"127.0.0.1:{PORT}/livekit-platform"
_PUSH_SECONDS = 600.0
_CRANE = "from local.toolchain.go_tools import CRANE as c; print(c.path if c.built else c.build())"


@pytest.fixture(scope="module")
def crane() -> Path:
    """What pushes can also serve: a whole registry in one static program."""
    return Path(local("run", "--", "python", "-c", _CRANE, timeout=300).strip())


@dataclass(frozen=True)
class Registry:
    """One that a pod serves on the network of its node: reached from here, and by the node on loopback."""

    node: str
    host: str

    def answers(self) -> bool:
        try:
            # Whatever proxy the machine has, its own nodes are not behind it.
            return httpx.get(f"http://{self.host}/v2/", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module")
def registry(
    kubectl: Kubectl, scratch: str, crane: Path, node_names: list[str], disruptive_session: None
) -> Registry:
    name = node_names[0]
    serve = f"exec /registry/crane registry serve --address 0.0.0.0:{PORT} --disk /registry/blobs"
    kubectl.start_pod(
        scratch,
        "registry",
        node=name,
        script=f"while [ ! -x /registry/crane ]; do sleep 0.2; done; {serve}",
        hostNetwork=True,
        volumes=[{"name": "registry", "emptyDir": {}}],
        container={"volumeMounts": [{"name": "registry", "mountPath": "/registry"}]},
    )
    unpack = "busybox base64 -d >/registry/new && mkdir /registry/blobs && chmod +x /registry/new"
    kubectl(
        *("-n", scratch, "exec", "-i", "registry", "--"),
        *("sh", "-c", f"{unpack} && mv /registry/new /registry/crane"),
        input=base64.b64encode(crane.read_bytes()).decode(),
        timeout=120,
    )
    served = Registry(name, f"{kubectl.pod_ip(scratch, 'registry')}:{PORT}")
    wait_until(served.answers, timeout=30, describe=f"the registry at {served.host} to answer", interval=0.2)
    return served


@pytest.fixture(scope="module")
def images(registry: Registry) -> dict[str, str]:
    """What the command printed: the part that goes into a stack's configuration."""
    given = f"{registry.host}/livekit-platform"
    printed: dict[str, str] = yaml.safe_load(local("images-push", given, timeout=_PUSH_SECONDS))[
        "livekit-platform:images"
    ]
    assert printed.pop("registry") == given
    return printed


@pytest.fixture
def token_api(registry: Registry, images: dict[str, str]) -> Iterator[str]:
    """The pushed image as the node reaches it; all its names are taken from the node again."""
    yield f"{LOOPBACK}/{images['token_api']}"
    ctr = "ctr -n k8s.io images"
    forget = f"{ctr} ls -q | grep '^{LOOPBACK}/' | xargs -r {ctr} rm"
    local("enter", registry.node, "--", "sh", "-c", forget, timeout=60)


def test_the_makefile_leads_to_the_command() -> None:
    done = run(["make", "images-push", "REGISTRY=Not/A-Registry"], cwd=CHECKOUT, timeout=60, check=False)
    assert not done.ok
    assert "REGISTRY: given 'Not/A-Registry', allowed is a registry's host" in done.stderr


def test_a_node_pulls_what_was_pushed_and_runs_it(
    kubectl: Kubectl, scratch: str, registry: Registry, token_api: str
) -> None:
    digest = token_api.partition("@")[2]
    assert digest.startswith("sha256:")
    kubectl.apply(_token_api(scratch, registry.node, token_api))
    kubectl("-n", scratch, "wait", "--for=condition=Ready", "pod/token-api", "--timeout=120s", timeout=130)
    [pod] = [pod for pod in kubectl.get("pods", "-n", scratch) if pod["metadata"]["name"] == "token-api"]
    [status] = pod["status"]["containerStatuses"]
    assert status["imageID"].endswith(f"@{digest}")
    # The image of that digest may be on the node under its other name: the registry was asked all the same.
    asked = kubectl("-n", scratch, "logs", "registry").stdout
    assert f"GET /v2/livekit-platform/token-api/manifests/{digest}" in asked.replace("HEAD", "GET")


def _token_api(namespace: str, node: str, image: str) -> dict[str, Any]:
    """A pod of ours by itself, as strict as its chart makes it."""
    environment = {
        "LIVEKIT_URL": "http://127.0.0.1:7880",
        "LIVEKIT_API_KEY": "platform",
        "LIVEKIT_API_SECRET": "only-for-this-test-0123456789abcdef",
        "TOKEN_API_SERVICE_KEY": "also-for-this-test-0123456789abcdef",
        "TOKEN_API_DATA_DIR": "/data",
        "SQLITE_TMPDIR": "/data",
    }
    container = {
        "name": "token-api",
        "image": image,
        # Without it an image that is there would do, wherever it came from.
        "imagePullPolicy": "Always",
        "args": ["serve"],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        # LiveKit is not there: it runs, and says so.
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "token-api", "namespace": namespace},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    }
