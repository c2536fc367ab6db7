"""Two real clients talk through the deployed stack, once by each path that clients are offered.

Which path a call took is read from the clients' own WebRTC statistics, on both ends.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from common.waiting import wait_until
from loadtest.client.path import TransportPath
from loadtest.client.process import ClientDied, client_process
from loadtest.client.protocol import ClientConfig, Joined
from loadtest.net.bridge import ClientNetwork
from loadtest.net.firewall import Endpoint, OnlyTo, Protocol, UdpBlocked
from loadtest.net.namespace import client_namespace
from loadtest.targets.outputs import StackOutputs, endpoint_of
from loadtest.targets.sfu_metrics import NodeCounters, read_counters
from loadtest.targets.tokens import Admission, make_admission, request_admission
from tests.e2e.call import CallResult, Network, assert_media_arrived, hold_call, room_name

# The SFU adds up what its buffers counted only now and then.
_COUNTED_SECONDS = 20.0


def test_udp_with_tokens_of_the_token_api(
    outputs: StackOutputs,
    client_network: ClientNetwork,
    measured: Callable[[str, CallResult], None],
    tmp_path: Path,
) -> None:
    room = room_name()
    call = hold_call(
        client_network,
        publisher=request_admission(outputs, room=room, identity="publisher", role="publisher"),
        subscriber=request_admission(outputs, room=room, identity="subscriber", role="viewer"),
        through=Network(),
        logs=tmp_path,
    )
    measured("UDP", call)
    for path in _paths(call, _nodes(outputs)):
        assert path.local.type != "relay", f"{path}"
        assert (path.local.protocol, path.remote.protocol) == ("udp", "udp"), f"{path}"
    assert_media_arrived(call)


def test_ice_tcp_where_udp_is_blocked(
    outputs: StackOutputs,
    client_network: ClientNetwork,
    measured: Callable[[str, CallResult], None],
    tmp_path: Path,
) -> None:
    publisher, subscriber = _admissions(outputs, outputs.signal_url, outputs.signal_url)
    call = hold_call(
        client_network,
        publisher=publisher,
        subscriber=subscriber,
        # A relay by TCP would serve as well, and sometimes be the first to answer.
        through=Network(firewall=UdpBlocked(_turn_in_the_clear(outputs, "tcp"))),
        logs=tmp_path,
    )
    measured("ICE-TCP", call)
    for path in _paths(call, _nodes(outputs)):
        assert path.local.type != "relay", f"{path}"
        assert (path.local.protocol, path.remote.protocol) == ("tcp", "tcp"), f"{path}"
    assert_media_arrived(call)


def test_relay_only_by_turn_over_udp(
    outputs: StackOutputs,
    client_network: ClientNetwork,
    measured: Callable[[str, CallResult], None],
    tmp_path: Path,
) -> None:
    call = _relayed_call(outputs, client_network, "udp", logs=tmp_path)
    measured("TURN/UDP", call)
    assert_media_arrived(call)


def test_relay_only_by_turn_over_tcp(
    outputs: StackOutputs,
    client_network: ClientNetwork,
    measured: Callable[[str, CallResult], None],
    tmp_path: Path,
) -> None:
    call = _relayed_call(outputs, client_network, "tcp", logs=tmp_path)
    measured("TURN/TCP", call)
    assert_media_arrived(call)


def test_a_client_that_does_not_trust_the_stacks_ca_does_not_join(
    outputs: StackOutputs, client_network: ClientNetwork, tmp_path: Path
) -> None:
    assert outputs.signal_url.startswith("wss://"), "clients are told to signal in the clear"
    assert outputs.ca_certificate, "the local stack's certificate is from a CA of its own"
    distrustful = client_network.model_copy(update={"ca_certificate": ""})
    with (
        pytest.raises(ClientDied, match=r"(?i)certificate"),
        client_namespace(distrustful) as namespace,
        client_process(
            "distrustful",
            ClientConfig(
                url=outputs.signal_url,
                token=_admissions(outputs, outputs.signal_url, outputs.signal_url)[0].token,
            ),
            namespace=namespace,
            log=tmp_path / "distrustful.log",
        ) as client,
    ):
        client.wait_for(Joined, timeout=40)


def test_ends_that_enter_at_different_nodes(
    outputs: StackOutputs,
    client_network: ClientNetwork,
    measured: Callable[[str, CallResult], None],
    tmp_path: Path,
) -> None:
    nodes = _nodes(outputs)
    assert len(nodes) >= 2, f"needs two SFU nodes; the stack has {outputs.signal_urls}"
    before = {node: read_counters(node) for node in nodes}
    publisher, subscriber = _admissions(outputs, outputs.signal_urls[0], outputs.signal_urls[1])
    call = hold_call(
        client_network, publisher=publisher, subscriber=subscriber, through=Network(), logs=tmp_path
    )
    measured("two nodes", call)
    assert_media_arrived(call)

    [room_node] = {IPv4Address(path.remote.address) for path in _paths(call, nodes)}

    def counted() -> dict[IPv4Address, NodeCounters] | None:
        since = {node: read_counters(node) - before[node] for node in nodes}
        return since if since[room_node].packets_in >= call.publisher.frames_captured else None

    what = f"the room's node {room_node} to count the publisher's packets"
    since = wait_until(counted, timeout=_COUNTED_SECONDS, describe=what)
    assert since is not None
    for entry in nodes[:2]:
        assert since[entry].signal_connections >= 1, f"nobody's signalling came in at {entry}: {since}"
    assert since[room_node].media_sessions >= 2, f"the two ends' media did not meet at {room_node}: {since}"


def _relayed_call(
    outputs: StackOutputs, client_network: ClientNetwork, protocol: Protocol, *, logs: Path
) -> CallResult:
    """A call over TURN in the clear by this protocol; its paths are looked at here."""
    signalling = endpoint_of(outputs.signal_url, outputs.address_of)
    turn = _turn_in_the_clear(outputs, protocol)
    publisher, subscriber = _admissions(outputs, outputs.signal_url, outputs.signal_url)
    call = hold_call(
        client_network,
        publisher=publisher,
        subscriber=subscriber,
        # Told to use the relay, and unable to use anything else: the media ports are out of reach, and
        # so is signalling past the edge.
        through=Network(firewall=OnlyTo((signalling, *turn)), transport="relay"),
        logs=logs,
    )
    for path in _paths(call, _nodes(outputs)):
        assert (path.local.type, path.local.relay_protocol) == ("relay", protocol), f"{path}"
        assert endpoint_of(path.local.server_url) in turn, f"{path}"
    return call


def _turn_in_the_clear(outputs: StackOutputs, protocol: Protocol) -> tuple[Endpoint, ...]:
    """Where TURN without TLS is offered by this protocol; it must be."""
    servers = [endpoint_of(url) for url in outputs.turn_urls if url.startswith("turn:")]
    found = tuple(server for server in servers if server.protocol == protocol)
    assert found, f"the stack offers no TURN over {protocol}: {outputs.turn_urls}"
    return found


def _nodes(outputs: StackOutputs) -> list[IPv4Address]:
    return [endpoint_of(url).address for url in outputs.signal_urls]


def _admissions(
    outputs: StackOutputs, publisher_url: str, subscriber_url: str
) -> tuple[Admission, Admission]:
    room = room_name()
    return (
        make_admission(outputs, url=publisher_url, room=room, identity="publisher"),
        make_admission(outputs, url=subscriber_url, room=room, identity="subscriber"),
    )


def _paths(call: CallResult, nodes: list[IPv4Address]) -> list[TransportPath]:
    """The paths of both ends, each of which carried media to or from an SFU node."""
    for name, end in call.ends:
        assert end.paths, f"the {name}'s statistics show no selected pair of candidates"
    paths = [path for _, end in call.ends for path in end.paths]
    for path in paths:
        assert IPv4Address(path.remote.address) in nodes, f"{path}"
    assert sum(path.bytes_sent for path in call.publisher.paths) > 0
    assert sum(path.bytes_received for path in call.subscriber.paths) > 0
    return paths
