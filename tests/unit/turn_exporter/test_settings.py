"""What the exporter may be told."""

from __future__ import annotations

import os
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.running import CHECKOUT
from turn_exporter.settings import BadEnvironment, Settings, read

GOOD = {
    "TURN_ADDRESS": "192.0.2.1",
    "TURN_PORT": "3478",
    "METRICS_PORT": "9641",
    "REPORTS_SOCKET": "/run/reports/redis.sock",
    "DRAINING_FILE": "/run/reports/draining",
    "ALLOCATIONS_LIMIT": "10000",
}


def test_a_whole_environment_is_taken() -> None:
    assert read({**GOOD, "PATH": "/bin"}) == Settings(
        address=IPv4Address("192.0.2.1"),
        turn_port=3478,
        metrics_port=9641,
        reports_socket=Path("/run/reports/redis.sock"),
        draining_file=Path("/run/reports/draining"),
        allocations_limit=10000,
    )


@pytest.mark.parametrize(
    ("name", "given", "allowed"),
    [
        ("TURN_ADDRESS", "::1", "the IPv4 address at which the server listens"),
        ("TURN_ADDRESS", "", "the IPv4 address at which the server listens"),
        ("TURN_PORT", "0", "a port from 1 to 65535"),
        ("TURN_PORT", "65536", "a port from 1 to 65535"),
        ("METRICS_PORT", "tcp://10.0.0.1:9641", "a port from 1 to 65535"),
        ("METRICS_PORT", "٣", "a port from 1 to 65535"),
        ("REPORTS_SOCKET", "redis.sock", "an absolute path"),
        ("DRAINING_FILE", "", "an absolute path"),
        ("ALLOCATIONS_LIMIT", "0", "a whole number from 1"),
        ("ALLOCATIONS_LIMIT", "many", "a whole number from 1"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, given: str, allowed: str) -> None:
    with pytest.raises(BadEnvironment) as refused:
        read({**GOOD, name: given})
    assert str(refused.value) == f"{name}: given {given!r}; allowed is {allowed}"


def test_the_program_says_all_that_is_wrong_and_does_not_begin() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "turn_exporter"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT / "services/turn-exporter")},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 78
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == list(GOOD)
