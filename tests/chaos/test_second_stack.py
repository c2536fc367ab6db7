"""Tests that change a whole stack: a given cluster, new configuration, Redis with Sentinels.

They run in the order of this file, on one second stack. The tests deploy it to a given cluster, change it
while a call goes on, switch it to other kinds (Redis with Sentinels, LiveKit's own TURN server), switch it
back, and take it down.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.waiting import wait_until
from loadtest.client.process import ClientProcess, client_process
from loadtest.client.protocol import ClientConfig, Joined
from loadtest.client.samples import now_ms
from loadtest.net.bridge import ClientNetwork
from loadtest.net.firewall import OnlyTo
from loadtest.net.namespace import client_namespace
from loadtest.targets.outputs import StackOutputs, endpoint_of
from loadtest.targets.resolving import edge_client
from loadtest.targets.tokens import make_admission
from tests.chaos.held_call import (
    FREEZE_MS,
    admissions,
    call_after_an_outage,
    call_through_the_edge,
    held_call,
    longest_standstill_ms,
)
from tests.chaos.placed_call import placed_call, wait_for_replacement
from tests.chaos.second_stack import (
    DOMAIN,
    METRICS_PORT,
    NAMESPACE,
    TURN_TTL_SECONDS,
    SecondStack,
    client_network,
    second_stack,
)
from tests.chaos.sfu_routing import let_publish, sfu_addresses, sfu_pods, sfu_restarts
from tests.deployment import image_registry
from tests.deployment.image_registry import LOOPBACK, Registry
from tests.deployment.kubectl import Kubectl
from tests.e2e.call import MARKED_MEDIA, Network, assert_media_arrived, hold_call, room_name
from tests.e2e.chromium import chromium
from tests.e2e.page import call_page
from tests.redis_trio import deployed
from tests.running import CHECKOUT
from tests.support.speed import scaled

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("disruptive")]

# Pulumi renders and applies the charts before the first SFU is replaced.
_ROLL_SECONDS = 240.0
# Within this time SFUs find the new master and each other again.
_RECOVERY_SECONDS = 30.0
_OTHER_KINDS = {"redis": {"kind": "sentinel"}, "turn": {"kind": "embedded"}}
# The namespaces, and all other objects outside namespaces, that a stack creates.
_BEYOND = "namespaces,priorityclasses,persistentvolumes,clusterroles,clusterrolebindings,ingressclasses"


@pytest.fixture(scope="module")
def registries(kubectl: Kubectl, scratch: str, node_names: list[str]) -> Iterator[list[Registry]]:
    """A registry on each node, because pods may start on any node."""
    program = image_registry.crane()
    yield [image_registry.serve(kubectl, scratch, node, program) for node in node_names]
    for node in node_names:
        image_registry.forget(node)


@pytest.fixture(scope="module")
def images(registries: list[Registry]) -> dict[str, str]:
    """Our images, as `make images-push` prints them for the configuration: the same in each registry."""
    [first, *others] = [registry.push() for registry in registries]
    assert all(other == first for other in others)
    return first


@pytest.fixture(scope="module")
def second(
    outputs: StackOutputs,
    kubectl: Kubectl,
    images: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SecondStack]:
    """The second stack. At the end it is taken down, and the fixture checks that nothing of it is left."""
    before = _beyond(kubectl)
    with second_stack(
        outputs, kubectl.nodes(), {"registry": LOOPBACK, **images}, tmp_path_factory.mktemp("second")
    ) as stack:
        yield stack
    # Volumes are deleted some time after their claims.
    wait_until(
        lambda: _beyond(kubectl) == before, timeout=scaled(120), describe=f"no more than {sorted(before)}"
    )


def _beyond(kubectl: Kubectl) -> set[str]:
    return {f"{item['kind']}/{item['metadata']['name']}" for item in kubectl.get(_BEYOND)}


@pytest.fixture(scope="module")
def its(second: SecondStack) -> StackOutputs:
    """The outputs of the second stack with its first kinds."""
    return second.outputs()


@pytest.fixture(scope="module")
def network(its: StackOutputs, outputs: StackOutputs) -> ClientNetwork:
    """Clients that know the second stack's names and trust its authority."""
    return client_network(its, outputs)


@pytest.fixture(scope="module")
def other_kinds(second: SecondStack) -> StackOutputs:
    """The outputs of the second stack with `_OTHER_KINDS`."""
    second.up(**_OTHER_KINDS)
    return second.outputs()


def test_a_viewer_by_relay_is_promoted_after_its_credentials_have_expired(
    its: StackOutputs, network: ClientNetwork, tmp_path: Path
) -> None:
    """LiveKit gives credentials for TURN at a join and a resume only, and they are good for a minute here."""
    room = room_name()
    viewer = make_admission(its, url=its.signal_url, room=room, identity="viewer", publish=False)
    other = make_admission(its, url=its.signal_url, room=room, identity="other")
    config = ClientConfig(url=other.url, token=other.token, publish=MARKED_MEDIA, subscribe=True)
    with (
        client_namespace(network) as there,
        client_process("other", config, namespace=there, log=tmp_path / "other.log") as peer,
        client_namespace(network) as here,
        chromium(tmp_path / "home", trusting=its.ca_certificate, namespace=here) as browser,
        call_page(browser, f"https://{its.domain}", log=tmp_path / "page.log") as page,
    ):
        peer.wait_for(Joined, timeout=scaled(40))
        page.enter(viewer, "relay")
        expired = now_ms() + 1000 * (TURN_TTL_SECONDS + 1)
        page.wait_for_frames(30, timeout=scaled(40))
        wait_until(
            lambda: now_ms() > expired,
            timeout=TURN_TTL_SECONDS + 5,
            describe="the credentials to have expired",
            interval=1,
        )
        let_publish(its, room, "viewer")
        page.publish()
        wait_until(
            lambda: _decoded(peer) >= 30, timeout=scaled(40), describe="the peer to decode 30 pictures"
        )
        assert {path.local.type for path in page.paths()} == {"relay"}
        # With an ICE restart, for which it gets new ones.
        page.restart("signal-reconnect")
        seen = page.wait_for_frames(1, timeout=1)
        page.wait_for_frames(seen + 30, timeout=scaled(40))
        assert {path.local.type for path in page.paths()} == {"relay"}


def _decoded(peer: ClientProcess) -> int:
    """Pictures of the page's camera, which have no marker, that a client has decoded so far."""
    peer.run_for(0.5)
    return sum(video.unreadable for second in peer.recording.measured for video in second.video)


def test_it_is_healthy_and_a_second_up_changes_nothing(second: SecondStack) -> None:
    second.make("status", timeout=scaled(120))
    second.make("preview", "EXPECT_NO_CHANGES=1", timeout=scaled(300))


def test_its_first_up_made_no_pod_too_early(second: SecondStack, kubectl: Kubectl) -> None:
    """A workload that is created before its ServiceAccount or PriorityClass fails to make its first pod."""
    assert kubectl.failed_creations(NAMESPACE) == []


def test_our_images_were_pulled_from_the_registry(
    second: SecondStack, kubectl: Kubectl, registries: list[Registry], images: dict[str, str]
) -> None:
    pods = kubectl.get("pods", "-n", NAMESPACE)
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
    its: StackOutputs, outputs: StackOutputs
) -> None:
    url = f"{its.api_url}/v1/token"
    assert (its.domain, its.namespace) == (DOMAIN, NAMESPACE)
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
    # The other stack's SFUs know neither the key of this stack nor the room.
    with edge_client(outputs) as client:
        signalling = outputs.signal_url.replace("wss://", "https://")
        refused = client.get(f"{signalling}/rtc/validate", params={"access_token": token})
        assert refused.status_code == 401


def test_a_call_goes_through_it(its: StackOutputs, network: ClientNetwork, tmp_path: Path) -> None:
    assert_media_arrived(call_through_the_edge(its, network, tmp_path))


def test_a_call_goes_on_while_a_change_of_configuration_replaces_the_sfus(
    second: SecondStack, its: StackOutputs, network: ClientNetwork, kubectl: Kubectl, tmp_path: Path
) -> None:
    """The SFU that carries the signalling is replaced before the room's own one."""
    room_node, signal_node = sfu_addresses(its)[:2]
    with placed_call(
        its,
        network,
        kubectl,
        tmp_path,
        room_node=room_node,
        signal_node=signal_node,
        metrics_port=METRICS_PORT,
    ) as placed:
        old = sfu_pods(kubectl, NAMESPACE)
        # The ReplicaSet deletes pods with a low cost first.
        cost = "controller.kubernetes.io/pod-deletion-cost=1000"
        kubectl("-n", NAMESPACE, "annotate", "pod", old[room_node].name, cost)
        second.configure(livekit={"log_level": "debug"})
        since_ms = now_ms()
        with _up_meanwhile(second, tmp_path / "up.log"):
            wait_for_replacement(kubectl, NAMESPACE, signal_node, old[signal_node].uid, timeout=_ROLL_SECONDS)
            placed.wait_for_resumption()
            # The room's own SFU stops next. It waits for its participants to leave, so end the call here.
            until_ms = now_ms()
            placed.assert_nobody_rejoined()
            placed.call.finish()
    placed.assert_no_standstill(since_ms, until_ms)
    assert [pod.ready for pod in sfu_pods(kubectl, NAMESPACE).values()] == [True] * len(old)


@contextmanager
def _up_meanwhile(second: SecondStack, log: Path) -> Iterator[None]:
    """Run `make up` during the block. After the block, wait until it ends with success."""
    environment = {**os.environ, **second.environment}
    with (
        log.open("w") as said,
        subprocess.Popen(["make", "up"], cwd=CHECKOUT, env=environment, stdout=said, stderr=said) as up,
    ):
        try:
            yield
        finally:
            up.wait(timeout=scaled(_ROLL_SECONDS))
    assert up.returncode == 0, log.read_text()[-3000:]


def test_up_returns_after_the_rolling_updates_of_edge_and_coturn(
    second: SecondStack, its: StackOutputs, kubectl: Kubectl
) -> None:
    turn = {**second.base["turn"], "allocations_per_address": 250}
    edge = {"resources": {"memory_limit": "500Mi"}}
    with _all_replaced(kubectl, "deployment/edge", "deployment/coturn"):
        second.up(turn=turn, edge=edge)


def test_three_redis_elect_one_master_and_livekit_finds_it(
    other_kinds: StackOutputs, kubectl: Kubectl, network: ClientNetwork, tmp_path: Path
) -> None:
    redis = deployed(kubectl, NAMESPACE)
    assert redis is not None
    assert redis.settled() in redis.roles()
    assert_media_arrived(call_through_the_edge(other_kinds, network, tmp_path))


def test_the_embedded_turn_server_relays(
    other_kinds: StackOutputs, kubectl: Kubectl, network: ClientNetwork, tmp_path: Path
) -> None:
    assert kubectl.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=coturn") == []
    turn = tuple(endpoint_of(url) for url in other_kinds.turn_urls if url.startswith("turn:"))
    signalling = endpoint_of(other_kinds.signal_url, other_kinds.address_of)
    sends, watches = admissions(other_kinds, [other_kinds.signal_url])
    call = hold_call(
        network,
        publisher=sends,
        subscriber=watches,
        through=Network(firewall=OnlyTo((signalling, *turn)), transport="relay"),
        logs=tmp_path,
    )
    for path in (*call.publisher.paths, *call.subscriber.paths):
        assert path.local.type == "relay", f"{path}"
    assert_media_arrived(call)


def test_a_call_outlives_the_redis_master_and_another_follows(
    other_kinds: StackOutputs, kubectl: Kubectl, network: ClientNetwork, tmp_path: Path
) -> None:
    """Nobody in the call notices, no SFU is restarted, and the next call can be made."""
    redis = deployed(kubectl, NAMESPACE)
    assert redis is not None
    master = redis.settled()
    before = sfu_restarts(kubectl, NAMESPACE)
    with held_call(other_kinds, network, [other_kinds.signal_url], tmp_path) as call:
        call.run_for(2)
        killed_ms = now_ms()
        with redis.killed(master):
            redis.new_master(instead_of=master)
            # Clients and SFUs that give up late would do so in this time: a node counts as dead after 5 s.
            call.run_for(10)
            over_ms = now_ms()
            call.finish()

    still = longest_standstill_ms(call.subscriber.recording, killed_ms, over_ms)
    assert still < FREEZE_MS, f"video stood still for {still:.0f} ms after the master was killed"
    assert sfu_restarts(kubectl, NAMESPACE) == before, "an SFU was restarted because of Redis"
    next_call = call_after_an_outage(other_kinds, network, tmp_path, within_seconds=_RECOVERY_SECONDS)
    assert_media_arrived(next_call)
    assert redis.settled() != master


def test_up_returns_after_the_rolling_update_of_redis_with_sentinels(
    second: SecondStack, other_kinds: StackOutputs, kubectl: Kubectl
) -> None:
    redis = deployed(kubectl, NAMESPACE)
    assert redis is not None
    changed = {**_OTHER_KINDS, "redis": {"kind": "sentinel", "failover_ms": redis.failover_ms + 1000}}
    with _all_replaced(kubectl, "statefulset/redis"):
        second.up(**changed)
    assert redis.settled() in redis.roles()


@contextmanager
def _all_replaced(kubectl: Kubectl, *workloads: str) -> Iterator[None]:
    """Check that the block replaces all pods of the workloads, and ends when the new ones are ready."""
    before = {name: _pods(kubectl, name) for name in workloads}
    yield
    for name, old in before.items():
        kind, _, title = name.partition("/")
        [workload] = kubectl.get(kind, "-n", NAMESPACE, f"--field-selector=metadata.name={title}")
        found = workload["status"]
        assert found["observedGeneration"] == workload["metadata"]["generation"], name
        replicas = workload["spec"]["replicas"]
        assert [found.get(key, 0) for key in ("updatedReplicas", "readyReplicas")] == [replicas] * 2, name
        new = _pods(kubectl, name)
        assert len(new) == replicas, name
        assert not old & new, name


def _pods(kubectl: Kubectl, workload: str) -> set[str]:
    """The uids of a workload's pods, without those that are ending."""
    selector = f"app.kubernetes.io/name={workload.partition('/')[2]}"
    pods = kubectl.get("pods", "-n", NAMESPACE, "-l", selector)
    return {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}


def test_the_stack_goes_back_to_its_first_kinds(
    second: SecondStack,
    other_kinds: StackOutputs,
    kubectl: Kubectl,
    network: ClientNetwork,
    tmp_path: Path,
) -> None:
    second.up()
    assert deployed(kubectl, NAMESPACE) is None
    assert_media_arrived(call_through_the_edge(second.outputs(), network, tmp_path))
