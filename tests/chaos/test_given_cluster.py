"""A second whole stack on a cluster that is given, by the commands of whoever has a cluster of their own.

The cluster is the running stack's, which stays as it is. What the two would share is chosen apart: the
namespace, and every port of the nodes. Our images come from a registry on each node, as `make images-push`
puts them there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.commands import run
from common.waiting import wait_until
from loadtest.net.bridge import ClientNetwork
from loadtest.targets.outputs import StackOutputs
from loadtest.targets.resolving import edge_client
from tests.chaos.held_call import admissions
from tests.deployment import image_registry
from tests.deployment.image_registry import LOOPBACK, Registry
from tests.deployment.kubectl import Kubectl
from tests.e2e.call import Network, assert_media_arrived, hold_call
from tests.running import CHECKOUT

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("disruptive")]

# Longer than Pulumi waits for an object (10 min): a killed `up` would leave its engine behind.
_UP_SECONDS = 900.0
_DOWN_SECONDS = 600.0
_NAMESPACE = "given"
_DOMAIN = "given.localhost"
_PORTS: dict[str, Any] = {
    "signal": 17880,
    "ice_tcp": 17881,
    "media_udp": 17882,
    "turn_udp": 13478,
    "turn_tcp": 13478,
    "turn_tls": 15349,
    "turn_relay": {"first": 41000, "last": 41199},
    "turn_metrics": 19641,
    "turn_reports": 19642,
    "livekit_metrics": 16789,
    "edge_https": 19443,
    "edge_http": 19080,
}
# What a stack makes that belongs to no namespace, or is one.
_BEYOND = "namespaces,priorityclasses,persistentvolumes,clusterroles,clusterrolebindings,ingressclasses"


@dataclass(frozen=True)
class Given:
    """The second stack, as its engineer has it."""

    environment: dict[str, str]
    state: Path

    def make(self, *words: str, timeout: float) -> str:
        """`make`; what it says meanwhile goes into the exception of a failure."""
        return run(["make", "-s", *words], cwd=CHECKOUT, env=self.environment, timeout=timeout).stdout

    def outputs(self) -> StackOutputs:
        return StackOutputs.model_validate_json(self.make("outputs", "SECRETS=1", timeout=120))


@pytest.fixture(scope="module")
def registries(kubectl: Kubectl, scratch: str, node_names: list[str]) -> Iterator[list[Registry]]:
    """One on each node: a pod is started on either."""
    program = image_registry.crane()
    yield [image_registry.serve(kubectl, scratch, node, program) for node in node_names]
    for node in node_names:
        image_registry.forget(node)


@pytest.fixture(scope="module")
def images(registries: list[Registry]) -> dict[str, str]:
    """Ours, as they are printed to be put into the configuration: the same for each registry."""
    [first, *others] = [registry.push() for registry in registries]
    assert all(other == first for other in others)
    return first


@pytest.fixture(scope="module")
def given(
    outputs: StackOutputs,
    kubectl: Kubectl,
    images: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Given]:
    """The second stack, up; taken down at the end, and nothing of it is left."""
    overlay = tmp_path_factory.mktemp("given") / "overlay.yaml"
    config = {
        "namespace": _NAMESPACE,
        "domain": _DOMAIN,
        "nodes": kubectl.nodes(),
        "images": {"registry": LOOPBACK, **images},
        "ports": _PORTS,
    }
    overlay.write_text(
        yaml.safe_dump({"config": {f"livekit-platform:{key}": value for key, value in config.items()}})
    )
    running = outputs.kubeconfig_path.parent
    # Of this checkout alone, and the same each time: what a killed session left, the next one heals.
    instance = f"g{running.name[:5]}"
    stack = Given(
        {
            "LKP_INSTANCE": instance,
            "LKP_KUBECONFIG": str(outputs.kubeconfig_path),
            "LKP_OVERLAY": str(overlay),
        },
        running.parent / instance,
    )
    before = _beyond(kubectl)
    try:
        stack.make("up", timeout=_UP_SECONDS)
        yield stack
    finally:
        stack.make("down", timeout=_DOWN_SECONDS)
    # Volumes go after the claims on them.
    wait_until(lambda: _beyond(kubectl) == before, timeout=120, describe=f"no more than {sorted(before)}")
    assert not stack.state.exists()


def _beyond(kubectl: Kubectl) -> set[str]:
    return {f"{item['kind']}/{item['metadata']['name']}" for item in kubectl.get(_BEYOND)}


def test_it_is_healthy_and_a_second_up_changes_nothing(given: Given) -> None:
    given.make("status", timeout=120)
    given.make("preview", "EXPECT_NO_CHANGES=1", timeout=300)


def test_its_first_up_made_no_pod_too_early(given: Given, kubectl: Kubectl) -> None:
    """A workload that is created before its ServiceAccount or PriorityClass fails to make its first pod."""
    failed = kubectl.get("events", "-n", _NAMESPACE, "--field-selector", "reason=FailedCreate")
    assert [f"{event['involvedObject']['name']}: {event['message']}" for event in failed] == []


def test_our_images_were_pulled_from_the_registry(
    given: Given, kubectl: Kubectl, registries: list[Registry], images: dict[str, str]
) -> None:
    pods = kubectl.get("pods", "-n", _NAMESPACE)
    pulled = {
        status["imageID"].rpartition("@")[2]
        for pod in pods
        for kind in ("containerStatuses", "initContainerStatuses")
        for status in pod["status"].get(kind, [])
        if status["image"].startswith(LOOPBACK) or LOOPBACK in status["imageID"]
    }
    assert pulled == {image.partition("@")[2] for image in images.values()}
    for image in images.values():
        assert any(registry.asked_for(image) for registry in registries), image


def test_its_edge_mints_a_token_for_its_own_key_that_its_own_sfus_take(
    given: Given, outputs: StackOutputs
) -> None:
    its = given.outputs()
    url = f"{its.api_url}/v1/token"
    assert (its.domain, its.namespace) == (_DOMAIN, _NAMESPACE)
    body = {"room_name": "test_given", "participant_identity": "somebody"}
    key, of_the_other = (one.api_service_key.get_secret_value() for one in (its, outputs))
    with edge_client(its) as client:
        minted = client.post(url, json=body, headers={"Authorization": f"Bearer {key}"})
        assert minted.status_code == 201, minted.text
        assert minted.json()["server_url"] == its.signal_url
        other = client.post(url, json=body, headers={"Authorization": f"Bearer {of_the_other}"})
        assert other.status_code == 401
        token = minted.json()["participant_token"]
        signalling = its.signal_url.replace("wss://", "https://")
        taken = client.get(f"{signalling}/rtc/validate", params={"access_token": token})
        assert taken.status_code == 200, taken.text
    # The other stack's SFUs know neither its key nor its room.
    with edge_client(outputs) as client:
        signalling = outputs.signal_url.replace("wss://", "https://")
        refused = client.get(f"{signalling}/rtc/validate", params={"access_token": token})
        assert refused.status_code == 401


def test_a_call_goes_through_it(given: Given, client_network: ClientNetwork, tmp_path: Path) -> None:
    its = given.outputs()
    sends, watches = admissions(its, its.signal_urls)
    call = hold_call(client_network, publisher=sends, subscriber=watches, through=Network(), logs=tmp_path)
    assert_media_arrived(call)
