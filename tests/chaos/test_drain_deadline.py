"""An SFU's drain deadline passes during a call. Both clients join another SFU with the tokens that they have.

LiveKit removes the rooms of an SFU that stops, and no join makes a room. token-api makes them again: those of
streams and those of POST /v1/token.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error
from pydantic import SecretStr

from common.waiting import NeverHappened, wait_until
from loadtest.client.process import ClientDied, ClientProcess, client_process
from loadtest.client.protocol import ClientConfig, Joined
from loadtest.net.bridge import ClientNetwork
from loadtest.net.namespace import ClientNamespace, client_namespace
from loadtest.targets.outputs import StackOutputs
from loadtest.targets.resolving import edge_client
from loadtest.targets.sfu_metrics import METRICS_PORT, read_counters
from loadtest.targets.tokens import Admission, request_admission
from tests.chaos.sfu_routing import sfu_addresses, sfu_pods
from tests.deployment.host_application import host_application
from tests.deployment.kubectl import Kubectl
from tests.e2e.call import MARKED_MEDIA, room_name
from tests.e2e.chromium import chromium
from tests.e2e.page import call_page
from tests.running import RunningStack
from tests.support.speed import scaled

_JOIN_SECONDS = 40.0
# How long they try to join again.
_REJOIN_SECONDS = 20.0
_MEDIA_SECONDS = 20.0
# Of the stack `local`, and the stop of the SFU after it.
_DRAIN_SECONDS = 30.0
_STOP_SECONDS = 30.0
_PICTURES = 10


@dataclass(frozen=True)
class Pair:
    """The participants of a call: a page, which sends, and a client of the SDK, which sends if it may."""

    page: Admission
    peer: Admission
    peer_sends: bool


@pytest.mark.parametrize("kind", ["call", pytest.param("stream", marks=pytest.mark.long)])
@pytest.mark.usefixtures("disruptive")
def test_after_an_sfus_drain_deadline_both_join_another_with_the_tokens_they_have(
    stack: RunningStack, client_network: ClientNetwork, kubectl: Kubectl, tmp_path: Path, kind: str
) -> None:
    outputs = stack.outputs
    before = _media_sessions(outputs)
    with (
        _pair(kind, stack, kubectl) as pair,
        client_namespace(client_network) as page_at,
        client_namespace(client_network) as peer_at,
        chromium(tmp_path / "home", trusting=outputs.ca_certificate, namespace=page_at) as browser,
    ):
        with _talking(outputs, browser, peer_at, pair, tmp_path) as peer:
            [room_node] = [node for node, count in _media_sessions(outputs).items() if count > before[node]]
            old = sfu_pods(kubectl, outputs.namespace)[room_node]
            kubectl("-n", outputs.namespace, "delete", "pod", old.name, "--wait=false")
            wait_until(
                peer.death,
                timeout=scaled(_DRAIN_SECONDS + _STOP_SECONDS),
                describe="the SFU to tell its clients that it stops",
            )

        def meet() -> bool:
            with _talking(outputs, browser, peer_at, pair, tmp_path):
                return True

        # As users do, they try again.
        wait_until(
            meet,
            timeout=scaled(_REJOIN_SECONDS),
            describe="both to join another SFU",
            tolerate=(Error, ClientDied, NeverHappened),
        )


@contextmanager
def _pair(kind: str, stack: RunningStack, kubectl: Kubectl) -> Iterator[Pair]:
    """Two participants with tokens for a room of POST /v1/token (`call`) or of a stream."""
    outputs = stack.outputs
    if kind == "call":
        room = room_name()
        page, peer = (
            request_admission(outputs, room=room, identity=identity, role="publisher")
            for identity in ("page", "peer")
        )
        yield Pair(page, peer, peer_sends=True)
        return
    with edge_client(outputs) as client:
        host = host_application(client, stack, kubectl, "statefulset/token-api")
        creator, viewer = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("creator", "viewer"))
        wanted = {"title": "Drained", "space_id": f"space-{creator}", "owner_id": creator}
        stream = host.as_service("POST", "/streams", wanted)["id"]
        host.as_service("POST", "/access-grants", {"user_id": viewer, "scope": "stream", "scope_id": stream})
        host.as_service("POST", f"/streams/{stream}/go-live")
        try:
            tokens = [
                host.as_user(user, "POST", f"/streams/{stream}/video-token") for user in (creator, viewer)
            ]
            page, peer = (Admission(one["server_url"], SecretStr(one["participant_token"])) for one in tokens)
            yield Pair(page, peer, peer_sends=False)
        finally:
            host.as_service("POST", f"/streams/{stream}/end")


@contextmanager
def _talking(
    outputs: StackOutputs, browser: Browser, peer_at: ClientNamespace, pair: Pair, logs: Path
) -> Iterator[ClientProcess]:
    """The client of the SDK, while both are in the room and receive what the other sends.

    Raises:
        Error, ClientDied, NeverHappened: one of them could not join, or received nothing.
    """
    config = ClientConfig(
        url=pair.peer.url,
        token=pair.peer.token,
        publish=MARKED_MEDIA if pair.peer_sends else None,
        subscribe=True,
        join_timeout=_JOIN_SECONDS,
    )
    with (
        client_process("peer", config, namespace=peer_at, log=logs / "peer.log") as peer,
        call_page(browser, f"https://{outputs.domain}", log=logs / "page.log") as page,
    ):
        peer.wait_for(Joined, timeout=scaled(_JOIN_SECONDS))
        page.join(pair.page, "all")
        wait_until(
            lambda: _pictures_of_the_page(peer) >= _PICTURES,
            timeout=scaled(_MEDIA_SECONDS),
            describe="the client of the SDK to see the page",
        )
        if pair.peer_sends:
            page.wait_for_frames(_PICTURES, timeout=scaled(_MEDIA_SECONDS))
        yield peer


def _media_sessions(outputs: StackOutputs) -> dict[IPv4Address, int]:
    return {node: read_counters(node, METRICS_PORT).media_sessions for node in sfu_addresses(outputs)}


def _pictures_of_the_page(peer: ClientProcess) -> int:
    # The fake camera's pictures have no marker.
    return sum(video.unreadable for second in peer.recording.measured for video in second.video)
