"""Which ports the doors take, and what a browser is told of them."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict
from itertools import islice

import pytest

from common.processes import Process
from local.browser import browser_urls
from local.cluster.doors import Door, Ports, candidates, is_free, recorded_doors
from local.paths import Instance
from local.status import door_part

_GONE = Process(1, 0)  # process 1 started at another time


def _record(instance: Instance, https: int, http: int) -> list[Door]:
    doors = [
        Door("https", https, "10.213.0.11:443", _GONE),
        Door("http", http, "10.213.0.11:80", _GONE),
    ]
    instance.root.mkdir(parents=True)
    (instance.root / "doors.json").write_text(json.dumps([asdict(door) for door in doors]))
    return doors


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
    doors = _record(instance, https, http)
    assert recorded_doors(instance) == doors
    assert browser_urls(instance, "lk.localhost") == urls


def test_status_says_what_to_do_about_a_door_without_its_process() -> None:
    part = door_part(Door("https", 8443, "10.213.0.11:443", _GONE))
    assert (part.kind, part.name, part.healthy) == ("door", "127.0.0.1:8443 to 10.213.0.11:443", False)
    assert "`make up` starts it" in part.detail
