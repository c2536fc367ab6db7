"""Rules over the TURN servers. `config_rules` says which sections each reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from livekit_platform.config import Edge, Node, Ports, Turn
from livekit_platform.config.section import bytes_of
from livekit_platform.mistakes import Mistake, only_with
from livekit_platform.ports import EPHEMERAL, NODE_PORTS, PortRange
from livekit_platform.turn_allocations import (
    ALLOCATION_BYTES,
    ALLOCATIONS_OF_A_JOIN,
    MEMORY_BYTES,
    most_of_one_address,
)

# The embedded server takes relay ports from the node. Outside the NodePorts and the ephemeral ports there is
# no wide gap, so nodes must keep the kernel out of a part of the ephemeral ones.
RESERVED_ON_NODES = PortRange(40000, 49999)
# One address may hold this part of a server's relays, and no more.
_SHARE_OF_ONE_ADDRESS = 4


def turn_reaches_media_only(environment: str, turn: Turn) -> Iterator[Mistake]:
    # Its relays are on the nodes' network, where no policy keeps them from other UDP ports, such as those of
    # the pod network's tunnels.
    if turn.kind == "embedded" and environment != "local":
        yield Mistake(
            "turn.kind",
            '"embedded"',
            f"coturn in environment {environment}: relays of the embedded server reach every UDP port of the "
            "SFUs' nodes, those of the pod network's tunnels included",
        )


def turn_is_used(turn: Turn) -> Iterator[Mistake]:
    yield from only_with("turn.replicas", turn.replicas, turn.kind, "coturn")


def turn_ports_fit(turn: Turn, ports: Ports) -> Iterator[Mistake]:
    # coturn has one port for both.
    if turn.kind == "coturn" and ports.turn_tcp != ports.turn_udp:
        yield Mistake(
            "ports.turn_tcp",
            str(ports.turn_tcp),
            f"the port of `ports.turn_udp` ({ports.turn_udp}): coturn serves TCP and UDP on the same one",
        )
    relays = ports.turn_relay.ports
    if turn.kind == "embedded" and not relays.within(RESERVED_ON_NODES):
        yield Mistake(
            "ports.turn_relay",
            f"{relays}/UDP",
            f"ports within {RESERVED_ON_NODES} with `turn.kind` `embedded`, which nodes reserve by "
            f"ip_local_reserved_ports; elsewhere NodePorts ({NODE_PORTS}) or outgoing connections "
            f"({EPHEMERAL}) take them",
        )


def relays_suffice(nodes: Sequence[Node], turn: Turn, edge: Edge, ports: Ports) -> Iterator[Mistake]:
    """Each server has relays for all expected participants, and one address cannot take most of them."""
    relays = len(ports.turn_relay.ports)
    if not relays:
        return
    given = f"{ports.turn_relay.ports}, {relays} relays"
    # A client allocates at every server that it is told, so more servers do not help.
    needed = ALLOCATIONS_OF_A_JOIN * turn.expected_participants
    if relays < needed:
        yield Mistake(
            "ports.turn_relay",
            given,
            f"at least {needed} ports: each of `turn.expected_participants` ({turn.expected_participants}) "
            f"may hold {ALLOCATIONS_OF_A_JOIN} relays at each server",
        )
    if turn.kind != "coturn":
        return
    memory = MEMORY_BYTES + relays * ALLOCATION_BYTES
    if bytes_of(turn.resources.memory_limit) < memory:
        yield Mistake(
            "turn.resources.memory_limit",
            f'"{turn.resources.memory_limit}"',
            f"at least {-(-memory // 2**20)}Mi: coturn needs {ALLOCATION_BYTES // 1024} KiB for each of "
            f"{relays} relays",
        )
    servers, edges = turn.servers(len(nodes)), edge.servers(len(nodes))
    held = most_of_one_address(turn.allocations_per_address, servers, edges)
    if relays < _SHARE_OF_ONE_ADDRESS * held:
        yield Mistake(
            "ports.turn_relay",
            given,
            f"at least {_SHARE_OF_ONE_ADDRESS * held} ports, or fewer `turn.allocations_per_address` "
            f"({turn.allocations_per_address}): one client address may hold up to {held} relays at a server, "
            f"and must leave {_SHARE_OF_ONE_ADDRESS - 1} of {_SHARE_OF_ONE_ADDRESS} to others",
        )
