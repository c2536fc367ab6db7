"""Client namespaces and their firewalls, with real packets, on a bridge of the test's own. Needs root."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from common.commands import CommandFailed, run
from common.processes import process_of
from common.waiting import wait_until
from loadtest.net.bridge import ClientName, ClientNetwork, NoFreeAddress
from loadtest.net.firewall import Endpoint, OnlyTo, UdpBlocked
from loadtest.net.namespace import ClientNamespace, client_namespace, reap_dead_owners
from tests.e2e.switch import own_switch

CHECKOUT = Path(__file__).parents[2]

ECHO = """
import socket, sys
kind = socket.SOCK_DGRAM if sys.argv[1] == "udp" else socket.SOCK_STREAM
server = socket.socket(socket.AF_INET, kind)
server.bind(("0.0.0.0", int(sys.argv[2])))
if sys.argv[1] == "tcp":
    server.listen()
print("ready", flush=True)
while True:
    if sys.argv[1] == "udp":
        data, peer = server.recvfrom(100)
        print(data.decode(), flush=True)
        server.sendto(data, peer)
    else:
        connection, _ = server.accept()
        connection.sendall(connection.recv(100))
        connection.close()
"""

ASK = """
import socket, sys
kind = socket.SOCK_DGRAM if sys.argv[1] == "udp" else socket.SOCK_STREAM
client = socket.socket(socket.AF_INET, kind)
client.settimeout(3)  # a lost question for an address is asked again after one
try:
    client.connect((sys.argv[2], int(sys.argv[3])))
    client.sendall(b"hello")
    print("answer" if client.recv(100) == b"hello" else "garbled")
except TimeoutError:
    print("silence")
except OSError as error:
    print(f"error {error}")
"""

LOOK_UP = "import socket, sys; print(socket.gethostbyname(sys.argv[1]))"

# Makes a client namespace with a process in it, says so, and waits.
OWNER = """
import subprocess, sys, time
from loadtest.net.bridge import ClientNetwork
from loadtest.net.namespace import client_namespace, treat_sigterm_as_interrupt
treat_sigterm_as_interrupt()
with client_namespace(ClientNetwork.model_validate_json(sys.argv[1])) as mine:
    script = mine.command(["sh", "-c", "echo inside; exec sleep 600"])
    inside = subprocess.Popen(script, stdout=subprocess.PIPE)
    inside.stdout.readline()
    print(mine.name, inside.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def network() -> Iterator[ClientNetwork]:
    with own_switch() as made:
        yield made


def _ask(at: ClientNamespace, protocol: str, address: IPv4Address, port: int) -> str:
    argv = at.command([sys.executable, "-c", ASK, protocol, str(address), str(port)])
    return run(argv, timeout=10).stdout.strip()


@contextmanager
def _echo(at: ClientNamespace, protocol: str, port: int) -> Iterator[list[str]]:
    """A server that sends back what it gets. Gives a list that holds, at the end, the datagrams it got."""
    heard: list[str] = []
    argv = at.command([sys.executable, "-c", ECHO, protocol, str(port)])
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield heard
            server.kill()
            heard += server.stdout.read().splitlines()
        finally:
            server.kill()


@contextmanager
def _owner(network: ClientNetwork) -> Iterator[tuple[subprocess.Popen[str], ClientName, int]]:
    """A process of its own that holds a client namespace; with the id of a process inside it."""
    argv = [sys.executable, "-c", OWNER, network.model_dump_json()]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT) as process:
        try:
            assert process.stdout is not None
            text, inside = process.stdout.readline().split()
            name = ClientName.parse(text)
            assert name is not None
            yield process, name, int(inside)
        finally:
            process.kill()


def _left_of(name: ClientName, network: ClientNetwork) -> list[str]:
    links = run(["ip", "-j", "-n", network.netns, "link"], timeout=10).stdout
    return [
        *[path.name for path in Path("/run/netns").iterdir() if path.name == str(name)],
        *[path.name for path in [_files(name)] if path.exists()],
        *[link["ifname"] for link in json.loads(links) if link["ifname"] == name.port_device],
    ]


def _files(name: ClientName) -> Path:
    """Where its hosts file and CA are kept."""
    return Path("/run/livekit-platform-clients") / str(name)


def _wait_until_ended(pid: int) -> None:
    """It was killed: the kernel may take a moment on a busy machine."""
    wait_until(lambda: not process_of(pid), timeout=10, describe=f"process {pid} to end", interval=0.05)


def test_clients_reach_each_other_and_leave_nothing_behind(network: ClientNetwork) -> None:
    with client_namespace(network) as one, client_namespace(network) as other:
        names = (one.name, other.name)
        assert one.address != other.address
        for protocol in ("udp", "tcp"):
            with _echo(other, protocol, 5000):
                assert _ask(one, protocol, other.address, 5000) == "answer"
        assert all(len(_left_of(name, network)) == 3 for name in names)
    assert [left for name in names for left in _left_of(name, network)] == []


def test_blocked_udp_is_silence_in_both_directions_and_tcp_passes(network: ClientNetwork) -> None:
    with (
        client_namespace(network, firewall=UdpBlocked()) as walled,
        client_namespace(network) as free,
        _echo(walled, "udp", 5000) as heard_inside,
        _echo(free, "udp", 5000) as heard_outside,
        _echo(free, "tcp", 5000),
    ):
        assert _ask(walled, "udp", free.address, 5000) == "silence"
        assert _ask(free, "udp", walled.address, 5000) == "silence"
        assert _ask(walled, "tcp", free.address, 5000) == "answer"
    # Not even one way: an answer that is lost looks the same to who asked.
    assert (heard_inside, heard_outside) == ([], [])


def test_only_the_given_destinations_answer_and_the_rest_is_silence(network: ClientNetwork) -> None:
    with client_namespace(network) as server:
        allowed = OnlyTo((Endpoint("udp", server.address, 5000), Endpoint("tcp", server.address, 5001)))
        with (
            client_namespace(network, firewall=allowed) as walled,
            _echo(server, "udp", 5000) as heard,
            _echo(server, "udp", 5001) as heard_at_another_port,
            _echo(server, "tcp", 5000),
            _echo(server, "tcp", 5001),
        ):
            assert _ask(walled, "udp", server.address, 5000) == "answer"
            assert _ask(walled, "tcp", server.address, 5001) == "answer"
            assert _ask(walled, "udp", server.address, 5001) == "silence"
            assert _ask(walled, "tcp", server.address, 5000) == "silence"
        assert (heard, heard_at_another_port) == (["hello"], [])


def test_a_client_knows_the_networks_names_and_nobody_else_does(network: ClientNetwork) -> None:
    told = network.model_copy(update={"names": {"sfu.lk.localhost": IPv4Address("192.0.2.77")}})
    before = Path("/etc/hosts").read_text()
    with client_namespace(told) as client, client_namespace(network) as ignorant:
        look_up = [sys.executable, "-c", LOOK_UP, "sfu.lk.localhost"]
        assert run(client.command(look_up), timeout=10).stdout == "192.0.2.77\n"
        assert run(client.command([*look_up[:-1], "localhost"]), timeout=10).stdout == "127.0.0.1\n"
        # Not looked up: its resolver would be asked, and nothing answers there.
        assert "sfu.lk.localhost" not in run(ignorant.command(["cat", "/etc/hosts"]), timeout=10).stdout
        assert Path("/etc/hosts").read_text() == before
        files = _files(client.name)
        assert files.exists()
    assert not files.exists()


def test_a_client_trusts_the_networks_ca_and_no_other(network: ClientNetwork) -> None:
    told = network.model_copy(update={"ca_certificate": "of this network\n"})
    with client_namespace(told) as client, client_namespace(network) as ignorant:
        show = ["sh", "-c", 'cat "$SSL_CERT_FILE"']
        assert run(client.command(show), timeout=10).stdout == "of this network\n"
        assert run(ignorant.command(show), timeout=10, check=False).stdout != "of this network\n"


def test_the_process_that_is_started_is_the_program_itself(network: ClientNetwork) -> None:
    with (
        client_namespace(network) as client,
        subprocess.Popen(client.command(["sleep", "60"])) as process,
    ):
        try:
            program = Path(f"/proc/{process.pid}/comm")
            wait_until(
                lambda: program.read_text() == "sleep\n", timeout=10, describe="sleep to run", interval=0.05
            )
        finally:
            process.kill()


def test_users_at_the_same_time_get_different_addresses(network: ClientNetwork) -> None:
    argv = [sys.executable, "-c", OWNER, network.model_dump_json()]
    owners = [
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT, start_new_session=True)
        for _ in range(4)
    ]
    try:
        names = [ClientName.parse(owner.stdout.readline().split()[0]) for owner in owners if owner.stdout]
        assert len({name.address for name in names if name}) == 4
    finally:
        for owner in owners:
            owner.terminate()
            owner.wait(timeout=20)
            if owner.stdout:
                owner.stdout.close()
    assert [left for name in names if name for left in _left_of(name, network)] == []


def test_sigterm_takes_the_namespace_away_and_what_runs_in_it(network: ClientNetwork) -> None:
    with _owner(network) as (process, name, inside):
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
        assert _left_of(name, network) == []
        _wait_until_ended(inside)


def test_what_a_killed_owner_left_goes_with_the_next_start(network: ClientNetwork) -> None:
    with _owner(network) as (process, name, inside):
        assert reap_dead_owners(network) == [], "it took away what belongs to a living process"
        process.kill()
        process.wait(timeout=20)
        assert len(_left_of(name, network)) == 3
        assert process_of(inside)
        with client_namespace(network) as mine:
            assert mine.address == name.address, "the freed address was not used again"
            _wait_until_ended(inside)
        assert _left_of(name, network) == []


def test_a_bridge_that_does_not_exist_is_an_error_that_leaves_nothing(network: ClientNetwork) -> None:
    wrong = network.model_copy(update={"bridge": "br-absent"})
    before = set(Path("/run/netns").iterdir())
    with pytest.raises(CommandFailed, match="br-absent"), client_namespace(wrong):
        pass
    assert set(Path("/run/netns").iterdir()) == before


def test_more_clients_than_addresses_is_an_error_that_says_so() -> None:
    with (
        own_switch(addresses="192.0.2.128/31") as small,
        client_namespace(small),
        client_namespace(small),
        pytest.raises(NoFreeAddress, match=r"192\.0\.2\.128/31 are taken"),
        client_namespace(small),
    ):
        pass
