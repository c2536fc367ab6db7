"""A client network of one's own towards a server elsewhere, on a machine of the test's own. Needs root."""

from __future__ import annotations

import signal
import statistics
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from common.commands import run
from loadtest.definition.profile import load_profile
from loadtest.net.link import client_links
from loadtest.net.namespace import ClientNamespace, client_namespace
from loadtest.net.uplink import UplinkName, reap_dead_owners
from tests.network.own_machine import MACHINE, PORT, SERVER, Machine, holder, mirror, own_machine
from tests.support.speed import scaled

_SECONDS = 10.0

_ASK = """
import socket, sys, time
kind, host, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
for _ in range(count):
    began = time.monotonic()
    if kind == "udp":
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(3)  # a lost question for an address is asked again after one
        client.connect((host, port))
        client.send(b"?")
    else:
        client = socket.create_connection((host, port), 5)
    try:
        print(client.recv(100).decode(), (time.monotonic() - began) * 1000)
    except TimeoutError:
        print("silence", 1000)
"""


@pytest.fixture
def machine() -> Iterator[Machine]:
    with own_machine() as made:
        yield made


def _ask(client: ClientNamespace, kind: str, host: str, count: int = 1) -> list[tuple[str, float]]:
    """What each answer was, and after how many milliseconds it came."""
    argv = client.command([sys.executable, "-c", _ASK, kind, host, str(PORT), str(count)])
    lines = [line.split() for line in run(argv, timeout=scaled(_SECONDS + count)).stdout.splitlines()]
    return [(answer, float(milliseconds)) for answer, milliseconds in lines]


def _uplinks() -> list[str]:
    return [path.name for path in Path("/run/netns").iterdir() if UplinkName.parse(path.name)]


@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_client_reaches_the_server_by_its_name_under_the_machines_address(
    machine: Machine, kind: str
) -> None:
    with holder(machine) as held, client_namespace(held.network) as client:
        [(answer, _)] = _ask(client, kind, "sfu.example.com")
    assert answer == str(MACHINE)


def test_a_profiles_delay_shows(machine: Machine, tmp_path: Path) -> None:
    profile = load_profile("4g")
    with holder(machine) as held:
        with client_namespace(held.network) as plain:
            ideal = _ask(plain, "udp", str(SERVER), count=10)
        with client_links(held.network, profile, 1, seed=1, logs=tmp_path) as links:
            delayed = _ask(links.clients[0], "udp", str(SERVER), count=20)
    answers = [milliseconds for answer, milliseconds in delayed if answer == str(MACHINE)]
    assert len(answers) >= 18, delayed
    added = statistics.median(answers) - statistics.median(milliseconds for _, milliseconds in ideal)
    assert added == pytest.approx(profile.down.delay_ms + profile.up.delay_ms, abs=15)


def test_an_end_puts_everything_back(machine: Machine) -> None:
    before = machine.state()
    with holder(machine) as held:
        assert machine.state() != before
        held.end()
        assert machine.state() == before
    assert held.network.netns not in _uplinks()


def test_so_does_sigterm(machine: Machine) -> None:
    before = machine.state()
    with holder(machine) as held:
        assert held.network
        held.process.terminate()
        held.process.wait(timeout=scaled(_SECONDS))
        assert machine.state() == before


def test_what_a_killed_owner_left_is_taken_away_by_the_next(machine: Machine) -> None:
    before = machine.state()
    with holder(machine) as killed:
        left = killed.network.netns
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait(timeout=scaled(_SECONDS))
        assert left in _uplinks()
        with holder(machine) as held:
            assert left not in _uplinks()
            held.end()
        assert machine.state() == before


def test_two_at_once_have_networks_of_their_own_and_the_last_puts_back(machine: Machine) -> None:
    before = machine.state()
    with holder(machine) as first, holder(machine) as second:
        assert not first.network.subnet.overlaps(second.network.subnet)
        first.end()
        with client_namespace(second.network) as client:
            assert _ask(client, "udp", str(SERVER))[0][0] == str(MACHINE)
        second.end()
        assert machine.state() == before


def test_forwarding_that_was_on_stays_on(machine: Machine) -> None:
    machine.run(["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
    before = machine.state()
    with holder(machine) as held:
        with client_namespace(held.network) as client:
            assert _ask(client, "tcp", str(SERVER))[0][0] == str(MACHINE)
        held.end()
        assert machine.state() == before


def test_the_machine_becomes_no_router_for_its_neighbours(machine: Machine) -> None:
    with holder(machine) as held:
        network = held.network
        machine.run_around(["ip", "route", "add", str(network.subnet), "via", str(MACHINE)])
        with client_namespace(network) as client, mirror(client.command([])):
            ask = [sys.executable, "-c", _ASK, "udp", str(client.address), str(PORT), "1"]
            assert machine.run(ask).split()[0] == str(network.gateway)
            assert machine.run_around(ask).split()[0] == "silence"


def test_a_machine_that_forwards_nothing_is_named(machine: Machine) -> None:
    rules = "table ip theirs {\n chain f {\n type filter hook forward priority 0; policy drop;\n }\n}\n"
    machine.run(["nft", "-f", "-"], input=rules)
    before = machine.state()
    with holder(machine) as held:
        assert held.said.startswith(f"NoUplink: {SERVER}:{PORT} is not reached from a client network")
        assert "FORWARD" in held.said
        held.process.wait(timeout=scaled(_SECONDS))
    assert machine.state() == before


def test_loopback_is_refused_before_anything_is_made(machine: Machine) -> None:
    before = machine.state()
    with holder(machine, server=IPv4Address("127.0.0.1")) as held:
        assert "127.0.0.1: there it is they themselves" in held.said
        assert machine.state() == before


def test_reaping_spares_who_still_runs(machine: Machine) -> None:
    with holder(machine) as held:
        assert held.network.netns not in map(str, reap_dead_owners())
        assert held.network.netns in _uplinks()
