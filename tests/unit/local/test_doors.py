"""Which ports the doors take, and what a browser is told of them."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import pytest

from common.processes import Process
from local.browser import browser_urls, ca_file, open_for_browsers
from local.cluster import cgroups, doors
from local.cluster.cluster import Cluster
from local.cluster.doors import Door, Ports, candidates, is_free, open_doors, recorded_doors
from local.cluster.topology import Topology
from local.paths import Instance
from local.status import door_part

_GONE = Process(1, 0)  # process 1 started at another time


def _record(instance: Instance, https: int, http: int) -> list[Door]:
    recorded = [
        Door("https", https, "10.213.0.11:443", _GONE),
        Door("http", http, "10.213.0.11:80", _GONE),
    ]
    instance.root.mkdir(parents=True)
    (instance.root / "doors.json").write_text(json.dumps([asdict(door) for door in recorded]))
    return recorded


def test_the_usual_ports_come_first_and_those_of_last_time_before_them() -> None:
    usual = [Ports(443, 80), Ports(8443, 8080), Ports(8444, 8081)]
    assert list(islice(candidates(), 3)) == usual
    assert list(islice(candidates(Ports(9443, 9080)), 3)) == [Ports(9443, 9080), *usual[:2]]


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_that_somebody_listens_on_is_not_free(address: str) -> None:
    with socket.create_server((address, 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


def test_a_port_of_a_connection_that_has_ended_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)), server.accept()[0] as accepted:
            accepted.shutdown(socket.SHUT_RDWR)  # the server's end closes first, and lingers
    assert is_free(port)


def test_before_they_are_opened_there_are_none(instance: Instance) -> None:
    assert recorded_doors(instance) == []
    assert browser_urls(instance, "lk.localhost") is None


@pytest.mark.parametrize(
    ("https", "http", "urls"),
    [
        (443, 80, {"https": "https://lk.localhost", "http": "http://localhost"}),
        (8443, 8080, {"https": "https://lk.localhost:8443", "http": "http://localhost:8080"}),
    ],
)
def test_a_browser_is_told_a_port_where_it_must_know_it(
    instance: Instance, https: int, http: int, urls: dict[str, str]
) -> None:
    recorded = _record(instance, https, http)
    assert recorded_doors(instance) == recorded
    assert browser_urls(instance, "lk.localhost") == urls


def test_status_says_what_to_do_about_a_door_without_its_process() -> None:
    part = door_part(Door("https", 8443, "10.213.0.11:443", _GONE))
    assert (part.kind, part.name, part.healthy) == ("door", "127.0.0.1:8443 to 10.213.0.11:443", False)
    assert "`make up` starts it" in part.detail


@pytest.mark.parametrize(
    "content", [b"", b'[{"scheme": "https", "po', b"null", b"[1]", b'[{"scheme": "https"}]', b"\xff"]
)
def test_a_record_that_cannot_be_read_counts_as_none(instance: Instance, content: bytes) -> None:
    """A machine that went down while it was written must not need a hand afterwards."""
    _record(instance, 443, 80)
    (instance.root / "doors.json").write_bytes(content)
    assert recorded_doors(instance) == []
    assert browser_urls(instance, "lk.localhost") is None


@pytest.fixture
def cluster(instance: Instance) -> Cluster:
    return Cluster(instance, Topology(instance.id, "10.213.0.0/24", 2))


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cgroups whose processes were ended."""
    found: list[str] = []
    monkeypatch.setattr(cgroups, "end_processes", found.append)
    return found


@pytest.fixture
def no_processes(monkeypatch: pytest.MonkeyPatch, ended: list[str]) -> None:
    """Doors without their socat, which needs root for its cgroup."""
    monkeypatch.setattr(cgroups, "create", lambda *_: [])
    monkeypatch.setattr(doors, "_start", lambda *_: _GONE)


def test_a_record_is_replaced_whole(
    cluster: Cluster, no_processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads while it is written finds the old one, whole."""
    before = _record(cluster.instance, 9443, 9080)
    seen: list[list[Door]] = []
    write = Path.write_text

    def halfway(path: Path, text: str, encoding: str) -> int:
        write(path, text[: len(text) // 2], encoding)
        seen.append(recorded_doors(cluster.instance))
        return write(path, text, encoding)

    monkeypatch.setattr(Path, "write_text", halfway)
    opened = open_doors(cluster.instance, cluster.topology, https="10.213.0.12:443", http="10.213.0.12:80")
    assert seen == [before]
    assert recorded_doors(cluster.instance) == opened


_EDGE = {"edge_addresses": ["10.213.0.11"], "api_url": "https://api.lk.localhost", "ca_certificate": "a CA"}


def test_a_stack_without_an_edge_of_its_own_has_no_doors_any_more(
    cluster: Cluster, no_processes: None, ended: list[str]
) -> None:
    open_for_browsers(cluster, _EDGE)
    assert (ca_file(cluster.instance).read_text(), len(recorded_doors(cluster.instance))) == ("a CA", 2)
    ended.clear()
    open_for_browsers(cluster, {**_EDGE, "edge_addresses": []})
    assert ended == ["livekit-platform-abc123/doors"]
    assert not (cluster.instance.root / "doors.json").exists()
    assert not ca_file(cluster.instance).exists()
    assert browser_urls(cluster.instance, "lk.localhost") is None


def test_where_there_never_were_doors_there_is_nothing_to_close(cluster: Cluster, ended: list[str]) -> None:
    open_for_browsers(cluster, {})
    assert not cluster.instance.root.exists()


def test_a_public_authority_needs_no_file(cluster: Cluster, no_processes: None) -> None:
    open_for_browsers(cluster, _EDGE)
    open_for_browsers(cluster, {**_EDGE, "ca_certificate": ""})
    assert len(recorded_doors(cluster.instance)) == 2
    assert not ca_file(cluster.instance).exists()
