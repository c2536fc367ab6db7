"""The script that bounds an SFU's drain, with a stand-in for the server that says which signals it gets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "charts" / "livekit-server" / "scripts" / "run.sh"
# As LiveKit: the first SIGTERM waits for participants (who leave after $1 seconds), the second ends it.
_SERVER = """#!/bin/sh
count=0
trap 'count=$((count + 1)); echo "signal $count"; left=$(( $1 * 10 ))' TERM
left=-1
echo ready
echo "told $NODE_IP"
while [ "$count" -lt 2 ] && [ "$left" -ne 0 ]; do
    sleep 0.1
    if [ "$left" -gt 0 ]; then left=$((left - 1)); fi
done
echo "ended, $2"
exit 0
"""


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Start]:
    server = tmp_path / "livekit-server"
    server.write_text(_SERVER)
    server.chmod(0o755)
    script = tmp_path / "run.sh"
    script.write_text(SCRIPT.read_text().replace("/livekit-server", str(server)))
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, drain_seconds: int, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            ["sh", str(script), *arguments],
            env={**os.environ, "DRAIN_SECONDS": str(drain_seconds), "NODE_IP": "10.0.0.1", **environment},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "ready\n":
            assert line.startswith("{"), f"{line!r} instead of a log line"
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()


def _rest(process: subprocess.Popen[str]) -> tuple[list[str], list[str]]:
    """What the script logged, and what the server said, without the address that it was told."""
    assert process.stdout is not None
    lines = process.stdout.read().splitlines()
    process.wait(timeout=20)
    logged = [json.loads(line)["msg"] for line in lines if line.startswith("{")]
    return logged, [line for line in lines if not line.startswith(("{", "told "))]


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "10.0.0.1"),
        ({"NODE_NAME": "node-a", "NODE_ADDRESSES": "node-a=203.0.113.1"}, "203.0.113.1"),
        ({"NODE_NAME": "b", "NODE_ADDRESSES": "a=203.0.113.1 b=203.0.113.2 ab=203.0.113.3"}, "203.0.113.2"),
        ({"NODE_NAME": "node-c", "NODE_ADDRESSES": "node-a=203.0.113.1 node-b=203.0.113.2"}, "10.0.0.1"),
        # A name is no pattern, and no part of one.
        ({"NODE_NAME": "node.a", "NODE_ADDRESSES": "node-a=203.0.113.1"}, "10.0.0.1"),
        ({"NODE_NAME": "node", "NODE_ADDRESSES": "node-a=203.0.113.1"}, "10.0.0.1"),
    ],
)
def test_clients_are_told_the_address_at_which_they_reach_the_node(
    run: Start, environment: dict[str, str], told: str
) -> None:
    process = run("0", "argument", drain_seconds=5, **environment)
    assert process.stdout is not None
    assert process.stdout.readline() == f"told {told}\n"


def test_participants_who_leave_in_time_end_the_drain(run: Start) -> None:
    process = run("1", "argument", drain_seconds=30)
    process.send_signal(signal.SIGTERM)
    logged, said = _rest(process)
    assert logged[0] == "draining, at most 30 s"
    assert logged[1].startswith("drained after ")
    assert said == ["signal 1", "ended, argument"]
    assert process.returncode == 0


def test_the_deadline_ends_a_drain_in_order(run: Start) -> None:
    process = run("60", "argument", drain_seconds=2)
    process.send_signal(signal.SIGTERM)
    logged, said = _rest(process)
    assert logged == [
        "draining, at most 2 s",
        "deadline passed after 2 s: telling who is left to go elsewhere",
    ]
    assert said == ["signal 1", "signal 2", "ended, argument"]


def test_a_server_that_ends_by_itself_ends_the_container_with_its_status(run: Start, tmp_path: Path) -> None:
    (tmp_path / "livekit-server").write_text("#!/bin/sh\necho ready\nexit 7\n")
    process = run(drain_seconds=30)
    logged, _ = _rest(process)
    assert logged == ["livekit-server ended by itself with status 7"]
    assert process.returncode == 7
