"""Actions: their words, and which node's pod is killed."""

from __future__ import annotations

import json
from ipaddress import IPv4Address

import pytest

from loadtest.client.path import Candidate, TransportPath
from loadtest.definition.scenario import Action, ActionKind
from loadtest.run.actions import in_words, node_of
from loadtest.run.node_killing import CannotKill, kill_sfu, pod_at


def path(remote: str) -> TransportPath:
    def candidate(address: str) -> Candidate:
        return Candidate(
            type="host", protocol="udp", relay_protocol="", address=address, port=7882, server_url=""
        )

    return TransportPath(
        connection="subscriber",
        local=candidate("192.0.2.1"),
        remote=candidate(remote),
        bytes_sent=0,
        bytes_received=0,
        round_trip_ms=0,
    )


def pod(name: str, address: str, *, phase: str = "Running", going: bool = False) -> dict[str, object]:
    metadata = {"name": name, **({"deletionTimestamp": "now"} if going else {})}
    return {"metadata": metadata, "status": {"phase": phase, "hostIP": address, "podIP": address}}


PODS = json.dumps(
    {
        "items": [
            pod("old", "198.51.100.2", going=True),
            pod("one", "198.51.100.1"),
            pod("waits", "198.51.100.2", phase="Pending"),
            pod("two", "198.51.100.2"),
        ]
    }
)


def test_an_action_in_words() -> None:
    action = Action(at_s=1, kind=ActionKind.CAPACITY, group="viewers", down_kbps=600)
    assert in_words(action) == "capacity of viewers: 600 kbit/s down"
    assert in_words(Action(at_s=1, kind=ActionKind.MIGRATE, group="a")) == "migrate of a"


def test_the_node_is_the_one_that_most_media_goes_to() -> None:
    one, two = path("198.51.100.1"), path("198.51.100.2")
    assert node_of([[two], [one, two], []]) == IPv4Address("198.51.100.2")


def test_without_a_connection_no_node_is_known() -> None:
    with pytest.raises(CannotKill, match="no client of the group has a media connection"):
        node_of([[], []])


def test_the_running_pod_at_a_node() -> None:
    assert pod_at(PODS, IPv4Address("198.51.100.2")) == "two"


def test_no_pod_at_a_node_is_said_with_the_node() -> None:
    with pytest.raises(CannotKill, match=r"no SFU pod runs at 198\.51\.100\.9"):
        pod_at(PODS, IPv4Address("198.51.100.9"))


def test_pods_of_another_server_are_out_of_reach() -> None:
    with pytest.raises(CannotKill, match="another server"):
        kill_sfu(None, IPv4Address("198.51.100.1"))
