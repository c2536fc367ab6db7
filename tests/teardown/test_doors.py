"""Doors for browsers, by real processes: opened, healed, kept apart from others' and closed. Needs root."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.waiting import wait_until
from local.cluster import cgroups
from local.cluster.doors import Door, close_doors, is_free, open_doors
from local.cluster.topology import Topology
from local.paths import Instance


@dataclass(frozen=True)
class Checkout:
    """An instance that has nothing but doors."""

    instance: Instance
    topology: Topology

    def open(self, target: str) -> list[Door]:
        return open_doors(self.instance, self.topology, https=target, http=target)


@contextmanager
def _checkout(name: str, root: Path) -> Iterator[Checkout]:
    root.mkdir()
    made = Checkout(Instance(name, root), Topology(name, "10.213.255.0/24", 1))
    try:
        yield made
    finally:
        close_doors(made.topology)
        cgroups.remove(made.topology.cgroup)


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Checkout]:
    with _checkout(f"d{os.getpid() % 10000}a", tmp_path / "one") as made:
        yield made


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Checkout]:
    with _checkout(f"d{os.getpid() % 10000}b", tmp_path / "other") as made:
        yield made


@pytest.fixture
def greeter() -> Iterator[str]:
    """A server that greets whoever comes and then waits for their end; where it is."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet(client: socket.socket) -> None:
            with client:
                client.sendall(b"hello")
                client.recv(1)

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                threading.Thread(target=greet, args=(client,), daemon=True).start()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _heard(door: Door) -> bytes:
    with socket.create_connection(("127.0.0.1", door.port), timeout=10) as client:
        return client.recv(5)


def test_both_lead_to_the_target_and_opening_again_changes_nothing(one: Checkout, greeter: str) -> None:
    doors = one.open(greeter)
    assert [door.scheme for door in doors] == ["https", "http"]
    assert [_heard(door) for door in doors] == [b"hello"] * 2
    assert one.open(greeter) == doors


def test_a_door_without_a_target_is_open_and_harmless(one: Checkout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        target = f"127.0.0.1:{nobody.getsockname()[1]}"
    assert [_heard(door) for door in one.open(target)] == [b""] * 2
    assert [door.process.runs for door in one.open(target)] == [True] * 2


def test_one_that_was_killed_is_opened_again_at_its_port(one: Checkout, greeter: str) -> None:
    before = one.open(greeter)
    os.kill(before[0].process.pid, signal.SIGKILL)
    wait_until(lambda: not before[0].process.runs, timeout=10, describe="the door to end", interval=0.05)
    healed = one.open(greeter)
    assert [door.port for door in healed] == [door.port for door in before]
    assert [_heard(door) for door in healed] == [b"hello"] * 2


def test_a_new_target_takes_the_place_of_the_old_one(one: Checkout, greeter: str) -> None:
    before = one.open("127.0.0.1:9")
    after = one.open(greeter)
    assert [door.port for door in after] == [door.port for door in before]
    assert [_heard(door) for door in after] == [b"hello"] * 2


def test_two_checkouts_never_take_each_others(one: Checkout, other: Checkout, greeter: str) -> None:
    doors = [*one.open(greeter), *other.open(greeter)]
    assert len({door.port for door in doors}) == 4
    close_doors(other.topology)
    assert [_heard(door) for door in doors[:2]] == [b"hello"] * 2


def test_closing_ends_them_and_every_connection_through_them(one: Checkout, greeter: str) -> None:
    doors = one.open(greeter)
    with socket.create_connection(("127.0.0.1", doors[0].port), timeout=10) as client:
        assert client.recv(5) == b"hello"
        close_doors(one.topology)
        client.settimeout(10)
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""
    assert not any(door.process.runs for door in doors)
    assert cgroups.processes(one.topology.cgroup) == set()
    assert all(is_free(door.port) for door in doors)
