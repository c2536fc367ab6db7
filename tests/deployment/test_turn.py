"""coturn on the running stack: whom it lets in, and where it relays to."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from loadtest.targets.outputs import endpoint_of, host_of
from tests.deployment.kubectl import Kubectl
from tests.deployment.turn_client import (
    Credentials,
    Refused,
    Server,
    allocate,
    ask_for_tcp_relay,
    credentials,
)
from tests.deployment.turn_servers import Turn, find
from tests.running import RunningStack


@pytest.fixture
def turn(stack: RunningStack, kubectl: Kubectl) -> Turn:
    return find(stack, kubectl)


def test_one_server_runs_on_each_of_its_nodes(turn: Turn) -> None:
    addresses = [pod.address for pod in turn.pods]
    assert len(set(addresses)) == len(addresses)


async def test_every_way_that_clients_are_told_relays_to_every_sfu(stack: RunningStack, turn: Turn) -> None:
    """A STUN server at the SFU's address sees the relayed address: the way is open in both directions."""
    assert {urlsplit(url).scheme for url in stack.outputs.turn_urls} == {"turn", "turns"}
    asked = {pod.address: pod.turn for pod in turn.pods if pod.address in turn.sfus}
    assert asked
    for url in stack.outputs.turn_urls:
        endpoint = endpoint_of(url, stack.outputs.address_of)
        tls = url.startswith("turns:")
        server = Server(
            str(endpoint.address), endpoint.port, "tls" if tls else endpoint.protocol, host_of(url)
        )
        async with allocate(server, credentials(turn.secret), turn.trust) as allocation:
            for peer in asked.items():
                assert await allocation.seen_by(peer) == allocation.relayed, url
            for sfu in turn.sfus:
                await allocation.permit(sfu)


async def test_tls_relays_on_each_servers_own_port(turn: Turn) -> None:
    for pod in turn.pods:
        server = Server(pod.address, pod.tls, "tls", turn.name)
        async with allocate(server, credentials(turn.secret), turn.trust) as allocation:
            assert allocation.relayed[0] == pod.address


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("wrong", ["secret", "expired", "password", "none"])
async def test_wrong_credentials_are_refused(turn: Turn, transport: Any, wrong: str) -> None:
    good = credentials(turn.secret)
    given = {
        "secret": credentials(turn.secret[::-1]),
        "expired": credentials(turn.secret, seconds=-1),
        "password": Credentials(good.username, "wrong"),
        "none": Credentials(None, None),
    }[wrong]
    for pod in turn.pods:
        with pytest.raises(Refused) as refused:
            async with allocate(Server(pod.address, pod.turn, transport), given):
                pass
        assert refused.value.code == 401


def _internal(kubectl: Kubectl) -> dict[str, str]:
    """Addresses of the cluster that no client of ours has any business with."""
    (dns, *_) = kubectl.get("pods", "-n", "kube-system", "-l", "k8s-app=kube-dns")
    services = {
        name: kubectl("-n", namespace, "get", "service", name, "-o", "jsonpath={.spec.clusterIP}").stdout
        for namespace, name in (("default", "kubernetes"), ("kube-system", "kube-dns"))
    }
    return {"a pod": dns["status"]["podIP"], **services}


_ELSEWHERE = {
    "metadata": "169.254.169.254",
    "loopback": "127.0.0.1",
    "unspecified": "0.0.0.0",
    "private 10": "10.0.0.1",
    "private 172.16": "172.16.0.1",
    "private 192.168": "192.168.0.1",
    "shared": "100.64.0.1",
    "public": "203.0.113.7",
    "multicast": "224.0.0.1",
    "broadcast": "255.255.255.255",
    "IPv6 loopback": "::1",
    "IPv6 local": "fd00::1",
    "IPv6 public": "2001:db8::1",
}


async def test_nothing_but_sfus_is_relayed_to(turn: Turn, kubectl: Kubectl) -> None:
    peers = {**_internal(kubectl), **_ELSEWHERE}
    mapped = {f"mapped {name}": f"::ffff:{peer}" for name, peer in peers.items() if ":" not in peer}
    for pod in turn.pods:
        async with allocate(pod.udp, credentials(turn.secret)) as allocation:
            # What follows must not be refused for any other reason.
            await allocation.permit(turn.sfus[0])
            for name, peer in {**peers, **mapped}.items():
                assert peer not in turn.sfus
                for ask in (allocation.permit, allocation.bind):
                    with pytest.raises(Refused) as refused:
                        await ask(peer)
                    # 443: no IPv6 peer for an IPv4 address, whatever it stands for.
                    allowed = {403, 443} if ":" in peer else {403}
                    assert refused.value.code in allowed, f"{name}: {peer}"


async def test_tcp_is_not_relayed(turn: Turn) -> None:
    """A client could talk to the API server and the kubelet of an SFU's node."""
    for pod in turn.pods:
        with pytest.raises(Refused) as refused:
            await ask_for_tcp_relay(Server(pod.address, pod.turn, "tcp"), credentials(turn.secret))
        assert refused.value.code in {403, 442}
