"""coturn on the running stack: whom it lets in, and where it relays to."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from common.waiting import wait_until
from loadtest.targets.outputs import endpoint_of, host_of
from tests.deployment.kubectl import Kubectl
from tests.deployment.turn_client import (
    Credentials,
    Refused,
    Server,
    allocate,
    ask_for_tcp_relay,
    credentials,
    until,
)
from tests.deployment.turn_servers import Turn, find, pods_of, relays_reach, run_echo
from tests.running import RunningStack
from tests.support.speed import scaled


@pytest.fixture
def turn(stack: RunningStack, kubectl: Kubectl) -> Turn:
    return find(stack, kubectl)


def test_one_server_runs_on_each_of_its_nodes(turn: Turn) -> None:
    addresses = [pod.address for pod in turn.pods]
    assert len(set(addresses)) == len(addresses)


async def test_every_way_that_clients_are_told_gives_a_relay_to_every_sfu(
    stack: RunningStack, turn: Turn
) -> None:
    assert {urlsplit(url).scheme for url in stack.outputs.turn_urls} == {"turn", "turns"}
    for url in stack.outputs.turn_urls:
        endpoint = endpoint_of(url, stack.outputs.address_of)
        tls = url.startswith("turns:")
        server = Server(
            str(endpoint.address), endpoint.port, "tls" if tls else endpoint.protocol, host_of(url)
        )
        async with allocate(server, credentials(turn.secret), turn.trust) as allocation:
            assert allocation.relayed[0] in {pod.relays_at for pod in turn.pods}, url
            for sfu in turn.sfus:
                await allocation.permit(sfu)


async def test_each_server_takes_tls_at_its_port_for_tcp(turn: Turn) -> None:
    for pod in turn.pods:
        async with allocate(pod.tls(turn.name), credentials(turn.secret), turn.trust) as allocation:
            assert allocation.relayed[0] == pod.relays_at


def test_the_port_that_the_edge_leads_to_is_not_on_the_nodes(
    turn: Turn, kubectl: Kubectl, platform: str
) -> None:
    """Connections there come from the edge, which counts them by client: nobody else may make any."""
    (port,) = {
        port["containerPort"]
        for pod in pods_of(kubectl, platform)
        for port in pod["spec"]["containers"][0]["ports"]
        if port["name"] == "turn-tls"
    }
    for pod in turn.pods:
        with socket.socket() as connection:
            connection.settimeout(2)
            assert connection.connect_ex((pod.address, port)) != 0, f"{pod.address}:{port} answers"


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


# VXLAN's: what arrives there is taken for a packet of the pod network.
_TUNNEL_PORT = 8472


async def test_a_relay_reaches_no_port_of_an_sfus_node_but_media(
    turn: Turn, kubectl: Kubectl, platform: str, scratch: str
) -> None:
    sfu = turn.sfus[0]
    echo = (sfu, _TUNNEL_PORT)
    run_echo(kubectl, scratch, "echo", sfu, _TUNNEL_PORT)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as direct:
        direct.settimeout(1)
        wait_until(
            lambda: _is_echoed(direct, echo), timeout=scaled(30), describe=f"an echo of {echo}", interval=0.2
        )
    async with AsyncExitStack() as held:
        allocations = [
            await held.enter_async_context(allocate(pod.udp, credentials(turn.secret))) for pod in turn.pods
        ]
        for allocation in allocations:
            for _ in range(3):
                assert not await allocation.is_answered(echo), f"{allocation.relayed} reached {echo}"
        # By another policy they do: nothing but the platform's own kept them from there.
        with relays_reach(kubectl, platform, [sfu], _TUNNEL_PORT):
            for allocation in allocations:
                await until(lambda: allocation.is_answered(echo), seconds=scaled(20))  # noqa: B023


def _is_echoed(direct: socket.socket, echo: tuple[str, int]) -> bool:
    direct.sendto(b"direct", echo)
    try:
        return direct.recv(100) == b"direct"
    except TimeoutError:
        return False
