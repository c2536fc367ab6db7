"""coturn's words as values. The examples are what coturn 4.18 said."""

from __future__ import annotations

import pytest

from turn_exporter.reports import Created, NotUnderstood, Relayed, Side, Transport, report, transport_of

OF_ONE = "turn/realm/lk.localhost/user/1795863582:test_turn/allocation/001000000000000002"
TRAFFIC = "rcvp=7, rcvb=512, sentp=6, sentb=408"
ENDPOINTS = "local=10.9.9.1:3478, remote=10.9.9.1:36933"


def status(word: str, kind: str) -> str:
    return f"{word} lifetime=600, type={kind}, {ENDPOINTS}, ssl=NONE, cipher=NONE"


@pytest.mark.parametrize(
    ("kind", "transport"),
    [("UDP", Transport.UDP), ("TCP", Transport.TCP), ("TLS/TCP", Transport.TLS)],
)
def test_an_allocation_has_the_transport_of_its_client(kind: str, transport: Transport) -> None:
    assert report(f"{OF_ONE}/status", status("new", kind)) == Created(transport)
    assert transport_of(status("refreshed", kind)) == transport


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        (f"{OF_ONE}/status", status("refreshed", "UDP")),
        (f"{OF_ONE}/status", "deleted"),
        # The sum of what was told before.
        (f"{OF_ONE}/total_traffic", TRAFFIC),
        (f"{OF_ONE}/total_traffic/peer", TRAFFIC),
        ("turn/something/else", TRAFFIC),
    ],
)
def test_what_is_told_twice_or_counts_nothing_is_left_out(channel: str, message: str) -> None:
    assert report(channel, message) is None


def test_traffic_is_of_one_side() -> None:
    assert report(f"{OF_ONE}/traffic", TRAFFIC) == Relayed(Side.CLIENT, 7, 512, 6, 408)
    assert report(f"{OF_ONE}/traffic/peer", TRAFFIC) == Relayed(Side.PEER, 7, 512, 6, 408)


def test_a_user_s_name_is_no_channel() -> None:
    named = "turn/realm/r/user/1:x/allocation/1/traffic/allocation/001000000000000002"
    assert report(f"{named}/total_traffic", TRAFFIC) is None
    assert report(f"{named}/traffic/peer", TRAFFIC) == Relayed(Side.PEER, 7, 512, 6, 408)


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        (f"{OF_ONE}/status", status("renewed", "UDP")),
        (f"{OF_ONE}/status", status("new", "CARRIER PIGEON")),
        (f"{OF_ONE}/traffic", "rcvp=7, rcvb=512"),
        (f"{OF_ONE}/traffic/peer", "rcvp=-7, rcvb=512, sentp=6, sentb=408"),
    ],
)
def test_other_words_are_said_to_be_not_understood(channel: str, message: str) -> None:
    with pytest.raises(NotUnderstood, match=r"not the (status|traffic) of an allocation"):
        report(channel, message)
