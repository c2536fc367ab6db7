"""Nothing of a link survives its owner, however that ended, and nobody takes away what another one uses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from common.commands import run
from common.processes import process_of
from common.waiting import wait_until
from loadtest.definition.profile import load_profile
from loadtest.net.bridge import ClientName, ClientNetwork, RouterName
from loadtest.net.link import client_links
from loadtest.net.namespace import reap_dead_owners
from tests.support.speed import scaled

CHECKOUT = Path(__file__).parents[2]

# Holds links on the given bridge, or on one of its own as another checkout does; says so, and waits.
OWNER = """
import sys, tempfile, time
from contextlib import nullcontext, suppress
from pathlib import Path
from loadtest.net.bridge import ClientNetwork
from loadtest.net.link import client_links
from loadtest.net.namespace import treat_sigterm_as_interrupt
from loadtest.definition.profile import load_profile
from tests.e2e.switch import own_switch
treat_sigterm_as_interrupt()
given = sys.argv[1]
place = nullcontext(ClientNetwork.model_validate_json(given)) if given else own_switch()
with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory() as logs, place as network:
    with client_links(network, load_profile("4g"), 2, seed=1, logs=Path(logs)) as group:
        names = [str(client.name) for client in group.clients]
        print(group._router.name, *names, group.emulator_pid or 0, flush=True)
        while sys.stdin.read(1):
            group.assert_alive()
            print("alive", flush=True)
"""


@dataclass(frozen=True)
class Owner:
    """A process of its own that holds links."""

    process: subprocess.Popen[str]
    router: RouterName
    clients: tuple[ClientName, ...]
    emulator: int

    def says_alive(self) -> bool:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("?")
        self.process.stdin.flush()
        return self.process.stdout.readline() == "alive\n"


@contextmanager
def _owner(network: ClientNetwork | None) -> Iterator[Owner]:
    argv = [sys.executable, "-c", OWNER, network.model_dump_json() if network else ""]

    with subprocess.Popen(
        argv, text=True, cwd=CHECKOUT, start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            first, *others, emulator = process.stdout.readline().split()
            router = RouterName.parse(first)
            clients = [ClientName.parse(other) for other in others]
            assert router is not None
            yield Owner(process, router, tuple(name for name in clients if name), int(emulator))
        finally:
            process.terminate()
            process.wait(timeout=scaled(30))


def _left(owner: Owner, network: ClientNetwork) -> list[str]:
    """What there is of an owner's links: namespaces, ports of the bridge, files, the emulator."""
    names = {str(owner.router), *map(str, owner.clients)}
    ports = {client.port_device for client in owner.clients}
    links = json.loads(run(["ip", "-j", "-n", network.netns, "link"], timeout=scaled(10)).stdout)
    return [
        *[path.name for path in Path("/run/netns").iterdir() if path.name in names],
        *[link["ifname"] for link in links if link["ifname"] in ports],
        *[path.name for path in Path("/run/livekit-platform-clients").iterdir() if path.name in names],
        *(["emulator"] if owner.emulator and process_of(owner.emulator) else []),
    ]


def _all_of(owner: Owner) -> int:
    return 1 + 3 * len(owner.clients) + (1 if owner.emulator else 0)


def _make_links_and_fail(network: ClientNetwork, logs: Path) -> None:
    before = set(Path("/run/netns").iterdir())
    with client_links(network, load_profile("4g"), 2, seed=1, logs=logs):
        assert len(set(Path("/run/netns").iterdir()) - before) >= 3
        raise RuntimeError("on purpose")


def test_an_exception_takes_all_of_it_away(network: ClientNetwork, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="on purpose"):
        _make_links_and_fail(network, tmp_path)
    assert [name for name in _names() if name.owner.pid == os.getpid()] == []


def _names() -> list[RouterName | ClientName]:
    parsed = [
        RouterName.parse(path.name) or ClientName.parse(path.name) for path in Path("/run/netns").iterdir()
    ]
    return [name for name in parsed if name is not None]


def test_sigterm_takes_all_of_it_away(network: ClientNetwork) -> None:
    with _owner(network) as owner:
        assert len(_left(owner, network)) == _all_of(owner)
        owner.process.send_signal(signal.SIGTERM)
        owner.process.wait(timeout=scaled(30))
        assert _left(owner, network) == []


def test_what_a_killed_owner_left_goes_with_the_next_start(network: ClientNetwork, tmp_path: Path) -> None:
    with _owner(network) as owner:
        owner.process.kill()
        owner.process.wait(timeout=scaled(10))
        assert len(_left(owner, network)) >= _all_of(owner) - 1  # the emulator may have seen the end itself
        with client_links(network, load_profile("4g"), 1, seed=1, logs=tmp_path) as group:
            wait_until(lambda: not _namespaces_of(owner), timeout=scaled(10), describe="leftovers to go")
            assert group.clients[0].address in {name.address for name in (owner.router, *owner.clients)}
        assert _left(owner, network) == []


def _namespaces_of(owner: Owner) -> list[str]:
    names = {str(owner.router), *map(str, owner.clients)}
    return [path.name for path in Path("/run/netns").iterdir() if path.name in names]


def test_two_checkouts_leave_each_others_links_alone(network: ClientNetwork, tmp_path: Path) -> None:
    with _owner(None) as other:
        with client_links(network, load_profile("4g"), 1, seed=1, logs=tmp_path) as group:
            taken = {name.address for name in (other.router, *other.clients)}
            assert group.clients[0].address not in taken
            assert reap_dead_owners(network) == []
            assert other.says_alive()
        assert other.says_alive()
        assert len(_namespaces_of(other)) == 3


def test_what_another_checkouts_killed_owner_left_goes_too(network: ClientNetwork, tmp_path: Path) -> None:
    with _owner(None) as other:
        other.process.kill()
        other.process.wait(timeout=scaled(10))
        try:
            with client_links(network, load_profile("4g"), 1, seed=1, logs=tmp_path):
                assert _namespaces_of(other) == []
        finally:  # its bridge is not ours to reap, and nobody else's
            run(["ip", "netns", "del", f"lktest-switch-{other.process.pid}"], timeout=scaled(10))
