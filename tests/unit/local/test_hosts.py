"""The line of /etc/hosts that resolves the stack's names to its edge."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from local import hosts
from local.paths import Instance

_OUTPUTS: dict[str, Any] = {
    "domain": "lk.localhost",
    "signal_url": "wss://sfu.lk.localhost",
    "api_url": "https://api.lk.localhost",
    "s3_endpoint": "https://s3.lk.localhost",
    "turn_urls": ["turn:10.213.0.11:3478?transport=udp", "turns:turn.lk.localhost:443?transport=tcp"],
    "edge_addresses": ["10.213.0.11", "10.213.0.12"],
    "browser_urls": {"https": "https://lk.localhost", "http": "http://localhost"},
}
_NAMES = "lk.localhost api.lk.localhost s3.lk.localhost sfu.lk.localhost turn.lk.localhost"
_LINE = f"10.213.0.11 {_NAMES} # livekit-platform abc123\n"
_OWN = "127.0.0.1 localhost\n# a comment\n192.0.2.1 mine.test # mine\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "hosts"
    path.write_text(_OWN)
    monkeypatch.setattr(hosts, "HOSTS_FILE", path)
    return path


def test_it_has_every_name_of_the_outputs_and_nothing_else_of_them(instance: Instance) -> None:
    assert hosts.entry(_OUTPUTS, instance) == _LINE
    external = {**_OUTPUTS, "s3_endpoint": "https://s3.provider.test", "turn_urls": []}
    assert hosts.names(external) == ["lk.localhost", "api.lk.localhost", "sfu.lk.localhost"]


def test_adding_it_again_changes_nothing_and_removing_it_restores_the_file(
    file: Path, instance: Instance
) -> None:
    for _ in range(2):
        assert hosts.add_entry(_OUTPUTS, instance) == _LINE.strip()
        assert file.read_text() == _OWN + _LINE
    hosts.remove_entry(Instance("other0", instance.root))
    assert file.read_text() == _OWN + _LINE
    hosts.remove_entry(instance)
    assert file.read_text() == _OWN


def test_another_address_or_another_instance_takes_the_place_of_the_line(instance: Instance) -> None:
    """If two lines contain the same name, the resolver uses the first, even if its stack does not run."""
    moved = {**_OUTPUTS, "edge_addresses": ["10.213.7.11"]}
    line = hosts.entry(moved, instance)
    assert hosts.with_entry(_OWN + _LINE, line) == _OWN + line
    other = hosts.entry(moved, Instance("other0", instance.root))
    assert hosts.with_entry(_OWN + _LINE, other) == _OWN + other
    apart = other.replace("lk.localhost", "staging.test")
    assert hosts.with_entry(_OWN + _LINE, apart) == _OWN + _LINE + apart


def test_a_last_line_without_its_end_stays_a_line_of_its_own() -> None:
    assert hosts.with_entry("127.0.0.1 localhost", _LINE) == "127.0.0.1 localhost\n" + _LINE


@pytest.mark.parametrize(
    ("address", "door", "fine"),
    [
        ("10.213.0.12", "https://lk.localhost", True),
        ("127.0.0.1", "https://lk.localhost", True),
        ("127.0.0.1", "https://lk.localhost:8443", False),  # the stack does not listen on port 443 there
        ("10.213.7.11", "https://lk.localhost", False),  # a stack that is gone
        (None, "https://lk.localhost", False),
    ],
)
def test_names_resolve_where_they_lead_to_the_edge_or_to_a_door_at_its_port(
    address: str | None, door: str, fine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(name: str, *_: object, **__: object) -> list[Any]:
        if address is None or name.startswith("nothing"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert hosts.all_resolve({**_OUTPUTS, "browser_urls": {"https": door}}) is fine


def test_one_name_that_does_not_resolve_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(name: str, *_: object, **__: object) -> list[Any]:
        if name.startswith("s3."):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.213.0.11", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    assert not hosts.all_resolve(_OUTPUTS)
