"""What a worker measures of itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from common.waiting import wait_until
from recorder import measuring
from recorder.measuring import Processes, available_cpus, container_memory, occupied
from tests.support.speed import scaled

CORES = float(len(os.sched_getaffinity(0)))


def cgroup(directory: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, CORES),
        ({"cpu.max": "max 100000\n"}, CORES),
        ({"cpu.max": "50000 100000\n"}, 0.5),
        ({"cpu.max": "99900000 100000\n"}, CORES),
        ({"cpu/cpu.cfs_quota_us": "25000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.25),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, CORES),
    ],
)
def test_cores_are_those_of_the_container(tmp_path: Path, files: Mapping[str, str], cores: float) -> None:
    assert available_cpus(cgroup(tmp_path, files), {}) == cores


@pytest.mark.parametrize(
    ("request_", "cores"),
    [
        ("0.25", 0.25),
        ("0.5", 0.5),
        # More than the container's limit, or nothing that livekit/protocol would read.
        ("64", 0.5),
        ("", 0.5),
        ("0", 0.5),
        ("-1", 0.5),
        ("300m", 0.5),
        ("nan", 0.5),
        ("inf", 0.5),
    ],
)
def test_cores_are_at_most_those_that_the_pod_asked_for(tmp_path: Path, request_: str, cores: float) -> None:
    """Without a limit, a pod would count all cores of its node."""
    limited = cgroup(tmp_path, {"cpu.max": "50000 100000\n"})
    assert available_cpus(limited, {"LIVEKIT_CPU_REQUEST": request_}) == cores


def test_the_environment_says_what_the_pod_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIVEKIT_CPU_REQUEST", "0.125")
    assert available_cpus(tmp_path) == 0.125


def test_occupied_bytes_are_those_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "one").write_bytes(bytes(100_000))
    (tmp_path / "two").write_bytes(bytes(50_000))
    (tmp_path / "link").symlink_to("/nowhere")
    assert 150_000 <= occupied(tmp_path) <= 170_000
    assert occupied(tmp_path / "missing") == 0


@pytest.mark.parametrize(
    ("files", "memory"),
    [
        ({}, None),
        ({"memory.current": "1000\n", "memory.stat": "anon 5\ninactive_file 300\nslab 1\n"}, 700),
        # A recording that was written and then read for its upload: it is no reason to end one.
        ({"memory.current": "1000\n", "memory.stat": "active_file 600\ninactive_file 300\n"}, 100),
        ({"memory.current": "1000\n", "memory.stat": "anon 5\n"}, 1000),
        (
            {
                "memory/memory.usage_in_bytes": "1000\n",
                "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 400\ntotal_active_file 100\n",
            },
            500,
        ),
    ],
)
def test_memory_is_that_of_the_container_without_droppable_caches(
    tmp_path: Path, files: Mapping[str, str], memory: int | None
) -> None:
    assert container_memory(cgroup(tmp_path, files)) == memory


def burn(seconds: float) -> None:
    """Use the processor for a time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_cores_are_processor_time_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_LEAST_SECONDS", 0.25)
    processes, own = Processes(), [os.getpid()]
    burn(0.3)
    assert processes.cpus(own) == 0
    wall, used = time.monotonic(), time.process_time()
    burn(0.5)
    measured = processes.cpus(own)
    assert measured == pytest.approx((time.process_time() - used) / (time.monotonic() - wall), rel=0.2)


def test_a_busy_process_uses_a_core_and_an_idle_one_none() -> None:
    busy = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
    idle = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    try:
        processes = Processes()
        pids = [busy.pid, idle.pid]
        # The share of a core that a busy process gets depends on the rest of the machine.
        wait_until(
            lambda: processes.cpus(pids) > 0.1,
            timeout=scaled(20),
            describe="processor time of the busy process",
            interval=0.2,
        )
        assert processes.cpus_of(busy.pid) > 0.1 > processes.cpus_of(idle.pid)
        assert processes.cpus(pids) <= CORES + 0.5
    finally:
        for process in (busy, idle):
            process.kill()
            process.wait(timeout=10)
    assert processes.resident([busy.pid, idle.pid]) == 0


def test_memory_is_the_sum_over_processes_unless_the_container_says_it() -> None:
    own = [os.getpid()]
    resident = Processes.resident(own)
    assert resident > 10 * 2**20
    assert Processes().memory(own) == pytest.approx(resident, rel=0.2)
    by_container = container_memory()
    if by_container is not None:
        assert Processes(by_container=True).memory([]) == pytest.approx(by_container, rel=0.5)
