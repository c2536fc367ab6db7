"""Lets a test choose the SFU of a room and the SFU of its signalling, and reads both back from the SFUs.

Users cannot choose them: LiveKit places a room on any node, and the edge sends each client to any SFU. So
without this module a test would see a given combination only by chance.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, TypeVar

import httpx
from livekit import api

from loadtest.targets.outputs import StackOutputs, endpoint_of
from tests.deployment.edge_instance import ask_haproxy
from tests.deployment.kubectl import Kubectl
from tests.e2e.call import room_name

_SFU = "app.kubernetes.io/name=livekit-server"
_EDGE = "app.kubernetes.io/name=edge"
_BACKEND = "sfu"
_T = TypeVar("_T")


@dataclass(frozen=True)
class SfuPod:
    """The newest SFU pod of a node."""

    name: str
    uid: str
    ready: bool
    restarts: int


def sfu_addresses(outputs: StackOutputs) -> list[IPv4Address]:
    """The addresses of the nodes that have an SFU."""
    return [endpoint_of(url).address for url in outputs.signal_urls]


def sfu_pods(kubectl: Kubectl, namespace: str) -> dict[IPv4Address, SfuPod]:
    """Each node's newest SFU pod, by the node's address."""
    pods = kubectl.get("pods", "-n", namespace, "-l", _SFU, "--sort-by=.metadata.creationTimestamp")
    return {
        IPv4Address(pod["status"]["hostIP"]): _sfu_pod(pod) for pod in pods if pod["status"].get("hostIP")
    }


def _sfu_pod(pod: dict[str, Any]) -> SfuPod:
    metadata, status = pod["metadata"], pod["status"]
    conditions = {condition["type"]: condition["status"] for condition in status.get("conditions", [])}
    return SfuPod(
        name=metadata["name"],
        uid=metadata["uid"],
        ready=conditions.get("Ready") == "True" and "deletionTimestamp" not in metadata,
        restarts=sum(container["restartCount"] for container in status.get("containerStatuses", [])),
    )


def sfu_restarts(kubectl: Kubectl, namespace: str) -> dict[str, int]:
    """How often each SFU pod's container was restarted, by the pod's uid."""
    return {pod.uid: pod.restarts for pod in sfu_pods(kubectl, namespace).values()}


def room_on(outputs: StackOutputs, node: IPv4Address, metrics_port: int) -> str:
    """Create a room on the SFU of `node`; returns its name."""
    metrics = httpx.get(f"http://{node}:{metrics_port}/metrics", timeout=5).raise_for_status().text
    [node_id] = set(re.findall(r'node_id="(\w+)"', metrics))
    name = room_name()

    async def create() -> None:
        async with _server_api(outputs) as server:
            await server.room.create_room(api.CreateRoomRequest(name=name, node_id=node_id))

    _done(create())
    return name


def participant_ids(outputs: StackOutputs, room: str) -> dict[str, str]:
    """LiveKit's id of each participant, by identity. Resuming keeps it; joining again does not."""

    async def ask() -> dict[str, str]:
        async with _server_api(outputs) as server:
            found = await server.room.list_participants(api.ListParticipantsRequest(room=room))
        return {participant.identity: participant.sid for participant in found.participants}

    return _done(ask())


def let_publish(outputs: StackOutputs, room: str, identity: str) -> None:
    """Give a viewer the right to publish."""

    async def ask() -> None:
        permission = api.ParticipantPermission(can_subscribe=True, can_publish=True)
        request = api.UpdateParticipantRequest(room=room, identity=identity, permission=permission)
        async with _server_api(outputs) as server:
            await server.room.update_participant(request)

    _done(ask())


def _done(work: Coroutine[Any, Any, _T]) -> _T:
    """What `work` returns. In a thread of its own: Playwright runs a loop in the test's."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def _server_api(outputs: StackOutputs) -> api.LiveKitAPI:
    secret = outputs.livekit_api_secret.get_secret_value()
    # The client's failover is meant for LiveKit Cloud's regions.
    return api.LiveKitAPI(outputs.signal_urls[0], outputs.livekit_api_key, secret, failover=False)


@contextmanager
def signalling_through(kubectl: Kubectl, namespace: str, node: IPv4Address) -> Iterator[None]:
    """While the block runs, every edge sends new clients to the SFU of `node` only.

    Existing connections keep their SFU, during the block and after it.
    """
    others: list[tuple[str, str]] = []
    for pod in kubectl.get("pods", "-n", namespace, "-l", _EDGE):
        edge = pod["metadata"]["name"]
        servers = _servers(kubectl, namespace, edge)
        assert node in servers.values(), f"edge {edge} does not know the SFU of {node}: {servers}"
        others += [(edge, name) for name, address in servers.items() if address != node]
    try:
        for edge, server in others:
            _set_state(kubectl, namespace, edge, server, "drain")
        yield
    finally:
        for edge, server in others:
            _set_state(kubectl, namespace, edge, server, "ready")


def _servers(kubectl: Kubectl, namespace: str, edge: str) -> dict[str, IPv4Address]:
    """The SFUs that an edge knows: HAProxy's name of each, and its address."""
    answer = _haproxy(kubectl, namespace, edge, f"show servers state {_BACKEND}")
    # Backend id and name, server id and name, address, ...
    rows = [line.split() for line in answer.splitlines() if re.match(rf"\d+ {_BACKEND} ", line)]
    return {row[3]: IPv4Address(row[4]) for row in rows if row[4] != "-"}


def _set_state(kubectl: Kubectl, namespace: str, edge: str, server: str, state: str) -> None:
    answer = _haproxy(kubectl, namespace, edge, f"set server {_BACKEND}/{server} state {state}")
    assert not answer.strip(), f"HAProxy of {edge} did not set {server} to {state}: {answer}"


def _haproxy(kubectl: Kubectl, namespace: str, edge: str, command: str) -> str:
    """The answer of an edge's HAProxy to one command of its runtime API."""
    return ask_haproxy(kubectl, namespace, edge, f"@1 {command};quit")
