"""The rules that ports must keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_platform.config import Ports
from livekit_platform.ports import (
    EPHEMERAL,
    KUBERNETES_TCP,
    NODE_PORTS,
    PortClaim,
    PortRange,
    Protocol,
    Scope,
    broken_rules,
)


def claim(
    first: int,
    last: int | None = None,
    *,
    key: str = "ports.x",
    protocol: Protocol = Protocol.UDP,
    scope: Scope = Scope.HOST,
) -> PortClaim:
    return PortClaim(key, protocol, PortRange(first, last or first), scope)


def test_the_platform_s_own_ports_break_no_rule() -> None:
    assert broken_rules(Ports().claims()) == []


def test_every_port_field_is_claimed() -> None:
    claimed = {claim.key.removeprefix("ports.") for claim in Ports().claims()}
    assert claimed == set(Ports.model_fields)


@pytest.mark.parametrize(
    ("wrong", "allowed"),
    [
        (claim(443), "an unprivileged port"),
        (claim(NODE_PORTS.first), "outside the NodePorts"),
        (claim(NODE_PORTS.last), "outside the NodePorts"),
        (claim(EPHEMERAL.first), "outside the ephemeral ports"),
        (claim(EPHEMERAL.last), "outside the ephemeral ports"),
        (claim(29999, 30000), "outside the NodePorts"),
        (claim(8000, 7999), "first port is not above its last"),
        (claim(443, scope=Scope.HOST), "an unprivileged port"),
        (claim(30000, scope=Scope.HOST_PORT), "outside the NodePorts"),
        (claim(32768, scope=Scope.HOST_PORT), "outside the ephemeral ports"),
        (claim(80, scope=Scope.POD), "an unprivileged port"),
        *((claim(port, protocol=Protocol.TCP), "Kubernetes does not use") for port in KUBERNETES_TCP),
    ],
)
def test_a_port_that_something_else_takes_is_refused(wrong: PortClaim, allowed: str) -> None:
    [(key, _, sentence)] = broken_rules([wrong])
    assert key == wrong.key
    assert allowed in sentence


@pytest.mark.parametrize(
    "right",
    [
        claim(29999),
        claim(61000),
        claim(10250),  # the kubelet's, but TCP
        claim(1024, 65535, scope=Scope.POD),
        claim(443, scope=Scope.HOST_PORT),
        claim(80, protocol=Protocol.TCP, scope=Scope.HOST_PORT),
        claim(31000, scope=Scope.POD),
    ],
)
def test_a_port_that_nothing_else_takes_is_allowed(right: PortClaim) -> None:
    assert broken_rules([right]) == []


def test_two_claims_on_one_port_blame_the_later_and_name_the_earlier() -> None:
    [(key, given_, sentence)] = broken_rules([claim(7000, key="ports.a"), claim(7000, key="ports.b")])
    assert (key, given_) == ("ports.b", "7000/UDP")
    assert "ports.a (7000/UDP)" in sentence


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (claim(7000), claim(7000, protocol=Protocol.TCP)),
        (claim(7000), claim(7000, scope=Scope.POD)),
        (claim(7000, scope=Scope.POD), claim(7000, scope=Scope.POD)),  # each in its own pod
        (claim(7000, 7099), claim(7100, 7199)),
    ],
)
def test_claims_on_different_spaces_do_not_meet(one: PortClaim, other: PortClaim) -> None:
    assert broken_rules([one, other]) == []


@given(st.tuples(*[st.integers(1024, 2000)] * 4))
def test_ranges_overlap_where_they_share_a_port(bounds: tuple[int, int, int, int]) -> None:
    one = PortRange(*sorted(bounds[:2]))
    other = PortRange(*sorted(bounds[2:]))
    shared = set(range(one.first, one.last + 1)) & set(range(other.first, other.last + 1))
    assert one.overlaps(other) == bool(shared)
