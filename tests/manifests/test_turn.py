"""Both kinds of TURN, as the real LiveKit reads them and as the charts declare them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.commands import run
from tests.manifests.rendering import secrets_of, tool
from tests.unit.infra import program
from tests.unit.infra.program import local_config


def _server_config(kubeconfig: Path, **turn: Any) -> dict[str, Any]:
    """What the program gives LiveKit in stack `local`, with `turn` laid over its section."""
    config = local_config(kubeconfig)
    deployment = program.run({**config, "turn": {**config["turn"], **turn}})
    server = yaml.safe_load(secrets_of(deployment)["livekit-server-config"]["config.yaml"])
    assert isinstance(server, dict)
    return server


def _ports(server: dict[str, Any], directory: Path) -> str:
    file = directory / "config.yaml"
    file.write_text(yaml.safe_dump(server))
    return run(
        [tool("livekit-server"), "--config", file, "--node-ip", "192.0.2.1", "ports"], timeout=30
    ).stdout


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    path.touch()
    return path


@pytest.mark.parametrize(
    ("kind", "turn_ports"),
    [("coturn", []), ("embedded", [("5349", "TURN/TLS"), ("3478", "TURN/UDP")])],
)
def test_livekit_takes_either_kind_and_opens_what_belongs_to_it(
    kubeconfig: Path, tmp_path: Path, kind: str, turn_ports: list[tuple[str, str]]
) -> None:
    printed = _ports(_server_config(kubeconfig, kind=kind), tmp_path)
    # The server's own formatting of a single UDP port is off: "%!s(int=7882)".
    found = re.findall(r"^(?:%!s\(int=)?(\d+)\)? - (.+)$", printed, re.MULTILINE)
    assert sorted(entry for entry in found if entry[1].startswith("TURN")) == sorted(turn_ports), printed


def test_livekit_knows_the_lists_that_hold_its_relays_to_the_sfus(kubeconfig: Path, tmp_path: Path) -> None:
    server = _server_config(kubeconfig, kind="embedded")
    assert "::/0" in server["turn"]["deny_peer_cidrs"]
    assert server["turn"]["allow_restricted_peer_cidrs"] == ["192.0.2.1/32", "192.0.2.2/32"]
    assert "HTTP service" in _ports(server, tmp_path)
    # That it would say so.
    server["turn"]["deny_peer_cidr"] = server["turn"].pop("deny_peer_cidrs")
    assert "field deny_peer_cidr not found" in _ports(server, tmp_path)


def test_livekit_refuses_an_unknown_key_of_a_turn_server(kubeconfig: Path, tmp_path: Path) -> None:
    server = _server_config(kubeconfig, kind="coturn")
    server["rtc"]["turn_servers"][0]["hots"] = "x"
    assert "field hots not found" in _ports(server, tmp_path)
