"""A call whose room is on a chosen SFU and whose clients signal through a chosen SFU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from common.waiting import wait_until
from loadtest.client.process import ClientProcess
from loadtest.client.protocol import Reconnected, Reconnecting
from loadtest.net.bridge import ClientNetwork
from loadtest.targets.outputs import StackOutputs
from loadtest.targets.sfu_metrics import METRICS_PORT, NodeCounters, read_counters
from tests.chaos.held_call import FREEZE_MS, HeldCall, held_call, longest_standstill_ms
from tests.chaos.sfu_routing import participant_ids, room_on, sfu_pods, signalling_through
from tests.deployment.kubectl import Kubectl
from tests.support.speed import scaled

# A client notices a closed connection at once; its first attempts to resume may still fail.
_RESUME_SECONDS = 30.0


@dataclass(frozen=True)
class PlacedCall:
    """A call, its room, and LiveKit's id of each participant's session at the beginning."""

    call: HeldCall
    outputs: StackOutputs
    room: str
    sessions: Mapping[str, str]

    @property
    def clients(self) -> tuple[ClientProcess, ClientProcess]:
        return self.call.publisher, self.call.subscriber

    def wait_for_resumption(self) -> None:
        """Wait until both clients have lost and resumed their signalling."""
        for client in self.clients:
            client.wait_for(Reconnecting, timeout=scaled(_RESUME_SECONDS))
            client.wait_for(Reconnected, timeout=scaled(_RESUME_SECONDS))

    def assert_nobody_rejoined(self) -> None:
        """Assert that both clients still have the sessions, media connections and tracks of the beginning."""
        now = participant_ids(self.outputs, self.room)
        assert now == self.sessions, f"a client joined again: {now} instead of {self.sessions}"

    def assert_no_reconnection(self) -> None:
        for client in self.clients:
            assert client.recording.reconnecting == (), f"the {client.name} lost its signalling"

    def assert_no_standstill(self, since_ms: float, until_ms: float) -> None:
        still = longest_standstill_ms(self.call.subscriber.recording, since_ms, until_ms)
        assert still < FREEZE_MS, f"video stood still for {still:.0f} ms while an SFU was replaced"


@contextmanager
def placed_call(
    outputs: StackOutputs,
    network: ClientNetwork,
    kubectl: Kubectl,
    logs: Path,
    *,
    room_node: IPv4Address,
    signal_node: IPv4Address,
    metrics_port: int = METRICS_PORT,
) -> Iterator[PlacedCall]:
    """A call while the block runs. Both clients enter through the edge, as users do.

    The SFUs' counters prove that the room and the signalling are where they should be.
    """

    def count(node: IPv4Address) -> NodeCounters:
        return read_counters(node, metrics_port)

    signals, media = count(signal_node).signal_connections, count(room_node).media_sessions
    with ExitStack() as running:
        with signalling_through(kubectl, outputs.namespace, signal_node):
            room = room_on(outputs, room_node, metrics_port)
            call = running.enter_context(held_call(outputs, network, [outputs.signal_url], logs, room=room))
        assert count(signal_node).signal_connections == signals + 2, "signalling takes another way"
        assert count(room_node).media_sessions == media + 2, "the room is on another SFU"
        sessions = participant_ids(outputs, room)
        assert sorted(sessions) == ["publisher", "subscriber"]
        yield PlacedCall(call, outputs, room, sessions)


def wait_for_replacement(
    kubectl: Kubectl, namespace: str, node: IPv4Address, old_uid: str, *, timeout: float
) -> None:
    """Wait until an SFU pod other than the old one is ready on `node`."""

    def is_replaced() -> bool:
        pod = sfu_pods(kubectl, namespace).get(node)
        return pod is not None and pod.uid != old_uid and pod.ready

    wait_until(is_replaced, timeout=scaled(timeout), describe=f"another SFU on {node} to be ready")
