"""`make images-push`: a node pulls our images from a registry, by what the command printed, and runs them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from common.commands import run
from tests.deployment import image_registry
from tests.deployment.image_registry import LOOPBACK, Registry
from tests.deployment.kubectl import Kubectl
from tests.running import CHECKOUT

pytestmark = pytest.mark.own_namespace


@pytest.fixture(scope="module")
def registry(kubectl: Kubectl, scratch: str, node_names: list[str], disruptive_session: None) -> Registry:
    return image_registry.serve(kubectl, scratch, node_names[0], image_registry.crane())


@pytest.fixture(scope="module")
def images(registry: Registry) -> dict[str, str]:
    """What the command printed: the part that goes into a stack's configuration."""
    return registry.push()


@pytest.fixture
def token_api(registry: Registry, images: dict[str, str]) -> Iterator[str]:
    """The pushed image as the node reaches it; all its names are taken from the node again."""
    yield f"{LOOPBACK}/{images['token_api']}"
    image_registry.forget(registry.node)


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
    assert registry.asked_for(token_api.removeprefix(f"{LOOPBACK}/"))


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
