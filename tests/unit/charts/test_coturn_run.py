"""The start script of a TURN server, with a stand-in for the server that says what it was started with."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "charts" / "coturn" / "scripts" / "run.sh"
_SERVER = """#!/bin/sh
echo "arguments: $*"
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """run.sh with its directories below `tmp_path`."""
    (tmp_path / "bin").mkdir()
    server = tmp_path / "bin" / "turnserver"
    server.write_text(_SERVER)
    server.chmod(0o755)
    (tmp_path / "run").mkdir()
    (tmp_path / "tls").mkdir()
    for name in ("tls.crt", "tls.key"):
        (tmp_path / "tls" / name).write_text(name)
    script = tmp_path / "run.sh"
    text = SCRIPT.read_text()
    for fixed, own in (("/run/coturn", tmp_path / "run"), ("/tls/", f"{tmp_path / 'tls'}/")):
        assert fixed in text
        text = text.replace(fixed, str(own))
    script.write_text(text)
    return script


@pytest.mark.parametrize(
    ("addresses", "added"),
    [
        (None, ""),
        ("node-a=203.0.113.1", " --external-ip=203.0.113.1/10.0.0.1"),
        ("node-b=203.0.113.2 node-a=203.0.113.1 node-aa=203.0.113.3", " --external-ip=203.0.113.1/10.0.0.1"),
        ("node-b=203.0.113.2 node=203.0.113.4", ""),
    ],
)
def test_relays_are_told_by_the_address_at_which_clients_reach_the_node(
    script: Path, tmp_path: Path, addresses: str | None, added: str
) -> None:
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "CERTIFICATE_CHECK_SECONDS": "10",
        "DRAIN_SECONDS": "5",
        "RELAY_FIRST": "40000",
        "RELAY_LAST": "40199",
        "NODE_IP": "10.0.0.1",
        "NODE_NAME": "node-a",
    }
    if addresses is not None:
        environment["NODE_ADDRESSES"] = addresses
    done = subprocess.run(
        ["bash", str(script), "-c", "file", "--relay-ip=10.0.0.1"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"arguments: -c file --relay-ip=10.0.0.1{added}\n" in done.stdout
