"""A second complete stack on the running stack's cluster, deployed as a user with a given cluster deploys it.

Tests may change and break this stack without any effect on the stack that all other tests share. The two
stacks use different namespaces and different node ports. `make images-push` pushes our images to a registry
on each node, from which this stack pulls them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from common.commands import run
from loadtest.net.bridge import ClientNetwork
from loadtest.targets.outputs import StackOutputs
from tests.running import CHECKOUT
from tests.support.speed import scaled

NAMESPACE = "given"
DOMAIN = "given.localhost"
METRICS_PORT = 16789
# The shortest that there is: a test waits until credentials have expired.
TURN_TTL_SECONDS = 60
_PORTS: dict[str, Any] = {
    "signal": 17880,
    "ice_tcp": 17881,
    "media_udp": 17882,
    "turn_udp": 13478,
    "turn_tcp": 13478,
    "turn_tls": 15349,
    "turn_metrics": 19641,
    "turn_reports": 19642,
    "livekit_metrics": METRICS_PORT,
    "edge_https": 19443,
    "edge_http": 19080,
}
# Longer than Pulumi waits for an object (10 min): a killed `up` would leave its engine behind.
_UP_SECONDS = 900.0
_DOWN_SECONDS = 600.0


@dataclass(frozen=True)
class SecondStack:
    """The stack, and the files with which its user configures it.

    Attributes:
        environment: variables that choose the instance, its cluster and its configuration.
        overlay: the file with its configuration; `configure` writes it.
        state: the instance's directory.
        base: the configuration that every variant of the stack has.
    """

    environment: Mapping[str, str]
    overlay: Path
    state: Path
    base: Mapping[str, Any]

    def make(self, *words: str, timeout: float) -> str:
        """Run `make`. If it fails, the exception contains its output."""
        return run(["make", "-s", *words], cwd=CHECKOUT, env=self.environment, timeout=timeout).stdout

    def configure(self, **changes: Any) -> None:
        """Write the configuration of the next `up`: the base and `changes`."""
        config = {f"livekit-platform:{key}": value for key, value in {**self.base, **changes}.items()}
        self.overlay.write_text(yaml.safe_dump({"config": config}))

    def up(self, **changes: Any) -> None:
        """`make up` with the base configuration and `changes`."""
        self.configure(**changes)
        self.make("up", timeout=scaled(_UP_SECONDS))

    def outputs(self) -> StackOutputs:
        return StackOutputs.model_validate_json(self.make("outputs", "SECRETS=1", timeout=scaled(120)))


def client_network(outputs: StackOutputs, running: StackOutputs) -> ClientNetwork:
    """The network of the cluster's clients, with the second stack's names and certificate authority.

    Args:
        outputs: the second stack's.
        running: the outputs of the stack that made the cluster; only these contain the bridge.
    """
    network = outputs.model_copy(update={"client_network": running.client_network}).network_of_clients
    assert network is not None
    return network


@contextmanager
def second_stack(
    running: StackOutputs, nodes: list[dict[str, str]], images: Mapping[str, str], directory: Path
) -> Iterator[SecondStack]:
    """The second stack while the block runs.

    Args:
        nodes: the cluster's nodes, as the configuration names them.
        images: the configuration's section of that name.
    """
    state = running.kubeconfig_path.parent
    # The name is the same in every session of this checkout, so a session repairs what a killed one left.
    instance = f"g{state.name[:5]}"
    overlay = directory / "overlay.yaml"
    stack = SecondStack(
        {
            "LKP_INSTANCE": instance,
            "LKP_KUBECONFIG": str(running.kubeconfig_path),
            "LKP_OVERLAY": str(overlay),
        },
        overlay,
        state.parent / instance,
        {
            "namespace": NAMESPACE,
            "domain": DOMAIN,
            "nodes": nodes,
            "images": dict(images),
            "ports": _PORTS,
            "turn": {"ttl_seconds": TURN_TTL_SECONDS},
        },
    )
    try:
        stack.up()
        yield stack
    finally:
        stack.make("down", timeout=scaled(_DOWN_SECONDS))
    assert not stack.state.exists()
