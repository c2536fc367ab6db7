"""The start script of a TURN server, with stand-ins for the server.

One says what it was started with and ends; the other goes on until it is told to drain.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from common.waiting import wait_until

SCRIPT = Path(__file__).parents[3] / "charts" / "coturn" / "scripts" / "run.sh"
_SERVER = """#!/bin/sh
echo "arguments: $*"
"""
_LASTING_SERVER = """#!/bin/sh
trap 'exit 0' USR1
echo "serving"
while :; do sleep 0.1; done
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """run.sh with its directories below `tmp_path`."""
    (tmp_path / "bin").mkdir()
    server = tmp_path / "bin" / "turnserver"
    server.write_text(_SERVER)
    server.chmod(0o755)
    for name in ("run", "reports"):
        (tmp_path / name).mkdir()
    (tmp_path / "tls").mkdir()
    for name in ("tls.crt", "tls.key"):
        (tmp_path / "tls" / name).write_text(name)
    script = tmp_path / "run.sh"
    text = SCRIPT.read_text()
    for fixed, own in (
        ("/run/coturn", tmp_path / "run"),
        ("/run/reports", tmp_path / "reports"),
        ("/tls/", f"{tmp_path / 'tls'}/"),
    ):
        assert fixed in text
        text = text.replace(fixed, str(own))
    script.write_text(text)
    return script


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What the chart gives the script, and where the stand-in is."""
    return {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "CERTIFICATE_CHECK_SECONDS": "10",
        "DRAIN_SECONDS": "5",
        "RELAY_FIRST": "40000",
        "RELAY_LAST": "40199",
        "NODE_IP": "10.0.0.1",
        "NODE_NAME": "node-a",
    }


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
    script: Path, environment: dict[str, str], addresses: str | None, added: str
) -> None:
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


def test_a_mark_is_there_while_the_server_drains_and_only_then(
    script: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    mark, log = tmp_path / "reports" / "draining", tmp_path / "log"
    (tmp_path / "bin" / "turnserver").write_text(_LASTING_SERVER)
    # Of a container that ended while it drained.
    mark.touch()
    with log.open("wb") as output:
        process = subprocess.Popen(["bash", str(script)], env=environment, stdout=output, stderr=output)
    try:
        wait_until(lambda: "serving" in log.read_text(), timeout=20, describe="the server", interval=0.05)
        assert not mark.exists()
        process.terminate()
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
    assert mark.exists()
    assert "run.sh: drained" in log.read_text()
