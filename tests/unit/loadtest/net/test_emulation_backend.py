"""The exact commands of both backends, and which of them is taken."""

from __future__ import annotations

import json

import pytest

from loadtest.definition.profile import Direction, NetworkProfile, load_profile
from loadtest.net.emulation import backend
from loadtest.net.emulation.backend import Backend, NoBackend, choose
from loadtest.net.emulation.traffic_control import bottleneck, drops, netem, netem_link


def test_a_fast_bottleneck_has_a_bucket_of_a_millisecond() -> None:
    direction = Direction(rate_kbps=100_000, queue_ms=50)
    assert bottleneck("dn0", direction, below_netem=False) == [
        "qdisc replace dev dn0 root handle 10: tbf rate 100000kbit burst 12500 latency 50ms"
    ]


def test_no_capacity_is_no_bottleneck() -> None:
    assert bottleneck("dn0", Direction(delay_ms=5), below_netem=True) == []


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (
            "3g",
            [
                "qdisc replace dev dn0 root handle 1: netem limit 65536 delay 75ms 50ms"
                " loss random 0.500000% rate 1000gbit seed 1",
                "qdisc replace dev dn0 parent 1:1 handle 10: tbf rate 1600kbit burst 3028 latency 300ms",
                "qdisc replace dev up0 root handle 1: netem limit 65536 delay 75ms 50ms"
                " loss random 0.500000% rate 1000gbit seed 2",
                "qdisc replace dev up0 parent 1:1 handle 10: tbf rate 750kbit burst 3028 latency 300ms",
            ],
        ),
        (
            "wifi-congested",
            [
                "qdisc replace dev dn0 root handle 1: netem limit 65536 delay 10ms 20ms"
                " loss gemodel 2.777800% 25.000000% 100.000000% 0.000000% rate 1000gbit seed 1",
                "qdisc replace dev dn0 parent 1:1 handle 10: tbf rate 5000kbit burst 3028 latency 300ms",
                "qdisc replace dev up0 root handle 1: netem limit 65536 delay 10ms 20ms"
                " loss gemodel 2.777800% 25.000000% 100.000000% 0.000000% rate 1000gbit seed 2",
                "qdisc replace dev up0 parent 1:1 handle 10: tbf rate 5000kbit burst 3028 latency 300ms",
            ],
        ),
    ],
)
def test_golden_netem_links(profile: str, expected: list[str]) -> None:
    assert netem_link("dn0", "up0", load_profile(profile), down_seed=1, up_seed=2) == expected


def test_netem_without_a_seed_and_with_packets_that_may_pass_each_other() -> None:
    assert netem("dn0", Direction(delay_ms=0.5), reorder=True, seed=None) == [
        "qdisc replace dev dn0 root handle 1: netem limit 65536 delay 0.5ms 0ms"
    ]


def test_a_capacity_alone_is_netem_without_effect_and_a_bottleneck() -> None:
    profile = NetworkProfile(name="narrow", title="narrow", down=Direction(rate_kbps=100))
    assert netem_link("dn0", "up0", profile, down_seed=None, up_seed=None) == [
        "qdisc replace dev dn0 root handle 1: netem limit 65536 rate 1000gbit",
        "qdisc replace dev dn0 parent 1:1 handle 10: tbf rate 100kbit burst 3028 latency 300ms",
        "qdisc replace dev up0 root handle 1: netem limit 65536 rate 1000gbit",
    ]


def test_drops_are_read_by_kind_and_netems_are_its_own() -> None:
    shown = [{"kind": "netem", "drops": 12}, {"kind": "tbf", "drops": 5}]
    assert drops(json.dumps(shown)) == {"netem": 7, "tbf": 5}
    assert drops(json.dumps(shown[1:])) == {"tbf": 5}
    assert drops("[]") == {}


def test_netem_is_taken_first() -> None:
    assert choose([Backend.NETEM, Backend.NFQUEUE]) is Backend.NETEM
    assert choose([Backend.NFQUEUE]) is Backend.NFQUEUE


def test_with_none_the_error_says_what_each_lacks_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    # Programs that no machine has: both trials fail for a true reason.
    monkeypatch.setattr(backend, "_PROBES", dict.fromkeys(Backend, "lacking-program --version"))
    with pytest.raises(NoBackend) as none:
        choose([])
    for part in ("make loadtest", "netem: ", "nfqueue: ", "lacking-program"):
        assert part in str(none.value)
