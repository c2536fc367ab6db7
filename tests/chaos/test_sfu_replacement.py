"""An SFU's pod is replaced while a room on another SFU is in a call: its participants see no interruption.

A room's clients signal through the edge, which may send them to any SFU. That SFU relays their signalling to
the room's SFU. So a replaced SFU may carry the signalling of a room on another SFU. test_second_stack.py
replaces SFUs with `make up`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.client.samples import now_ms
from loadtest.net.bridge import ClientNetwork
from loadtest.targets.outputs import StackOutputs
from tests.chaos.placed_call import placed_call, wait_for_replacement
from tests.chaos.sfu_routing import sfu_addresses, sfu_pods
from tests.deployment.kubectl import Kubectl

# Covers the stop of an SFU without participants, the start of a new one, and two readiness probes.
_REPLACE_SECONDS = 90.0
# If clients or servers lose something only later, they do so within this time.
_AFTERWARDS_SECONDS = 5.0


@pytest.mark.parametrize(
    "carries_signalling",
    [
        pytest.param(True, id="carries-signalling"),
        pytest.param(False, id="carries-neither", marks=pytest.mark.long),
    ],
)
@pytest.mark.usefixtures("disruptive")
def test_a_call_goes_on_while_an_sfu_without_its_room_is_replaced(
    outputs: StackOutputs,
    client_network: ClientNetwork,
    kubectl: Kubectl,
    tmp_path: Path,
    carries_signalling: bool,
) -> None:
    room_node, replaced_node = sfu_addresses(outputs)[:2]
    signal_node = replaced_node if carries_signalling else room_node
    with placed_call(
        outputs, client_network, kubectl, tmp_path, room_node=room_node, signal_node=signal_node
    ) as placed:
        old = sfu_pods(kubectl, outputs.namespace)[replaced_node]
        since_ms = now_ms()
        kubectl("-n", outputs.namespace, "delete", "pod", old.name, "--wait=false")
        wait_for_replacement(kubectl, outputs.namespace, replaced_node, old.uid, timeout=_REPLACE_SECONDS)
        if carries_signalling:
            placed.wait_for_resumption()
        placed.call.run_for(_AFTERWARDS_SECONDS)
        until_ms = now_ms()
        placed.assert_nobody_rejoined()
        placed.call.finish()
        if not carries_signalling:
            placed.assert_no_reconnection()
        placed.assert_no_standstill(since_ms, until_ms)
