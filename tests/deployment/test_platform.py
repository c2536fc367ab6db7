"""The platform's own workloads: sockets, users, passwords, policies, secrets, and files on this machine."""

from __future__ import annotations

import json
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import testinfra
import testinfra.host
from livekit import api

from common.waiting import wait_until
from loadtest.targets.resolving import edge_client
from tests.deployment.kubectl import Kubectl
from tests.running import ClusterAccess, RunningStack, local, resources_changed, run_local
from tests.support.speed import scaled

_NOBODY = "65532"
_UP_AGAIN_SECONDS = 15.0
_ROOM_STARTED = 'token_api_webhooks_total{event="room_started"}'


def _pods(kubectl: Kubectl, namespace: str, name: str) -> list[str]:
    selector = f"app.kubernetes.io/name={name}"
    return [pod["metadata"]["name"] for pod in kubectl.get("pods", "-n", namespace, "-l", selector)]


def _host(cluster: ClusterAccess, namespace: str, pod: str) -> testinfra.host.Host:
    return testinfra.get_host(f"kubectl://{pod}?namespace={namespace}&kubeconfig={cluster.kubeconfig}")


def test_status_says_that_all_is_healthy(platform: str, kubectl: Kubectl) -> None:
    parts = json.loads(run_local("status", "--json", timeout=120, check=False).stdout)["parts"]
    assert [part for part in parts if not part["healthy"]] == []
    assert all(part["origin"] for part in parts if part["kind"] == "container")


def test_no_container_has_been_restarted_or_runs_as_root(platform: str, kubectl: Kubectl) -> None:
    for pod in kubectl.get("pods", "-n", platform):
        name = pod["metadata"]["name"]
        for container in pod["spec"]["containers"]:
            security = {**pod["spec"].get("securityContext", {}), **container.get("securityContext", {})}
            assert security.get("runAsNonRoot") is True, f"{name}/{container['name']}"
            assert security.get("readOnlyRootFilesystem") is True, f"{name}/{container['name']}"
            assert security.get("capabilities") == {"drop": ["ALL"]}, f"{name}/{container['name']}"


def test_the_turn_relay_range_is_kept_from_other_programs(
    nodes: list[testinfra.host.Host], kubectl: Kubectl
) -> None:
    for node in nodes:
        assert node.sysctl("net.ipv4.ip_local_reserved_ports") == "40000-49999"


def test_token_api_runs_as_nobody_on_a_read_only_root(
    cluster: ClusterAccess, platform: str, kubectl: Kubectl
) -> None:
    pods = _pods(kubectl, platform, "token-api")
    assert pods
    for pod in pods:
        host = _host(cluster, platform, pod)
        assert host.check_output("id -u") == _NOBODY
        assert host.run("touch /written").rc != 0
        assert host.run("cat /var/run/secrets/kubernetes.io/serviceaccount/token").rc != 0


def test_redis_refuses_who_has_no_password(cluster: ClusterAccess, platform: str, kubectl: Kubectl) -> None:
    """Where somebody else keeps Redis, there is none of it here."""
    for pod in _pods(kubectl, platform, "redis"):
        host = _host(cluster, platform, pod)
        assert "NOAUTH" in host.run("redis-cli GET anything").stdout
        wrong = host.run("redis-cli --user livekit --pass wrong --no-auth-warning PING")
        assert "WRONGPASS" in wrong.stdout + wrong.stderr
        assert "PONG" not in wrong.stdout


def test_redis_is_open_to_nodes(platform: str, kubectl: Kubectl, nodes: list[testinfra.host.Host]) -> None:
    """To the SFUs, that is; that it is closed to other pods is in test_policies.py."""
    for pod in _pods(kubectl, platform, "redis"):
        address = kubectl.pod_ip(platform, pod)
        for node in nodes:
            reached = node.run(f"timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/6379'")
            assert reached.rc == 0, f"{node.backend.get_hostname()} to {pod}: {reached.stderr}"


def test_secret_values_are_in_secrets_only(stack: RunningStack, platform: str, kubectl: Kubectl) -> None:
    values = [stack.outputs.livekit_api_secret, stack.outputs.api_service_key]
    kinds = "configmaps,pods,deployments,statefulsets,services,events"
    shown = json.dumps(kubectl.get(kinds, "-n", platform))
    for value in values:
        assert value.get_secret_value() not in shown


def test_token_api_mints_for_its_service_key_only(
    stack: RunningStack, platform: str, kubectl: Kubectl
) -> None:
    url = f"{stack.outputs.api_url}/v1/token"
    body = {"room_name": "test_deployment", "participant_identity": "somebody"}
    key = stack.outputs.api_service_key.get_secret_value()
    with edge_client(stack.outputs) as client:
        minted = client.post(url, json=body, headers={"Authorization": f"Bearer {key}"})
        assert minted.status_code == 201, minted.text
        assert minted.json()["server_url"] == stack.outputs.signal_url
        refused = client.post(url, json=body, headers={"Authorization": "Bearer wrong"})
        assert refused.status_code == 401
        assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_token_api_is_ready_through_the_edge(
    stack: RunningStack, platform: str, kubectl: Kubectl, path: str
) -> None:
    with edge_client(stack.outputs) as client:
        assert client.get(f"{stack.outputs.api_url}{path}").status_code == 200


def test_keys_on_this_machine_are_readable_by_their_owner_only(
    stack: RunningStack, disruptive: None, kubectl: Kubectl
) -> None:
    state = stack.outputs.kubeconfig_path.parent
    for name in ("kubeconfig", "passphrase"):
        assert stat.S_IMODE((state / name).stat().st_mode) == 0o600, name
    checkout = Path(__file__).parents[2]
    assert checkout not in state.parents, "`git clean` would lose the keys"


@pytest.mark.alone
def test_up_again_is_quick_and_changes_nothing(
    platform: str, kubectl: Kubectl, record_property: Callable[[str, object], None]
) -> None:
    """The limit applies to `pulumi up --refresh`. The report also contains the time of all of `make up`."""
    before = {pod["metadata"]["uid"] for pod in kubectl.get("pods", "-n", platform)}
    started = time.monotonic()
    done = run_local("up", timeout=10 * scaled(_UP_AGAIN_SECONDS))
    record_property("make_up_seconds", round(time.monotonic() - started, 1))
    report = resources_changed(done.stderr)
    assert "unchanged" in report
    assert not re.search("created|updated|replaced|deleted", report), report
    assert {pod["metadata"]["uid"] for pod in kubectl.get("pods", "-n", platform)} == before
    duration = re.search(r"Duration: (?:(\d+)m)?(\d+)s", report)
    assert duration, report
    minutes, seconds = map(int, duration.groups(default="0"))
    assert 60 * minutes + seconds <= scaled(_UP_AGAIN_SECONDS), report


def test_a_preview_of_what_is_deployed_shows_no_change(platform: str) -> None:
    local("preview", "--expect-no-changes", timeout=120)


def test_no_workload_tried_to_make_pods_too_early(platform: str, kubectl: Kubectl) -> None:
    """Pulumi creates ServiceAccounts and PriorityClasses first. Events are kept for an hour."""
    assert kubectl.failed_creations(platform) == []


async def test_livekits_webhooks_reach_token_api(
    stack: RunningStack, platform: str, kubectl: Kubectl
) -> None:
    pods = _pods(kubectl, platform, "token-api")

    def received() -> float:
        """Over all replicas: a webhook goes to any one of them."""
        pages = [
            kubectl("get", "--raw", f"/api/v1/namespaces/{platform}/pods/{pod}:8080/proxy/metrics").stdout
            for pod in pods
        ]
        lines = [line for page in pages for line in page.splitlines() if _ROOM_STARTED in line]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    before = received()
    outputs = stack.outputs
    url = outputs.signal_urls[0].replace("ws", "http", 1)
    async with api.LiveKitAPI(
        url, outputs.livekit_api_key, outputs.livekit_api_secret.get_secret_value()
    ) as livekit:
        await livekit.room.create_room(api.CreateRoomRequest(name="test_webhooks", empty_timeout=1))
        await livekit.room.delete_room(api.DeleteRoomRequest(room="test_webhooks"))
    wait_until(lambda: received() > before, timeout=30, describe="token-api to count room_started")
