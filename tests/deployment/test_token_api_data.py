"""token-api in the cluster: a stream from its beginning to its end, and data that outlives a pod."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import httpx
import pytest
from livekit import api

from common.waiting import wait_until
from loadtest.targets.resolving import edge_client
from tests.deployment.host_application import HostApplication, host_application
from tests.deployment.kubectl import Kubectl
from tests.running import RunningStack

_POD = "token-api-0"
_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)"


@pytest.fixture(scope="module")
def embedded(kubectl: Kubectl, platform: str) -> str:
    """The workload with the volume, as kind/name."""
    names = {item["metadata"]["name"] for item in kubectl.get("statefulsets", "-n", platform)}
    assert "token-api" in names, "this stack's database is external, and these tests are for the embedded one"
    return "statefulset/token-api"


@pytest.fixture(scope="module")
def host(stack: RunningStack, kubectl: Kubectl, embedded: str) -> Iterator[HostApplication]:
    with edge_client(stack.outputs) as client:
        yield host_application(client, stack, kubectl, embedded)


def _user(name: str) -> str:
    """A user of this run only."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def _new_stream(host: HostApplication, owner: str, title: str) -> str:
    # In a space of its own the owner is of no team: the application says who it is for.
    wanted = {"title": title, "space_id": _user("space"), "owner_id": owner}
    return str(host.as_service("POST", "/streams", wanted)["id"])


def _status(url: str, token: str) -> int:
    return httpx.get(
        f"{url}/rtc/validate", params={"access_token": token}, timeout=10, trust_env=False
    ).status_code


async def test_a_stream_is_live_watched_and_over(
    stack: RunningStack, host: HostApplication, kubectl: Kubectl, platform: str
) -> None:
    creator, viewer, stranger = _user("creator"), _user("viewer"), _user("stranger")
    stream = _new_stream(host, creator, "Deployed")
    outputs = stack.outputs
    signal = outputs.signal_urls[0].replace("ws", "http", 1)
    async with api.LiveKitAPI(
        signal, outputs.livekit_api_key, outputs.livekit_api_secret.get_secret_value()
    ) as livekit:

        async def rooms() -> set[str]:
            found = await livekit.room.list_rooms(api.ListRoomsRequest())
            return {room.name for room in found.rooms if room.name.startswith(f"stream_{stream}_")}

        live = host.as_user(creator, "POST", f"/streams/{stream}/go-live")
        try:
            assert live["status"] == "live"
            assert await rooms() == {live["room_name"]}
            with pytest.raises(httpx.HTTPStatusError) as refused:
                host.as_user(stranger, "POST", f"/streams/{stream}/video-token")
            assert refused.value.response.status_code == 404
            host.as_service(
                "POST", "/access-grants", {"user_id": viewer, "scope": "stream", "scope_id": stream}
            )
            admission = host.as_user(viewer, "POST", f"/streams/{stream}/video-token")
            assert admission["server_url"] == outputs.signal_url
            assert _status(signal, admission["participant_token"]) == 200
            assert _status(signal, f"{admission['participant_token']}x") == 401
        finally:
            ended = host.as_user(creator, "POST", f"/streams/{stream}/end")
        assert ended["status"] == "ended"
        assert await rooms() == set()
    with pytest.raises(httpx.HTTPStatusError) as late:
        host.as_user(viewer, "POST", f"/streams/{stream}/video-token")
    assert late.value.response.status_code == 409


def test_data_outlives_the_pod(
    host: HostApplication, kubectl: Kubectl, platform: str, disruptive: None
) -> None:
    owner = _user("creator")
    stream = _new_stream(host, owner, "Kept")
    before = host.as_user(owner, "GET", f"/streams/{stream}")

    def uid() -> str:
        words = ("get", "pod", _POD, "-n", platform, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}")
        return kubectl(*words).stdout

    first = uid()
    assert first
    # Killed, not asked: what was answered is on the disk.
    kubectl("-n", platform, "delete", "pod", _POD, "--grace-period=0", "--force", "--wait=false")
    wait_until(lambda: uid() not in ("", first), timeout=90, describe=f"another pod {_POD}", interval=1)
    kubectl("-n", platform, "wait", "--for=condition=Ready", f"pod/{_POD}", "--timeout=90s", timeout=100)
    after = wait_until(
        lambda: host.as_user(owner, "GET", f"/streams/{stream}"),
        timeout=30,
        describe="the stream through the edge",
        tolerate=(httpx.HTTPError,),
    )
    assert after == before


def test_webhooks_of_livekit_are_not_taken_from_outside(
    stack: RunningStack, host: HostApplication, kubectl: Kubectl
) -> None:
    """token-api itself would say 401 to this."""
    answer = host.client.post(f"{stack.outputs.api_url}/v1/webhooks/livekit", content=b"{}")
    assert answer.status_code == 404


def test_webhooks_of_ours_reach_no_pod(kubectl: Kubectl, platform: str, scratch: str, embedded: str) -> None:
    """At the very port at which they may go to public addresses."""
    listen = "while true; do nc -l -p 443 </dev/null; done"
    kubectl.create_pod(scratch, "inside", script=f"{listen} & trap exit TERM; wait")
    kubectl.create_pod(scratch, "anybody")
    kubectl.wait_for_pods(scratch, "inside", "anybody")
    address = kubectl.pod_ip(scratch, "inside")
    wait_until(
        lambda: kubectl.connects(scratch, "anybody", address, 443),
        timeout=20,
        describe=f"a connection to {address}:443 by a pod that no policy binds",
    )
    command = ["python3", "-c", _CONNECT, address, "443"]
    reached = kubectl("-n", platform, "exec", _POD, "--", *command, check=False)
    assert not reached.ok, "token-api reached a pod of another namespace at 443"
    assert "TimeoutError" in reached.stderr or "timed out" in reached.stderr or "refused" in reached.stderr
