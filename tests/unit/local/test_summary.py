"""What `make up` ends with, and that the README shows just that."""

from __future__ import annotations

from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any

import pytest

from local import hosts, summary
from local.paths import CHECKOUT, Instance
from local.summary import print_summary, rows

_OUTPUTS: dict[str, Any] = {
    "browser_urls": {"https": "https://lk.localhost", "http": "http://localhost"},
    "ca_certificate": "-----BEGIN CERTIFICATE-----",
    "signal_url": "wss://sfu.lk.localhost",
    "signal_urls": ["ws://10.213.0.11:7880", "ws://10.213.0.12:7880"],
    "turn_urls": [
        "turn:10.213.0.11:3478?transport=udp",
        "turn:10.213.0.12:3478?transport=udp",
        "turns:turn.lk.localhost:443?transport=tcp",
    ],
    "api_url": "https://api.lk.localhost",
    "s3_endpoint": "https://s3.lk.localhost",
    "s3_bucket": "recordings",
    "kubeconfig_path": "<state>/kubeconfig",
    "namespace": "livekit",
    "domain": "lk.localhost",
    "edge_addresses": ["10.213.0.11", "10.213.0.12"],
    "client_network": {},
}
_CA = Path("<state>/ca.pem")


def _shown_in_the_readme() -> list[str]:
    after = dropwhile(
        lambda line: not line.endswith("At the end it prints:"),
        (CHECKOUT / "README.md").read_text().splitlines(),
    )
    block = list(dropwhile(lambda line: line != "```", after))[1:]
    return list(takewhile(lambda line: line != "```", block))


def test_the_readme_shows_what_is_printed(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(summary, "stack_outputs", lambda *_, **__: _OUTPUTS)
    monkeypatch.setattr(summary, "ca_file", lambda _: _CA)
    monkeypatch.setattr(hosts, "all_resolve", lambda _: True)
    print_summary(instance, as_json=False)
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    shown = _shown_in_the_readme()
    # One address for all of TURN's is enough there.
    dots = next(number for number, line in enumerate(shown) if line.strip() == "...")
    assert shown[:dots] == printed[:dots]
    assert shown[dots + 1 :] == printed[dots + 1 :]
    assert printed[dots] == "            turn:10.213.0.12:3478?transport=udp"


def test_who_opens_a_browser_is_told_how_it_comes_to_trust() -> None:
    (name, lines), *_ = rows(_OUTPUTS, _CA, resolve=True)
    assert (name, lines[:2]) == ("browser", ["https://lk.localhost", "http://localhost"])
    told = "\n".join(lines[2:])
    assert all(word in told for word in ("<state>/ca.pem", "certutil", "libnss3-tools")), told


@pytest.mark.parametrize("certificate", [None, ""])
def test_a_public_authority_is_not_spoken_of(certificate: str | None) -> None:
    outputs = {name: value for name, value in _OUTPUTS.items() if name != "ca_certificate"}
    given = outputs if certificate is None else {**outputs, "ca_certificate": certificate}
    table = dict(rows(given, _CA, resolve=True))
    assert table["browser"] == ["https://lk.localhost", "http://localhost"]
    assert "ca.pem" not in str(table)


def test_without_doors_there_is_nothing_for_a_browser() -> None:
    assert [name for name, _ in rows({**_OUTPUTS, "browser_urls": None}, _CA, resolve=True)] == [
        *("signalling", "TURN", "token API", "S3", "kubeconfig", "", "next")
    ]


def test_an_address_in_brackets_is_printed_as_it_is(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {**_OUTPUTS, "signal_urls": ["ws://[fe80::1]:7880"], "client_network": None}
    monkeypatch.setattr(summary, "stack_outputs", lambda *_, **__: given)
    print_summary(instance, as_json=False)
    assert "ws://[fe80::1]:7880  past the edge" in capsys.readouterr().out


@pytest.mark.parametrize(("resolve", "client_network"), [(True, {}), (False, None)])
def test_names_that_resolve_or_are_another_s_are_not_spoken_of(
    resolve: bool,
    client_network: object,
    instance: Instance,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {**_OUTPUTS, "client_network": client_network}
    monkeypatch.setattr(summary, "stack_outputs", lambda *_, **__: given)
    monkeypatch.setattr(hosts, "all_resolve", lambda _: resolve)
    print_summary(instance, as_json=False)
    assert "make hosts" not in capsys.readouterr().out


def test_names_that_do_not_resolve_come_with_the_command_that_adds_them(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(summary, "stack_outputs", lambda *_, **__: _OUTPUTS)
    monkeypatch.setattr(hosts, "all_resolve", lambda _: False)
    print_summary(instance, as_json=False)
    printed = capsys.readouterr().out
    assert "names       *.lk.localhost resolves in browsers only" in printed
    assert "make hosts" in printed
