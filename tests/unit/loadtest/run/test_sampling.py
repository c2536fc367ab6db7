from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import httpx
import pytest

from common.waiting import wait_until
from loadtest.result import GeneratorSample
from loadtest.run.announcing import Announcer
from loadtest.run.clock import RunClock
from loadtest.run.sampler import Sampler
from loadtest.run.sampling import (
    RTP_SPAN_S,
    GeneratorSampler,
    ProcessorTimes,
    SfuSampler,
    TimedLoad,
    family,
    keep_recent,
    own_processes,
    parse_process,
    parse_processor_times,
    sfu_sample,
)
from loadtest.targets.sfu_metrics import NodeLoad
from tests.support.speed import scaled

A, B = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
START = NodeLoad(
    started_s=1000, cpu_s=10, memory_bytes=64 * 2**20, packets_in=0, packets_out=0, bytes_in=0, bytes_out=0
)


def at(read_s: float, **changed: float) -> TimedLoad:
    return TimedLoad(read_s, replace(START, **changed))


def test_rates_of_a_node() -> None:
    seen = (
        at(0),
        at(8, cpu_s=12, packets_in=500, packets_out=4000, bytes_in=5e5, bytes_out=4e6),
        at(10, cpu_s=13, packets_in=500, packets_out=8000, bytes_in=5e5, bytes_out=8e6),
    )
    sample = sfu_sample("a", 33.5, seen)
    assert (sample.at_s, sample.node, sample.memory_mib) == (33.5, "a", 64)
    assert sample.cpu_cores == 0.5, "of the newest interval"
    assert (sample.packets_in, sample.packets_out) == (50, 800), "over the whole span"
    assert (sample.bytes_in, sample.bytes_out) == (5e4, 8e5)
    assert sample.rtp_span_s == 10


def test_counters_that_are_added_to_every_five_seconds_give_a_steady_rate() -> None:
    seen: deque[TimedLoad] = deque()
    rates = []
    for read_s in range(0, 60, 2):
        # 100 packets a second, told of at 0, 5, 10, … s.
        keep_recent(seen, at(read_s, packets_out=100 * (read_s // 5) * 5))
        if read_s >= RTP_SPAN_S:
            rates.append(sfu_sample("a", read_s, tuple(seen)).packets_out)
    assert set(rates) == {100}


def test_a_server_that_was_started_again_begins_anew() -> None:
    seen: deque[TimedLoad] = deque()
    keep_recent(seen, at(0, packets_out=9000))
    keep_recent(seen, at(2, packets_out=10, started_s=1001))
    assert [each.load.packets_out for each in seen] == [10]


def test_a_node_that_does_not_answer_is_told_of_and_the_others_are_sampled() -> None:
    def read(node: IPv4Address) -> NodeLoad:
        if node == B:
            raise httpx.ConnectError("refused")
        return START

    sampler = SfuSampler([A, B], read)
    assert sampler.sample(0)[0] == (), "a rate needs two looks"
    samples, problems = sampler.sample(2)
    assert [sample.node for sample in samples] == [str(A)]
    assert problems == (f"the metrics of SFU node {B} could not be read: refused",)


def test_processor_times() -> None:
    stat = "cpu  100 20 30 1000 50 7 3 40 5 5\ncpu0 1 2 3\nintr 1\n"
    assert parse_processor_times(stat) == ProcessorTimes(busy=200, stolen=40, total=1250)


def test_a_process_whose_name_has_blanks_and_brackets() -> None:
    stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 900 0 0 0 70 8 1000 1000 20 0 1 0 123 1 1"
    fields = parse_process(stat)
    assert (fields[0], fields[1], fields[11], fields[12]) == ("S", "1", "70", "8")


def test_a_family_is_a_process_and_all_that_descend_from_it() -> None:
    parents = {1: 0, 5: 1, 6: 5, 7: 6, 8: 1, 9: 8}
    assert family(5, parents) == {5, 6, 7}


def test_what_this_process_started_is_its_own_and_so_is_what_that_started(busy_process: int) -> None:
    shell = ["sh", "-c", "sleep 60 & echo $!; wait"]
    with subprocess.Popen(shell, stdout=subprocess.PIPE, text=True, start_new_session=True) as started:
        try:
            assert started.stdout is not None
            asleep = int(started.stdout.readline())
            assert {os.getpid(), busy_process, started.pid, asleep} <= own_processes()
            assert os.getppid() not in own_processes()
        finally:
            os.killpg(started.pid, signal.SIGKILL)


@pytest.fixture
def busy_process() -> Iterator[int]:
    """The id of a process that uses a tenth of a processor."""
    loop = (
        "import time\n"
        "while True:\n"
        "    end = time.process_time() + 0.05\n"
        "    while time.process_time() < end: pass\n"
        "    time.sleep(0.45)\n"
    )
    with subprocess.Popen([sys.executable, "-c", loop]) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def test_this_machine(busy_process: int) -> None:
    sampler = GeneratorSampler()
    looked_at = [busy_process, os.getpid(), 2**22 + 1]
    assert sampler.sample(0, looked_at) is None, "a rate needs two looks"

    def look() -> GeneratorSample | None:
        sample = sampler.sample(1.5, looked_at)
        return sample if sample and sample.own_cores > 0.02 else None

    sample = wait_until(
        look, timeout=scaled(20), describe="processor time of the process to be seen", interval=1
    )
    assert sample is not None
    assert sample.at_s == 1.5
    assert 0 < sample.cpu_ratio <= 1
    assert 0 <= sample.stolen_ratio <= sample.cpu_ratio
    assert sample.own_cores < (os.cpu_count() or 1)


def test_a_node_that_hangs_does_not_keep_the_machine_from_being_sampled() -> None:
    """Without samples of the machine a run is invalid, and a bad server must not cause that."""
    answers = threading.Event()

    def read(node: IPv4Address) -> NodeLoad:
        answers.wait()
        return START

    sampler = Sampler(SfuSampler([A], read), RunClock(), Announcer(lambda _: None))
    with sampler.running():
        try:
            wait_until(lambda: sampler.generator, timeout=scaled(20), describe="a sample", interval=0.05)
        finally:
            answers.set()
    assert sampler.sfu == []
