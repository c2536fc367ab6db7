"""Links with real packets: what profiles claim, measured by irtt and by bursts, on every backend there is."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from common.waiting import wait_until
from loadtest.definition.profile import Direction, Loss, NetworkProfile, Step, load_profile
from loadtest.net.bridge import ClientNetwork, RouterName
from loadtest.net.calibration import calibrate, calibrate_links, lateness_limits_ms
from loadtest.net.emulation.backend import Backend, backends
from loadtest.net.firewall import OPEN, UdpBlocked
from loadtest.net.link import LinkDied, client_links
from loadtest.net.namespace import client_namespace
from tests.network.traffic import ask, burst, echo, numbers_as_received, received
from tests.support.speed import scaled

UNSTEADY = Direction(delay_ms=30, jitter_ms=25)


def test_this_machine_has_a_backend() -> None:
    assert backends()


@pytest.mark.parametrize("name", ["3g", "4g", "wifi"])
def test_a_link_is_what_its_profile_claims(
    network: ClientNetwork, tmp_path: Path, backend: Backend, name: str
) -> None:
    profile = load_profile(name)
    with client_links(network, profile, 6, seed=1, logs=tmp_path, backend=backend) as group:
        found = calibrate_links(group, network, profile, seconds=3)
    assert found.reasons == ()
    assert len(found.rows) == 8
    assert all(row.samples > 50 for row in found.rows)
    links = found.links
    assert min(links.lost_down, links.lost_up, links.overflowed_down, links.overflowed_up) > 0
    if links.emulator is not None:
        assert links.emulator.overruns == 0
        assert links.emulator.lateness_p99_ms <= lateness_limits_ms(profile)[1]


def test_an_ideal_link_is_a_plain_client_at_the_bridge(network: ClientNetwork, tmp_path: Path) -> None:
    with client_links(network, load_profile("ideal"), 2, seed=1, logs=tmp_path) as group:
        assert not [path for path in Path("/run/netns").iterdir() if _is_our_router(path.name)]
        with echo(group.clients[0], "udp"):
            assert ask(group.clients[1], "udp", group.clients[0].address) == "answer"
        assert group.statistics().backend is None


def _is_our_router(name: str) -> bool:
    parsed = RouterName.parse(name)
    return parsed is not None and parsed.owner.pid == os.getpid()


def test_a_link_with_twice_the_delay_that_it_claims_is_caught(network: ClientNetwork, tmp_path: Path) -> None:
    claimed = load_profile("4g")
    slower = claimed.up.model_copy(update={"delay_ms": 2 * claimed.up.delay_ms})
    actual = claimed.model_copy(update={"up": slower})
    with client_links(network, actual, 3, seed=1, logs=tmp_path) as group:
        found = calibrate_links(group, network, claimed, seconds=2)
    assert not found.ok
    delay = {row.direction: row for row in found.rows if row.quantity == "delay_ms"}
    assert delay["up"].achieved == pytest.approx(60, abs=delay["up"].tolerance)
    assert delay["down"].ok
    assert any("delay_ms up is " in reason and "claimed is 30 ± " in reason for reason in found.reasons)


def test_a_link_that_is_slow_to_let_the_first_packet_through_is_measured_all_the_same(
    network: ClientNetwork, tmp_path: Path
) -> None:
    # As the first packet is where a neighbour's address must be asked for twice.
    slow = Direction(delay_ms=450)
    with client_links(network, _profile(down=slow, up=slow), 3, seed=1, logs=tmp_path) as group:
        found = calibrate_links(group, network, _profile(down=Direction(delay_ms=5)), seconds=2)
    delays = {row.direction: row.achieved for row in found.rows if row.quantity == "delay_ms"}
    assert delays == {"down": pytest.approx(450, abs=10), "up": pytest.approx(450, abs=10)}, found.reasons


def test_a_link_that_lets_nothing_through_is_caught(network: ClientNetwork, tmp_path: Path) -> None:
    claimed = Direction(delay_ms=5)
    actual = Direction(delay_ms=5, loss=Loss(lost_in_good=1))
    with client_links(network, _profile(down=actual), 3, seed=1, logs=tmp_path) as group:
        found = calibrate_links(group, network, _profile(down=claimed), seconds=0.5)
    assert not found.ok
    assert any("delay_ms down is not known: nothing came through" in reason for reason in found.reasons)


def test_calibrating_makes_its_own_links(network: ClientNetwork, tmp_path: Path) -> None:
    profile = _profile(up=Direction(rate_kbps=2000, delay_ms=20))
    found = calibrate(network, profile, seed=1, seconds=1.5, logs=tmp_path)
    assert found.reasons == ()


def test_packets_stay_in_order(network: ClientNetwork, tmp_path: Path, backend: Backend) -> None:
    profile = _profile(up=UNSTEADY)
    with (
        client_namespace(network) as peer,
        client_links(network, profile, 1, seed=1, logs=tmp_path, backend=backend) as group,
    ):
        assert numbers_as_received(group.clients[0], peer, 300) == list(range(300))


def test_packets_pass_each_other_where_the_profile_lets_them(
    network: ClientNetwork, tmp_path: Path, backend: Backend
) -> None:
    profile = _profile(up=UNSTEADY, reorder=True)
    with (
        client_namespace(network) as peer,
        client_links(network, profile, 1, seed=1, logs=tmp_path, backend=backend) as group,
    ):
        numbers = numbers_as_received(group.clients[0], peer, 300)
    assert sorted(numbers) == list(range(300))
    assert numbers != list(range(300))


def test_each_client_has_the_whole_capacity_for_itself(network: ClientNetwork, tmp_path: Path) -> None:
    profile = _profile(up=Direction(rate_kbps=1000), down=Direction(rate_kbps=2000))
    with (
        client_namespace(network) as peer,
        client_links(network, profile, 2, seed=1, logs=tmp_path) as group,
        burst(peer, group.clients[0], kbps=4000, seconds=2) as one,
        burst(peer, group.clients[1], kbps=4000, seconds=2) as other,
        burst(group.clients[0], peer, kbps=2000, seconds=2) as up,
    ):
        assert received(one).kbps == pytest.approx(2000, rel=0.05)
        assert received(other).kbps == pytest.approx(2000, rel=0.05)
        assert received(up).kbps == pytest.approx(1000, rel=0.05)


def test_clients_of_one_router_reach_each_other_by_both_their_links(
    network: ClientNetwork, tmp_path: Path
) -> None:
    with (
        client_links(network, _profile(up=Direction(delay_ms=100)), 2, seed=1, logs=tmp_path) as group,
        echo(group.clients[0], "tcp"),
        echo(group.clients[0], "udp"),
    ):
        assert ask(group.clients[1], "tcp", group.clients[0].address) == "answer"
        started = time.monotonic()
        assert ask(group.clients[1], "udp", group.clients[0].address) == "answer"
        assert time.monotonic() - started > 0.2  # up from the one, and up from the other


def test_an_address_that_another_client_had_before_is_reached_at_once(
    network: ClientNetwork, tmp_path: Path
) -> None:
    profile = load_profile("4g")
    with client_namespace(network) as peer, echo(peer, "udp"):
        with client_namespace(network) as before:
            assert ask(before, "udp", peer.address) == "answer"
        with client_links(network, profile, 1, seed=1, logs=tmp_path) as group:
            assert group.clients[0].address == before.address
            assert ask(group.clients[0], "udp", peer.address) == "answer"
        # The router asked the peer with its own address: that one must not come again for a client.
        with client_links(network, profile, 3, seed=1, logs=tmp_path) as group:
            for client in group.clients:
                assert ask(client, "udp", peer.address) == "answer"
        with client_namespace(network) as after:
            assert after.address == before.address
            assert ask(after, "udp", peer.address) == "answer"


def test_a_capacity_can_be_changed_while_the_link_is_in_use(
    network: ClientNetwork, tmp_path: Path, backend: Backend
) -> None:
    profile = _profile(down=Direction(rate_kbps=2000, delay_ms=5))
    with (
        client_namespace(network) as peer,
        client_links(network, profile, 1, seed=1, logs=tmp_path, backend=backend) as group,
    ):
        before = time.monotonic_ns()
        change = group.set_capacity(down_kbps=600)
        assert before < change.at_ns < time.monotonic_ns()
        assert (change.down_kbps, change.up_kbps) == (600, None)
        with burst(peer, group.clients[0], kbps=2000, seconds=2) as listening:
            assert received(listening).kbps == pytest.approx(600, rel=0.05)
        with pytest.raises(ValueError, match="up_kbps is 3; allowed are whole kbit/s, from 16"):
            group.set_capacity(up_kbps=3)
        assert group.changes == (change,)


def test_steps_come_at_their_times_from_the_clocks_start(network: ClientNetwork, tmp_path: Path) -> None:
    profile = _profile(
        down=Direction(rate_kbps=1000),
        steps=(
            Step(at_s=0.5, down_kbps=300, up_kbps=200),
            Step(at_s=1.0, down_kbps=800),
            Step(at_s=99, up_kbps=16),
        ),
    )
    with client_links(network, profile, 2, seed=1, logs=tmp_path) as group:
        assert list(group.changes) == []
        started_ns = group.start_clock()
        wait_until(lambda: len(group.changes) == 2, timeout=scaled(10), describe="two steps", interval=0.05)
        group.assert_alive()
    assert [(change.down_kbps, change.up_kbps) for change in group.changes] == [(300, 200), (800, None)]
    after = [(change.at_ns - started_ns) / 1e9 for change in group.changes]
    assert 0.5 <= after[0] < 0.5 + scaled(0.3)
    assert 1.0 <= after[1] < 1.0 + scaled(0.3)


def test_udp_can_be_blocked_and_opened_again_in_the_middle(network: ClientNetwork, tmp_path: Path) -> None:
    with (
        client_namespace(network) as peer,
        client_links(network, load_profile("4g"), 2, seed=1, logs=tmp_path) as group,
        echo(peer, "udp"),
        echo(peer, "tcp"),
    ):
        one, other = group.clients
        assert ask(one, "udp", peer.address) == "answer"
        group.set_firewall(0, UdpBlocked())
        assert ask(one, "udp", peer.address) == "silence"
        assert ask(one, "tcp", peer.address) == "answer"
        assert ask(other, "udp", peer.address) == "answer"
        group.set_firewall(0, OPEN)
        assert ask(one, "udp", peer.address) == "answer"


@pytest.mark.skipif(Backend.NFQUEUE not in backends(), reason="this kernel has no NFQUEUE, so no emulator")
def test_a_dead_emulator_lets_nothing_through_and_is_noticed(network: ClientNetwork, tmp_path: Path) -> None:
    with (
        client_namespace(network) as peer,
        client_links(network, load_profile("4g"), 1, seed=1, logs=tmp_path, backend=Backend.NFQUEUE) as group,
        echo(peer, "udp"),
    ):
        assert ask(group.clients[0], "udp", peer.address) == "answer"
        group.assert_alive()
        assert group.emulator_pid is not None
        os.kill(group.emulator_pid, signal.SIGKILL)
        assert ask(group.clients[0], "udp", peer.address) == "silence"
        assert group.fault == "the link's emulator ended, exit code -9"
        with pytest.raises(LinkDied, match="exit code -9"):
            group.assert_alive()


@pytest.mark.skipif(Backend.NFQUEUE not in backends(), reason="this kernel has no NFQUEUE, so no emulator")
def test_an_emulator_that_hangs_is_a_fault_while_it_lasts(network: ClientNetwork, tmp_path: Path) -> None:
    with client_links(
        network, load_profile("4g"), 1, seed=1, logs=tmp_path, backend=Backend.NFQUEUE
    ) as group:
        assert group.fault == ""
        assert group.emulator_pid is not None
        os.kill(group.emulator_pid, signal.SIGSTOP)
        try:
            wait_until(lambda: group.fault, timeout=scaled(20), describe="its silence to be noticed")
            assert "has not reported for" in group.fault
        finally:
            os.kill(group.emulator_pid, signal.SIGCONT)
        wait_until(lambda: not group.fault, timeout=scaled(20), describe="it to report again")


def _profile(
    *,
    up: Direction = Direction(),  # noqa: B008 - frozen
    down: Direction = Direction(),  # noqa: B008 - frozen
    steps: tuple[Step, ...] = (),
    reorder: bool = False,
) -> NetworkProfile:
    return NetworkProfile(name="mine", title="of a test", up=up, down=down, steps=steps, reorder=reorder)
