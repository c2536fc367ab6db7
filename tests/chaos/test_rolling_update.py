"""A change of configuration restarts the SFUs one after another: who is in a room elsewhere does not notice.

It changes the deployed stack, by the command that a user has for it, and sets it back.
"""

from __future__ import annotations

import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.waiting import wait_until
from loadtest.client.samples import now_ms
from loadtest.net.bridge import ClientNetwork
from loadtest.targets.outputs import StackOutputs, endpoint_of
from loadtest.targets.sfu_metrics import read_counters
from tests.chaos.held_call import FREEZE_MS, held_call, longest_standstill_ms
from tests.deployment.kubectl import Kubectl
from tests.running import CHECKOUT, local

# A restart takes a drain that nobody is waited for, a start, and two looks of the readiness probe.
_ROLL_SECONDS = 240.0
_LABEL = "app.kubernetes.io/name=livekit-server"


def _sfus(kubectl: Kubectl, namespace: str) -> dict[IPv4Address, dict[str, Any]]:
    """Each node's newest SFU pod, by the node's address."""
    pods = kubectl.get("pods", "-n", namespace, "-l", _LABEL, "--sort-by=.metadata.creationTimestamp")
    return {IPv4Address(pod["status"]["hostIP"]): pod for pod in pods if pod["status"].get("hostIP")}


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


@pytest.mark.long
def test_a_room_on_the_other_node_keeps_playing_while_an_sfu_is_replaced(
    outputs: StackOutputs,
    client_network: ClientNetwork,
    kubectl: Kubectl,
    disruptive: None,
    tmp_path: Path,
) -> None:
    nodes = [endpoint_of(url).address for url in outputs.signal_urls]
    before = {node: read_counters(node) for node in nodes}
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(yaml.safe_dump({"config": {"livekit-platform:livekit": {"log_level": "debug"}}}))
    try:
        with held_call(outputs, client_network, outputs.signal_urls[:1], tmp_path) as watching:
            room_node = max(nodes, key=lambda node: (read_counters(node) - before[node]).media_sessions)
            pods = _sfus(kubectl, outputs.namespace)
            old = {node: pod["metadata"]["uid"] for node, pod in pods.items()}
            # Kubernetes takes the cheapest first: the room's SFU is to be the last.
            name = pods[room_node]["metadata"]["name"]
            cost = "controller.kubernetes.io/pod-deletion-cost=1000"
            kubectl("-n", outputs.namespace, "annotate", "pod", name, cost, "--overwrite")
            started_ms = now_ms()
            with subprocess.Popen(
                ["env", f"LKP_OVERLAY={overlay}", sys.executable, "-m", "local", "up"],
                cwd=CHECKOUT,
                stdout=subprocess.DEVNULL,
                stderr=(tmp_path / "up.log").open("w"),
            ) as up:
                try:

                    def the_others_are_new() -> bool:
                        now = _sfus(kubectl, outputs.namespace)
                        others = [node for node in nodes if node != room_node]
                        return all(
                            now[node]["metadata"]["uid"] != old[node] and _is_ready(now[node])
                            for node in others
                        )

                    wait_until(
                        the_others_are_new,
                        timeout=_ROLL_SECONDS,
                        describe=f"the SFUs beside {room_node} to be replaced (log: {tmp_path}/up.log)",
                    )
                    replaced_ms = now_ms()
                    watching.finish()
                finally:
                    up.wait(timeout=_ROLL_SECONDS)
            assert up.returncode == 0, (tmp_path / "up.log").read_text()[-3000:]
    finally:
        local("up", timeout=_ROLL_SECONDS + 120)

    still = longest_standstill_ms(watching.recording, started_ms, replaced_ms)
    assert still < FREEZE_MS, f"the picture stood still for {still:.0f} ms while an SFU was replaced"
    now = _sfus(kubectl, outputs.namespace)
    assert all(_is_ready(pod) for pod in now.values())
